"""`carla-online doctor`."""

from __future__ import annotations

import argparse
from pathlib import Path

from carla_online import _native
from carla_online.envs.carla.examine import Finding, examine_client, examine_server
from carla_online.errors import ConfigError

_MAX_BYTES = 128 << 20


def doctor(arguments: list[str]) -> int:
    """Looks over the machine and a run's needs, CARLA's servers, or a map; 1 if there is a fault or a warning."""
    if arguments and arguments[0] == "map":
        return _examine_map(Path(_map_parser().parse_args(arguments[1:]).file))
    if arguments and arguments[0] == "carla":
        return _examine_carla(_carla_parser().parse_args(arguments[1:]).servers)
    # CONFIG comes first, as for `train`: argparse can't tell it from the value of an option that it doesn't know.
    name, words = (arguments[0], arguments[1:]) if arguments and arguments[0][0] != "-" else (None, arguments)
    options, overrides = _parser().parse_known_args(words)
    return _examine_machine(name, overrides, options.run_dir)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carla-online doctor",
        usage="carla-online doctor [CONFIG] [--run-dir DIR] [--key VALUE ...]\n"
        "       carla-online doctor carla [HOST:PORT ...]\n"
        "       carla-online doctor map FILE",
        description="Look over this machine, and what CONFIG (a shipped name or a YAML file) needs of it: Python, "
        "packages, client and servers, ports, GPUs, ScenarioRunner, memory and disk. Each finding has its cure.",
        allow_abbrev=False,
    )
    parser.add_argument("--run-dir", metavar="DIR", help="where the run will be kept (default: runs/NAME)")
    return parser


def _map_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="carla-online doctor map", description="Look over an OpenDRIVE file.")
    parser.add_argument("file", metavar="FILE", help="the .xodr file")
    return parser


def _carla_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carla-online doctor carla", description="Look over CARLA's client and servers."
    )
    parser.add_argument("servers", metavar="HOST:PORT", nargs="*", help="servers to look at")
    return parser


def _examine_machine(name: str | None, overrides: list[str], run_dir: str | None) -> int:
    from carla_online.cli.configs import load_experiment
    from carla_online.online.examine import examine_experiment, examine_machine
    from carla_online.online.experiment import run_directory

    if name is None and overrides:
        raise ConfigError(
            f"{overrides[0]} belongs to no configuration; write carla-online doctor CONFIG {overrides[0]}."
        )
    config = None if name is None else load_experiment(name, overrides)
    findings = list(examine_machine())
    if config is not None:
        findings += examine_experiment(config, Path(run_dir) if run_dir else run_directory(config))
    return _print(findings)


def _examine_carla(servers: list[str]) -> int:
    findings = list(examine_client())
    if not any(finding.severity == "fault" for finding in findings):
        for server in servers:
            try:
                findings += examine_server(server)
            except ValueError as error:
                raise ConfigError(f"{error}.") from None
    return _print(findings)


def _print(findings: list[Finding]) -> int:
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
