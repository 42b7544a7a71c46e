"""A folder of policy versions: nothing in it is ever overwritten, and the champion is what the log says.

    registry.json                       the frozen baseline, the first champion
    versions/<id>/policy.safetensors    a policy; the id is the beginning of its SHA-256
    versions/<id>/version.json          parent, configuration, data, note
    versions/<id>/evidence-0001.json    one for each time that it stood before the gate
    promotions.jsonl                    every decision, in order; only ever appended to
    champion                            the champion's id, for people and scripts

The log decides: a decision counts from the moment its line is on the disk, and `champion` follows it. A process killed
in between leaves `champion` one decision behind; the next one brings it up to date.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, TypeVar

from carla_online._native import __version__
from carla_online.errors import PolicyError, PromotionRefused, RegistryError
from carla_online.files import write_bytes_atomically
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.baseline import Baseline
from carla_online.policies.storage import baseline_from_spec, policy_from_bytes
from carla_online.promotion.evidence import Evidence
from carla_online.promotion.keeping import held, write_evidence, write_folder
from carla_online.promotion.records import (
    BASELINE_ID,
    LogEntry,
    PromotionsLog,
    RegistryRecord,
    VersionRecord,
    now,
    read_record,
    to_bytes,
)

POLICY_FILE: Final = "policy.safetensors"
VERSION_FILE: Final = "version.json"
_RECORD: Final = "registry.json"
_CHAMPION: Final = "champion"
_LOCK: Final = ".lock"
_ID: Final = re.compile(r"[0-9a-f]{4,12}")
_MOST_READS: Final = 100
_Checked = TypeVar("_Checked")
_RESTORE: Final = "Restore it from a copy of the registry; other versions are untouched."


class Registry:
    """The versions of one baseline's descendants, and which of them is champion.

    Readers need no lock. Writers take one; it is held for moments, never while anything drives.

    Args:
        path: The folder.
        lock_timeout_s: How long a writer waits for another.

    Raises:
        RegistryError: There is no registry, or its record is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], *, lock_timeout_s: float = 60.0) -> None:
        self.path = Path(path)
        self._lock_timeout_s = lock_timeout_s
        if not (self.path / _RECORD).is_file():
            raise RegistryError(
                f"{self.path} isn't a registry: it has no {_RECORD}. Check the path; the first carla-online promote "
                "makes a registry."
            )
        self.record = read_record(RegistryRecord, self.path / _RECORD, cure=_RESTORE)
        self._log = PromotionsLog(self.path / "promotions.jsonl")

    @classmethod
    def open_or_create(cls, path: str | os.PathLike[str], *, baseline: Baseline) -> Registry:
        """Opens a registry; makes it, with this frozen baseline as first champion, if the folder is missing or empty.

        Raises:
            RegistryError: The folder holds something else.
        """
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        strange = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
        if strange and _RECORD not in strange:
            raise RegistryError(
                f"{folder} is no registry and isn't empty (it holds {strange[0]!r}); choose another folder."
            )
        with held(folder / _LOCK, timeout_s=60.0):
            if not (folder / _RECORD).exists():
                record = RegistryRecord(
                    baseline_fingerprint=baseline.fingerprint, baseline_spec=baseline.spec, created=now()
                )
                write_bytes_atomically(folder / _RECORD, to_bytes(record))
        return cls(folder)

    def log(self) -> list[LogEntry]:
        """Returns every decision, the oldest first.

        Raises:
            RegistryError: The log is damaged, or doesn't fit the file `champion`.
        """
        for _ in range(_MOST_READS):
            told = self._told_champion()
            entries = self._log.read()
            if told == self._told_champion():
                break  # nobody decided in between, or at most one whose file isn't written yet
        self._check_champion(entries, told)
        return entries

    @property
    def champion_id(self) -> str:
        """The champion's id; `baseline` until a candidate has beaten it."""
        entries = self.log()
        return entries[-1].champion if entries else BASELINE_ID

    def versions(self) -> list[VersionRecord]:
        """Returns all versions, the oldest first.

        Raises:
            RegistryError: One is damaged.
        """
        folder = self.path / "versions"
        names = sorted(each.name for each in folder.iterdir() if _ID.fullmatch(each.name)) if folder.is_dir() else []
        return sorted((self.version(name) for name in names), key=lambda version: (version.created, version.id))

    def version(self, version_id: str) -> VersionRecord:
        """Returns a version by its id, or by the first four or more digits of it.

        Raises:
            RegistryError: There is none, several begin so, or its record is damaged.
        """
        folder = self._folder(version_id)
        record = read_record(VersionRecord, folder / VERSION_FILE, cure=_RESTORE)
        if record.id != folder.name or not record.sha256.startswith(record.id):
            raise RegistryError(f"{folder / VERSION_FILE} belongs to the version {record.id}. {_RESTORE}")
        return record

    def policy(self, version_id: str, *, baseline: Baseline | None = None) -> ActorPolicy:
        """Loads a version's policy, every byte of it checked.

        Args:
            version_id: As in `version`.
            baseline: The frozen baseline, where the file doesn't say how to build it.

        Raises:
            RegistryError: The file is missing or damaged.
            PolicyError: It wants another baseline.
        """
        record = self.version(version_id)
        return policy_from_bytes(self._policy_bytes(record), baseline=baseline, source=f"version {record.id}")

    def baseline(self, given: Baseline | None = None) -> Baseline:
        """Returns the frozen baseline that every candidate must beat.

        Args:
            given: The baseline, where the registry doesn't say how to build it.

        Raises:
            PolicyError: It can't be built, or `given` is another one.
        """
        baseline = given or baseline_from_spec(self.record.baseline_spec, source=f"the registry {self.path}")
        if baseline.fingerprint != self.record.baseline_fingerprint:
            raise PolicyError(
                f"the registry {self.path} stands on the baseline {self.record.baseline_fingerprint[:12]}, not on "
                f"{baseline!r}. Take that one, or another registry."
            )
        return baseline

    def lineage(self, version_id: str) -> list[VersionRecord]:
        """Returns a version and its ancestors, the youngest first; the frozen baseline ends every line.

        Raises:
            RegistryError: An ancestor is missing or damaged, or the line runs in a circle.
        """
        line: list[VersionRecord] = []
        wanted = version_id
        while wanted != BASELINE_ID:
            record = self.version(wanted)
            if any(record.id == known.id for known in line):
                raise RegistryError(
                    f"the version {record.id} is its own ancestor: a version.json was changed. {_RESTORE}"
                )
            line.append(record)
            wanted = record.parent
        return line

    def add(
        self,
        data: bytes,
        *,
        baseline_fingerprint: str | None,
        label: str,
        note: str = "",
        config: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> VersionRecord:
        """Keeps a policy file as a version; one that is there already is returned as it is.

        Args:
            data: What `policy_to_bytes` returned.
            baseline_fingerprint: Of the baseline that its head belongs to.
            label: The run's or file's name.
            note: What a person says of it.
            config: The run's configuration.
            origin: What it learnt from.

        Raises:
            RegistryError: The lock isn't given free, or another policy has the same id.
            OSError: The disk is full; nothing is left but a hidden folder that the next writer removes.
        """
        digest = hashlib.sha256(data).hexdigest()
        with self._held():
            folder = self.path / "versions" / digest[:12]
            if folder.exists():
                record = self.version(digest[:12])
                self._policy_bytes(record)
                if record.sha256 != digest:
                    raise RegistryError(f"two policies begin with the hash {record.id}; train one of them a step more.")
                return record
            record = VersionRecord(
                id=digest[:12],
                sha256=digest,
                parent=self.champion_id,
                baseline_fingerprint=baseline_fingerprint,
                label=label[:200],
                note=note,
                config=None if config is None else dict(config),
                data=dict(origin or {}),
                package_version=__version__,
                created=now(),
            )
            write_folder(folder, {POLICY_FILE: data, VERSION_FILE: to_bytes(record)})
        return record

    def settle(self, version_id: str, evidence: Evidence, *, reason: str, by: str | None = None) -> LogEntry:
        """Writes evidence beside a version and the decision into the log: champion, or refused.

        It becomes champion only if the evidence is about it, passed, was made against who is champion at this moment,
        and isn't from the embedded world alone (or that was allowed).

        Args:
            version_id: The candidate's id.
            evidence: What the gate found.
            reason: Why it should become champion; a refusal says its own.
            by: Who asks; the login's name if not given.

        Returns:
            The log's new line; its `event` tells.

        Raises:
            RegistryError: The lock isn't given free, or something is damaged.
        """
        record = self.version(version_id)
        with self._held():
            champion = self.champion_id
            refusal = evidence.refusal(sha256=record.sha256, champion=champion)
            folder = self.path / "versions" / record.id
            name, digest = write_evidence(folder, evidence.to_bytes())
            entry = self._log.append(
                event="refused" if refusal else "promoted",
                version=record.id,
                champion=champion if refusal else record.id,
                evidence=name,
                evidence_sha256=digest,
                reason=(refusal or reason)[:20_000],
                by=(by or _login())[:200],
            )
            self._write_champion(entry.champion)
        return entry

    def rollback(self, version_id: str, *, reason: str, by: str | None = None) -> LogEntry:
        """Makes an earlier champion, or the frozen `baseline`, champion again.

        Raises:
            PromotionRefused: The version never was champion, or is it now; or no reason is given.
            RegistryError: As in `settle`.
        """
        if not reason.strip():
            raise PromotionRefused("a rollback needs a reason; it stands in the log for whoever wonders later.")
        target = BASELINE_ID if version_id == BASELINE_ID else self.version(version_id).id
        with self._held():
            entries = self.log()
            champion = entries[-1].champion if entries else BASELINE_ID
            if target == champion:
                raise PromotionRefused(f"{target} is champion already.")
            if target != BASELINE_ID:
                if not any(entry.champion == target for entry in entries):
                    raise PromotionRefused(
                        f"{target} never was champion, so no evidence speaks for it: carla-online promote it instead."
                    )
                self._policy_bytes(self.version(target))
            entry = self._log.append(
                event="rolled_back", version=target, champion=target, reason=reason[:20_000], by=(by or _login())[:200]
            )
            self._write_champion(target)
        return entry

    def verify(self) -> list[str]:
        """Reads every file and returns a sentence for each that is damaged or missing."""
        faults: list[str] = []
        folder = self.path / "versions"
        for each in sorted(folder.iterdir()) if folder.is_dir() else []:
            if _ID.fullmatch(each.name):
                faults += _faults(self._check_version, each.name)
        try:
            entries = self.log()
        except RegistryError as error:
            return [*faults, str(error)]
        for entry in entries:
            if entry.evidence is not None:
                faults += _faults(self.evidence, entry)
        return faults

    def evidence(self, entry: LogEntry) -> Mapping[str, Any]:
        """Returns the evidence of a decision, plain values, checked against the log's hash.

        Raises:
            RegistryError: The decision has none (a rollback), or the file is missing or damaged.
        """
        if entry.evidence is None:
            raise RegistryError(f"decision {entry.number} is a rollback, which rests on no evidence of its own.")
        path = self.path / "versions" / entry.version / entry.evidence
        data = _read(path)
        if hashlib.sha256(data).hexdigest() != entry.evidence_sha256:
            raise RegistryError(f"{path} isn't the evidence that the log's line {entry.number} names. {_RESTORE}")
        return Evidence.read(data, source=str(path))

    def _told_champion(self) -> str | None:
        """Returns what the file `champion` says; None where there is none."""
        try:
            return (self.path / _CHAMPION).read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return None

    def _check_champion(self, entries: list[LogEntry], told: str | None) -> None:
        """Refuses a log that doesn't fit the file `champion`: one of the two was changed, or lost lines."""
        path = self.path / _CHAMPION
        logged = [BASELINE_ID, *(entry.champion for entry in entries)]
        if told is None and len(entries) > 1:
            raise RegistryError(f"{path} is missing. By the log it holds {logged[-1]}; write that into it.")
        # A kill between the two writes leaves the file one decision behind, never more.
        if (BASELINE_ID if told is None else told) not in logged[-2:]:
            raise RegistryError(
                f"{path} names {str(told)[:40]!r}, but by the log it is {logged[-1]}: one was changed or lost lines. "
                f"Restore promotions.jsonl from a copy; if the log is right, write {logged[-1]} into champion."
            )

    def _check_version(self, version_id: str) -> None:
        self._policy_bytes(self.version(version_id))

    def _folder(self, version_id: str) -> Path:
        folder = self.path / "versions"
        if not _ID.fullmatch(version_id):
            raise RegistryError(f"{version_id[:40]!r} isn't a version: give 4 to 12 of its digits (0-9, a-f).")
        found = sorted(folder.glob(f"{version_id}*"))
        if len(found) != 1:
            what = "no version begins" if not found else f"{len(found)} versions begin"
            raise RegistryError(
                f"{what} with {version_id} in {self.path}. List them: carla-online registry {self.path}"
            )
        return found[0]

    def _policy_bytes(self, record: VersionRecord) -> bytes:
        path = self.path / "versions" / record.id / POLICY_FILE
        data = _read(path)
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise RegistryError(f"{path} is damaged: its bytes aren't those that were promoted. {_RESTORE}")
        return data

    def _write_champion(self, champion: str) -> None:
        write_bytes_atomically(self.path / _CHAMPION, champion.encode() + b"\n")

    def _held(self) -> AbstractContextManager[None]:
        return held(self.path / _LOCK, timeout_s=self._lock_timeout_s)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RegistryError(f"can't read {path}: {error.strerror}. {_RESTORE}") from error


def _faults(check: Callable[[_Checked], object], checked: _Checked) -> list[str]:
    try:
        check(checked)
    except (RegistryError, OSError) as error:
        return [str(error)]
    return []


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
