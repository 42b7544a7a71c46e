"""`carla-online registry`."""

from __future__ import annotations

import argparse

from carla_online.errors import ConfigError, RegistryError
from carla_online.promotion import LogEntry, Registry, VersionRecord
from carla_online.promotion.records import BASELINE_ID

_EXAMPLES = """\
examples:
  carla-online registry registry
  carla-online registry registry show 3fa95c
  carla-online registry registry rollback 3fa95c --reason "brakes for shadows on Town05"
  carla-online registry registry rollback baseline --reason "back to the start"
  carla-online registry registry verify

exit codes: 0 done, 1 damaged or busy, 2 the input was wrong, 3 the rollback was refused
"""
_LONGEST_LINE = 160


def registry(arguments: list[str]) -> int:
    """Lists a registry, or runs one of its actions."""
    options = _parser().parse_args(arguments)
    opened = Registry(options.registry)
    if options.action in ("show", "rollback") and options.version is None:
        raise ConfigError(f"say which version: carla-online registry {options.registry} {options.action} VERSION")
    if options.action == "rollback":
        entry = opened.rollback(options.version, reason=options.reason, by=options.by)
        print(f"champion: {entry.champion}")
        return 0
    if options.action == "show":
        return _show(opened, options.version)
    if options.action == "verify":
        return _verify(opened)
    return _list(opened)


def _list(opened: Registry) -> int:
    champion = opened.champion_id
    print(f"frozen baseline  {opened.record.baseline_fingerprint[:12]}")
    print(f"champion         {champion}")
    versions = opened.versions()
    for version in versions:
        mark = "*" if version.id == champion else " "
        told = f"{version.created}  {version.label}  {version.note}"
        print(f"{mark} {version.id}  from {version.parent:12}  {told}".rstrip())
    if not versions:
        print("no versions yet")
    for entry in opened.log():
        line = _line(entry)
        print(line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 3]}...")
    return 0


def _show(opened: Registry, name: str) -> int:
    version = opened.version(name)
    print(f"version   {version.id}\nsha256    {version.sha256}\nfrom      {version.label}, carla-online "
          f"{version.package_version}\ncreated   {version.created}")  # fmt: skip
    if version.note:
        print(f"note      {version.note}")
    print(f"lineage   {_lineage(opened.lineage(version.id))}")
    for entry in opened.log():
        if entry.version == version.id:
            print(_line(entry))
            if entry.evidence is not None:
                print("  " + str(opened.evidence(entry).get("text", "")).replace("\n", "\n  "))
    return 0


def _lineage(line: list[VersionRecord]) -> str:
    return " <- ".join([*(record.id for record in line), BASELINE_ID])


def _line(entry: LogEntry) -> str:
    event = entry.event.replace("_", " ")
    return f"{entry.number:4}  {entry.at}  {event:11}  {entry.version:12}  by {entry.by}: {entry.reason}"


def _verify(opened: Registry) -> int:
    faults = opened.verify()
    for fault in faults:
        print(fault)
    if faults:
        raise RegistryError(f"{opened.path} has {len(faults)} damaged files; restore them from a copy.")
    print(f"{len(opened.versions())} versions and {len(opened.log())} decisions are whole")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carla-online registry",
        description="Look at a registry of policies: versions, champion, decisions; or make an earlier champion "
        "champion again.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("registry", metavar="DIR", help="the registry's folder")
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "show", "rollback", "verify"),
        default="list",
        help="show VERSION: lineage and evidence; rollback VERSION: champion again; verify: read every file "
        "(default: %(default)s)",
    )
    parser.add_argument("version", nargs="?", metavar="VERSION", help="4 or more digits of a version, or baseline")
    parser.add_argument("--reason", metavar="TEXT", default="", help="for rollback: why; kept in the log")
    parser.add_argument("--by", metavar="NAME", help="for rollback: who asks (default: the login's name)")
    return parser
