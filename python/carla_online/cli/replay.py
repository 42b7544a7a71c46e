"""`carla-online replay`: looking at, checking, exporting and copying a replay buffer."""

from __future__ import annotations

import argparse

from carla_online.errors import ReplayError
from carla_online.replay import ReplayBuffer
from carla_online.replay.export import FORMATS

_EXAMPLES = """\
examples:
  carla-online replay inspect runs/first/replay
  carla-online replay verify runs/first/replay
  carla-online replay export runs/first/replay episodes --format npz
  carla-online replay compact runs/first/replay smaller --capacity 200000
"""


def replay(arguments: list[str]) -> int:
    """Runs one of the subcommands; 1 if `verify` found damage."""
    options = _parser().parse_args(arguments)
    if options.action == "inspect":
        return _inspect(options.buffer)
    if options.action == "verify":
        return _verify(options.buffer)
    if options.action == "export":
        with ReplayBuffer.open(options.buffer, read_only=True) as buffer:
            count = buffer.export(options.target, file_format=options.format)
        print(f"{options.target}: {count} complete episodes")
        return 0
    with ReplayBuffer.open(options.buffer, read_only=True) as buffer:
        buffer.compact(options.target, capacity_rows=options.capacity)
    with ReplayBuffer.open(options.target, read_only=True) as copy:
        print(f"{options.target}: {copy.size} rows, room for {copy.capacity_rows}")
    return 0


def _inspect(path: str) -> int:
    with ReplayBuffer.open(path, read_only=True) as buffer:
        print(f"{buffer.path}")
        print(f"rows           {buffer.size} of {buffer.capacity_rows}, {buffer.total_appended} ever appended")
        print(f"last step_id   {buffer.last_step_id()}")
        print(f"open episodes  {len(buffer.open_episodes())}")
        print(f"slices         {', '.join(buffer.slice_names) or 'none'}")
        print(f"baselines      {', '.join(buffer.baseline_hashes) or 'none'}")
        print(f"backbone       {buffer.backbone_hash or 'none'}")
        print("fields")
        for field in buffer.schema.fields:
            shape = "x".join(str(size) for size in field.shape) or "scalar"
            print(f"  {field.name:20} {field.dtype:5} {shape}{', linked' if field.linked else ''}")
    return 0


def _verify(path: str) -> int:
    with ReplayBuffer.open(path, read_only=True) as buffer:
        report = buffer.verify()
    print(f"{report.rows_checked} rows checked, {report.bad_count} damaged")
    for block, place, reason in report.bad_rows[:20]:
        print(f"  row {place} of block {block}: {reason}")
    if report.bad_count > 20:
        print(f"  and {report.bad_count - 20} more")
    if not report.ok:
        raise ReplayError(f"{path} has damaged rows; restore it from a copy, or quarantine them")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carla-online replay",
        description="Look at a replay buffer; others may be writing to it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("buffer", metavar="BUFFER", help="the buffer's folder (RUN/replay of a run)")
        return action

    add("inspect", "Print what the buffer holds.")
    add("verify", "Check the checksum of every row.")
    exporting = add("export", "Write the complete episodes in another format.")
    exporting.add_argument("target", metavar="TARGET", help="folder (npz), file (parquet) or dataset id (minari)")
    exporting.add_argument("--format", choices=FORMATS, default="npz", help="default: %(default)s")
    compacting = add("compact", "Copy the buffer to a new folder, with another capacity if asked.")
    compacting.add_argument("target", metavar="TARGET", help="the new folder")
    compacting.add_argument("--capacity", type=int, metavar="ROWS", help="default: room for what is stored")
    return parser
