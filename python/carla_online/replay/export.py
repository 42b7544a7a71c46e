"""Writing complete episodes to files of other formats."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from carla_online.errors import MissingExtra, ReplayError
from carla_online.replay.batch import Array
from carla_online.replay.schema import ReplaySchema

if TYPE_CHECKING:
    from carla_online.replay.buffer import ReplayBuffer

FORMATS = ("npz", "parquet", "minari")


def export(
    buffer: ReplayBuffer, target: str | os.PathLike[str], *, file_format: str = "npz", rows_per_file: int = 100_000
) -> int:
    """Write the complete episodes of a buffer, quarantined rows included.

    Args:
        buffer: The buffer; others may write to it meanwhile.
        target: What doesn't exist yet. For `npz` a directory, made with files `part-00000.npz` of whole episodes each:
            every field [n, ...], `next_<field>` for the linked ones, and `episode_starts` int64 [episodes + 1], between
            whose neighbours an episode lies. For `parquet` (extra `arrow`) one file, a row a transition, arrays as
            lists of fixed length in C order with their shapes in the file's metadata. For `minari` (extra `minari`)
            the id of a dataset, such as `carla/highway-v0`; observations are the field `obs`, actions
            `executed_action` or `action`.
        file_format: `npz`, `parquet` or `minari`.
        rows_per_file: Rows after which a new npz file, or a row group of the Parquet file, begins; at least 1.

    Returns:
        How many episodes were written.

    Raises:
        ReplayError: There is no complete episode, the target exists, or the schema lacks what Minari needs.
        MissingExtra: The extra that the format needs isn't installed.
    """
    if rows_per_file < 1:
        raise ReplayError(f"rows_per_file is {rows_per_file}; it must be at least 1")
    if file_format == "npz":
        return _write_npz(buffer, Path(target), rows_per_file)
    if file_format == "parquet":
        return _write_parquet(buffer, Path(target), rows_per_file)
    if file_format == "minari":
        return _write_minari(buffer, os.fspath(target))
    raise ReplayError(f"there is no export format {file_format!r}; use one of {', '.join(FORMATS)}")


def _groups(episodes: Iterable[dict[str, Array]], rows: int) -> Iterator[list[dict[str, Array]]]:
    """Group episodes so that each group but the last has at least so many rows."""
    group: list[dict[str, Array]] = []
    held = 0
    for episode in episodes:
        group.append(episode)
        held += len(episode["step_id"])
        if held >= rows:
            yield group
            group, held = [], 0
    if group:
        yield group


def _joined(group: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([episode[name] for episode in group]) for name in group[0]}


def _require_fresh(target: Path) -> None:
    if target.exists():
        raise ReplayError(f"{target} already exists; export to another path")
    target.parent.mkdir(parents=True, exist_ok=True)


def _none_found(buffer: ReplayBuffer) -> ReplayError:
    return ReplayError(f"{buffer.path} holds no complete episode; nothing was exported")


def _write_npz(buffer: ReplayBuffer, target: Path, rows_per_file: int) -> int:
    _require_fresh(target)
    temporary = target.with_name(f".{target.name}.new-{os.getpid()}")
    count = 0
    for number, group in enumerate(_groups(buffer.episodes(), rows_per_file)):
        temporary.mkdir(exist_ok=True)
        starts = np.cumsum([0, *(len(episode["step_id"]) for episode in group)], dtype=np.int64)
        with (temporary / f"part-{number:05d}.npz").open("wb") as file:
            np.savez(file, allow_pickle=False, episode_starts=starts, **_joined(group))
            file.flush()
            os.fsync(file.fileno())
        count += len(group)
    if count == 0:
        raise _none_found(buffer)
    (temporary / "schema.json").write_text(buffer.schema.to_json() + "\n", encoding="utf-8")
    temporary.rename(target)
    return count


def _write_parquet(buffer: ReplayBuffer, target: Path, rows_per_file: int) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("Parquet export needs pyarrow; install carla-online[arrow]") from error
    _require_fresh(target)
    temporary = target.with_name(f".{target.name}.new-{os.getpid()}")
    writer = None
    count = 0
    try:
        for group in _groups(buffer.episodes(), rows_per_file):
            arrays = _joined(group)
            columns = {name: _arrow_column(pa, array) for name, array in arrays.items()}
            table = pa.table(columns, metadata=_shapes(buffer.schema))
            if writer is None:
                writer = pq.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
            count += len(group)
    finally:
        if writer is not None:
            writer.close()
    if count == 0:
        raise _none_found(buffer)
    temporary.rename(target)
    return count


def _shapes(schema: ReplaySchema) -> dict[str, str]:
    shapes = {field.name: field.shape for field in schema.fields}
    shapes |= {f"next_{field.name}": field.shape for field in schema.linked}
    return {"carla_online.shapes": json.dumps(shapes)}


def _arrow_column(pa, array: Array):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 (pyarrow has no types)
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    if array.ndim == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(array.shape[1:])))


def _write_minari(buffer: ReplayBuffer, dataset_id: str) -> int:
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError as error:
        raise MissingExtra("Minari export needs minari; install carla-online[minari]") from error
    import gymnasium as gym

    fields = {field.name: field for field in buffer.schema.fields}
    action = next((name for name in ("executed_action", "action") if name in fields), None)
    if "obs" not in fields or not fields["obs"].linked or action is None:
        raise ReplayError(
            "Minari export needs a linked field obs and a field executed_action or action; "
            f"the schema has {', '.join(fields)}"
        )
    episodes = [
        EpisodeBuffer(
            id=number,
            observations=np.concatenate([episode["obs"], episode["next_obs"][-1:]]),
            actions=episode[action],
            rewards=episode["reward"],
            terminations=episode["terminated"],
            truncations=episode["truncated"],
        )
        for number, episode in enumerate(buffer.episodes())
    ]
    if not episodes:
        raise _none_found(buffer)
    if dataset_id in minari.list_local_datasets():
        raise ReplayError(f"a Minari dataset {dataset_id} already exists; choose another id")

    def space(name: str) -> gym.Space[Any]:
        dtype: np.dtype[Any] = fields[name].numpy_dtype
        low, high = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        box: gym.Space[Any] = gym.spaces.Box(low, high, fields[name].shape, dtype=dtype.type)
        return box

    with warnings.catch_warnings():
        # It asks for an author and a link to the code, which a replay doesn't know.
        warnings.simplefilter("ignore", UserWarning)
        minari.create_dataset_from_buffers(
            dataset_id,
            buffer=episodes,
            observation_space=space("obs"),
            action_space=space(action),
            description=f"complete episodes of a carla-online replay, {len(episodes)} of them",
        )
    return len(episodes)
