"""What a registry keeps in its JSON files, and the log that only grows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import Field

from carla_online.config import Config, validate
from carla_online.errors import CarlaOnlineError, RegistryError
from carla_online.evaluation.files import finite, read_json
from carla_online.files import sync_directory

FORMAT: Final = 1
BASELINE_ID: Final = "baseline"
"""Stands where a version's id would, for the frozen baseline itself."""
VERSION_ID: Final = r"^[0-9a-f]{12}$"
_ID_OR_BASELINE: Final = r"^(?:[0-9a-f]{12}|baseline)$"
_SHA256: Final = r"^[0-9a-f]{64}$"
_NOTHING: Final = "0" * 64

Event = Literal["promoted", "refused", "rolled_back"]
"""What a line of the log tells."""
ConfigT = TypeVar("ConfigT", bound=Config)


class RegistryRecord(Config):
    """`registry.json`: what every candidate must beat."""

    format: Literal[1] = FORMAT
    """Of the registry's files."""
    baseline_fingerprint: str = Field(min_length=1, max_length=200)
    """The frozen baseline's."""
    baseline_spec: dict[str, Any] | None = None
    """How to build it again; None for a live Python object."""
    created: str = Field(max_length=40)
    """When, UTC."""


class VersionRecord(Config):
    """`versions/<id>/version.json`: where a policy comes from."""

    format: Literal[1] = FORMAT
    """Of the file."""
    id: str = Field(pattern=VERSION_ID)
    """The first 12 digits of the policy file's SHA-256."""
    sha256: str = Field(pattern=_SHA256)
    """Of the policy file."""
    parent: str = Field(pattern=_ID_OR_BASELINE)
    """Who was champion when it came: a version, or `baseline`."""
    baseline_fingerprint: str | None = None
    """Of the baseline that its head belongs to; None for a policy without."""
    label: str = Field(max_length=200)
    """The run's or file's name."""
    note: str = Field("", max_length=2_000)
    """What a person wrote beside it."""
    config: dict[str, Any] | None = None
    """The run's configuration, where there was one."""
    data: dict[str, Any] = Field(default_factory=dict)
    """What it learnt from: steps and transitions of the run, or the contents of `distilled.json`."""
    package_version: str = Field(max_length=60)
    """Of carla_online."""
    created: str = Field(max_length=40)
    """When, UTC."""


class LogEntry(Config):
    """A line of `promotions.jsonl`."""

    number: int = Field(ge=1)
    """1 for the first line."""
    event: Event
    """What happened."""
    version: str = Field(pattern=_ID_OR_BASELINE)
    """To whom."""
    champion: str = Field(pattern=_ID_OR_BASELINE)
    """Who is champion from now on."""
    evidence: str | None = Field(None, pattern=r"^evidence-[0-9]{4,9}\.json$")
    """The file beside the version; none for a rollback."""
    evidence_sha256: str | None = Field(None, pattern=_SHA256)
    """Of that file."""
    reason: str = Field(max_length=20_000)
    """Why."""
    by: str = Field(max_length=200)
    """Who asked."""
    at: str = Field(max_length=40)
    """When, UTC."""
    previous_sha256: str = Field(pattern=_SHA256)
    """Of the line before, zeros for the first: a line that was changed or taken away shows."""


def now() -> str:
    """Returns the time, UTC, as it stands in the records."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def to_bytes(record: Config) -> bytes:
    """Returns a record as indented JSON."""
    return json.dumps(finite(record.model_dump(mode="json")), indent=2, sort_keys=True).encode() + b"\n"


def read_record(model: type[ConfigT], path: Path, *, cure: str) -> ConfigT:
    """Reads a record.

    Raises:
        RegistryError: The file is missing, damaged or of another format; `cure` says what to do then.
    """
    try:
        data = read_json(path)
        if not isinstance(data, Mapping):
            raise RegistryError(f"{path} holds a {type(data).__name__}, not a mapping.")
        if data.get("format", FORMAT) != FORMAT:
            raise RegistryError(f"{path} has format {data.get('format')!r}; this build reads {FORMAT}.")
        return validate(model, data, source=str(path))
    except CarlaOnlineError as error:
        raise RegistryError(f"{error}\n{cure}") from error


class PromotionsLog:
    """`promotions.jsonl`: one line for each decision, each sealed with the hash of the one before.

    A line counts once it is whole and synced; what a kill leaves of one is cut off by the next writer. Writers hold the
    registry's lock.

    Args:
        path: The file; it needn't exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[LogEntry]:
        """Returns the entries in order.

        Raises:
            RegistryError: A whole line is damaged, or lines were changed, taken away or added.
        """
        return self._parse(self._lines())

    def append(self, **told: Any) -> LogEntry:
        """Adds a line and returns it when it would survive a power cut.

        Args:
            **told: The entry's fields, without `number`, `at` and `previous_sha256`.

        Raises:
            RegistryError: The log is damaged.
            OSError: The disk is full or not writable; the log is as before, but for part of a line that doesn't count.
        """
        lines = self._lines()
        self._parse(lines)
        previous = hashlib.sha256(lines[-1]).hexdigest() if lines else _NOTHING
        entry = LogEntry(number=len(lines) + 1, at=now(), previous_sha256=previous, **told)
        line = json.dumps(entry.model_dump(mode="json"), sort_keys=True).encode() + b"\n"
        with self.path.open("ab") as file:
            file.truncate(sum(len(each) for each in lines))
            file.seek(0, os.SEEK_END)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self.path.parent)
        return entry

    def _lines(self) -> list[bytes]:
        """Returns the whole lines; a last one without its end, as a kill leaves it, doesn't count."""
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines

    def _parse(self, lines: list[bytes]) -> list[LogEntry]:
        entries: list[LogEntry] = []
        previous = _NOTHING
        for number, line in enumerate(lines, start=1):
            try:
                data = json.loads(line)
                entry = validate(LogEntry, data if isinstance(data, dict) else {}, source=f"line {number}")
            except (ValueError, RecursionError) as error:
                raise self._damage(number, str(error)) from error
            if entry.number != number or entry.previous_sha256 != previous:
                raise self._damage(number, "it doesn't follow the line before it")
            entries.append(entry)
            previous = hashlib.sha256(line).hexdigest()
        return entries

    def _damage(self, number: int, why: str) -> RegistryError:
        return RegistryError(
            f"{self.path}: line {number} is damaged or was changed ({why}). Nothing was written. Restore the file from "
            "a copy; versions and evidence stand beside it, untouched."
        )
