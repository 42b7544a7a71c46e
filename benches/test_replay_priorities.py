"""Speed of prioritised replay: add one row, sample a batch by priority, write the batch's priorities back."""

from __future__ import annotations

import gc
import shutil
from typing import Any

import pytest

import replay_peers
from arena import Arena
from replay_ours import Ours
from rounds import Contender


@pytest.mark.parametrize("batch", [256, 4096])
def test_prioritised_cycle(benchmark: Any, arena: Arena, batch: int) -> None:
    directory = arena.directory / f"priorities-{batch}"
    ours = Ours(directory, arena.rows, linked=False)
    peers, skipped = replay_peers.available(replay_peers.PRIORITISED, arena.wants, arena.rows, linked=False)
    contenders = [
        Contender("append, sample_into, update_priorities", "ours", ours.cycle(batch)),
        *[Contender(peer.package, "library", peer.cycle(batch)) for peer in peers],
    ]
    if arena.is_measuring:
        contenders = [contenders[0], *[one for one in contenders[1:] if _works(one, skipped)]]
    arena.contest(benchmark, f"replay/prioritised cycle {batch}", contenders, skipped=skipped, gated=False)
    ours.close()
    shutil.rmtree(directory)
    gc.collect()


def _works(contender: Contender, skipped: dict[str, str]) -> bool:
    """TorchRL's sampler fails only when it is used, if its C++ part was built for another torch."""
    try:
        contender.run(1)
    except Exception as error:  # a library's own failure must not end the measurement of the others
        skipped[contender.name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return False
    return True
