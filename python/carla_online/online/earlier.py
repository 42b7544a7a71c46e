"""Experience of earlier runs: their buffers, opened read-only, and mixed into every batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from carla_online.errors import ConfigError, SchemaMismatch
from carla_online.replay import ReplayBuffer, ReplayMixture
from carla_online.replay.mixture import MixtureSampler


class EarlierBuffers:
    """Buffers of earlier runs; nothing in their folders is ever written.

    Args:
        shares: Folder to share of every batch. What the shares leave of 1 comes from the run's own buffer.
        baseline: Fingerprint of the policy's baseline (`none` without one), which must be theirs as well: a row keeps
            the baseline's action, and a delta beside another baseline means something else.
        backbone: Fingerprint of the network whose features the observations hold, or None; it must be theirs as well.

    Raises:
        ConfigError: A buffer can't be used, and why.
    """

    def __init__(self, shares: Mapping[str, float], *, baseline: str, backbone: str | None = None) -> None:
        self.shares = dict(shares)
        self.buffers: list[ReplayBuffer] = []
        try:
            for path in shares:
                self.buffers.append(open_earlier(Path(path)))
                _check_origin(self.buffers[-1], baseline, backbone)
        except BaseException:
            self.close()
            raise

    def sampler(self, own: ReplayBuffer | None, *, seed: int, n_step: int, gamma: float) -> tuple[MixtureSampler, int]:
        """Returns a sampler over the run's own buffer, if any, and these; and how many of the sources are its own.

        Raises:
            ConfigError: A buffer's rows have other fields.
        """
        parts = list(zip(self.buffers, self.shares.values(), strict=True))
        first = [] if own is None else [(own, 1.0 - sum(self.shares.values()))]
        try:
            mixture = ReplayMixture(first + parts)
        except SchemaMismatch as error:
            raise ConfigError(f"replay.earlier: {error}; take buffers of the same environment.") from None
        return mixture.sampler(seed=seed, n_step=n_step, gamma=gamma), len(first)

    def describe(self) -> list[str]:
        """Returns a line on each buffer: rows, slices, and which versions of a policy wrote them."""
        lines = []
        for buffer, share in zip(self.buffers, self.shares.values(), strict=True):
            seen = buffer.sampler(seed=0).sample(1_000)
            versions = f"policy versions about {seen['policy_version'].min()} to {seen['policy_version'].max()}"
            slices = sorted({buffer.slice_names[index] for index in np.unique(seen["slice_id"]).tolist()})
            lines.append(
                f"learning from {buffer.path} (share {share:.0%}): {buffer.size:,} rows, {versions}, "
                f"slices {', '.join(slices)}"
            )
        return lines

    def close(self) -> None:
        """Closes the buffers."""
        for buffer in self.buffers:
            buffer.close()


def open_earlier(path: Path) -> ReplayBuffer:
    """Opens an earlier buffer read-only.

    Args:
        path: Its folder.

    Raises:
        ConfigError: It is no buffer, or empty.
    """
    if not path.is_dir():
        raise ConfigError(f"{path} isn't a replay buffer's folder; a run keeps its own in RUN/replay.")
    buffer = ReplayBuffer.open(path, read_only=True)
    if buffer.size == 0:
        buffer.close()
        raise ConfigError(f"the buffer {path} is empty; leave it out.")
    return buffer


def _check_origin(buffer: ReplayBuffer, baseline: str, backbone: str | None) -> None:
    """Refuses a buffer whose rows mean something else than this run's."""
    others = [known for known in buffer.baseline_hashes if known != baseline]
    if others:
        raise ConfigError(
            f"the buffer {buffer.path} was driven beside the baseline {others[0][:12]}, not beside this policy's "
            f"{baseline[:12]}; its deltas mean something else here. Take the same baseline, or leave it out."
        )
    try:
        buffer.check_backbone(backbone)
    except SchemaMismatch as error:
        raise ConfigError(f"replay.earlier: {error}.") from None
