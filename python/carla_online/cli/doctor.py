"""`carla-online doctor`."""

from __future__ import annotations

import argparse
from pathlib import Path

from carla_online import _native
from carla_online.envs.carla.examine import examine_client, examine_server
from carla_online.errors import ConfigError

_MAX_BYTES = 128 << 20


def doctor(arguments: list[str]) -> int:
    """Looks over a map, or over CARLA, and prints each finding with its cure; 1 if there is a fault or a warning."""
    parser = argparse.ArgumentParser(
        prog="carla-online doctor",
        description="Look over a map, or over CARLA's client and servers, for what is wrong or would surprise.",
    )
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    maps = subjects.add_parser("map", help="an OpenDRIVE file", description="Look over an OpenDRIVE file.")
    maps.add_argument("file", metavar="FILE", help="the .xodr file")
    servers = subjects.add_parser(
        "carla", help="client and servers", description="Look over CARLA's client and servers."
    )
    servers.add_argument("servers", metavar="HOST:PORT", nargs="*", help="servers to look at")
    options = parser.parse_args(arguments)
    return _examine_carla(options.servers) if options.subject == "carla" else _examine_map(Path(options.file))


def _examine_carla(servers: list[str]) -> int:
    findings = list(examine_client())
    if not any(finding.severity == "fault" for finding in findings):
        for server in servers:
            try:
                findings += examine_server(server)
            except ValueError as error:
                raise ConfigError(f"{error}.") from None
    for finding in findings:
        print(f"{finding.severity}: {finding.message}")
        if finding.cure:
            print(f"  cure: {finding.cure}")
    return 1 if any(finding.severity != "fine" for finding in findings) else 0


def _examine_map(path: Path) -> int:
    try:
        size_bytes = path.stat().st_size
        if size_bytes > _MAX_BYTES:
            raise ConfigError(f"{path} has {size_bytes} bytes, more than {_MAX_BYTES}. Is it an OpenDRIVE file?")
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise ConfigError(f"{path} doesn't exist. Check the path.") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder. Name one .xodr file.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} isn't UTF-8 text ({error.reason} at byte {error.start}). Convert it.") from None
    findings = _native.examine_map(text)
    for finding in findings:
        more = f" and {finding.count - 1} more" if finding.count > 1 else ""
        print(f"{finding.severity}: {finding.rule}: {finding.message}")
        print(f"  at {finding.place}{more}")
        print(f"  cure: {finding.cure}")
    counts = {kind: sum(finding.severity == kind for finding in findings) for kind in ("fault", "warning", "note")}
    print(f"{path}: " + ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items()))
    return 1 if counts["fault"] or counts["warning"] else 0
