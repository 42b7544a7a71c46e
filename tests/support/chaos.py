"""Misfortune for the servers of a run with workers, and what must hold afterwards."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from carla_online.envs.contract import REWARD_TERM_NAMES
from carla_online.replay import ReplayBuffer

KINDS = ("hang", "crash", "slow")
_FIRST_S = 20.0
_SLOW_S = 6.0
_NAP_S = 0.02
_WINDOW_S = 10.0
_RECOVERED_WITHIN_S = 30.0
_ENDS = [REWARD_TERM_NAMES.index(name) for name in ("collision", "off_road", "route_finished", "blocked")]


class Storm(threading.Thread):
    """Hangs, kills or slows a random worker's server every now and then, and keeps how fast the workers drive.

    Args:
        pool: The run's workers.
        apart_s: Time between two faults.
        until: Called when it is over.
        lasts_s: How long it lasts, from the workers' first steps on.
        seed: Chooses whom and how.
    """

    def __init__(self, pool: Any, *, apart_s: float, until: Callable[[], None], lasts_s: float, seed: int = 0) -> None:
        super().__init__(daemon=True)
        self._pool, self._apart_s, self._until, self._lasts_s, self.seed = pool, apart_s, until, lasts_s, seed
        self.done: list[tuple[float, str]] = []
        self.rates: list[tuple[float, int]] = []
        self.watched_s = 0.0

    def run(self) -> None:
        """Waits until all workers drive, then begins."""
        random = np.random.default_rng(self.seed)
        while (self._pool.board.workers["env_steps"] < 100).any():
            time.sleep(0.1)
        begun_s = time.monotonic()
        due_s = begun_s + min(_FIRST_S, self._apart_s)
        while (now_s := time.monotonic()) < begun_s + self._lasts_s:
            self.watched_s = now_s - begun_s
            self.rates.append((now_s, self._pool.env_steps))
            if now_s >= due_s and self._strike(random, KINDS[len(self.done) % len(KINDS)]):
                due_s = now_s + self._apart_s
            time.sleep(0.2)
        self.watched_s = time.monotonic() - begun_s
        self._until()

    def describe(self) -> str:
        """Returns how often what was done."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(kind for _, kind in self.done).items()))

    def _strike(self, random: np.random.Generator, kind: str) -> bool:
        pids = [pid for pid in self._pool.pids if pid is not None]
        worker = psutil.Process(int(random.choice(pids)))
        servers = [each for each in worker.children() if "serve" in each.cmdline()]
        if not servers:
            return False
        self.done.append((time.monotonic(), kind))
        if kind == "slow":
            _slow(servers[0])
        else:
            servers[0].send_signal(signal.SIGKILL if kind == "crash" else signal.SIGSTOP)
        return True


def _slow(server: psutil.Process) -> None:
    """Lets a server run half of the time."""
    until_s = time.monotonic() + _SLOW_S
    while time.monotonic() < until_s:
        server.send_signal(signal.SIGSTOP)
        time.sleep(_NAP_S)
        server.send_signal(signal.SIGCONT)
        time.sleep(_NAP_S)


def recovery_shares(rates: list[tuple[float, int]], done: list[tuple[float, str]]) -> list[float]:
    """Returns, for each fault, the best speed over 10 s that ends within 30 s after it, as a share of that before it.

    Args:
        rates: (time, steps so far), in order.
        done: (time, kind) of the faults.
    """
    times, steps = (np.array(column, float) for column in zip(*rates, strict=True))

    def speed(end_s: float) -> float:
        first, last = np.searchsorted(times, [end_s - _WINDOW_S, end_s])
        last = min(last, len(times) - 1)
        return float((steps[last] - steps[first]) / max(times[last] - times[first], 1e-3))

    shares = []
    for at_s, _ in done:
        if at_s + _RECOVERED_WITHIN_S > times[-1]:
            continue  # nobody watched long enough
        after = max(speed(at_s + late_s) for late_s in np.arange(_WINDOW_S, _RECOVERED_WITHIN_S + 0.1, 1.0))
        shares.append(after / max(speed(at_s), 1e-3))
    return shares


def check_rows(run_dir: Path, *, acknowledged: int, failures: int) -> list[str]:
    """Returns what is wrong with a run's rows: doubled numbers, gaps in episodes, ends without a reason."""
    with ReplayBuffer.open(run_dir / "replay", read_only=True) as replay:
        blocks = list(replay.read_rows())
        rows = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
        faults = [] if replay.verify().ok else ["verify finds damage"]
    order = np.argsort(rows["step_id"])
    rows = {name: values[order] for name, values in rows.items()}
    count = len(order)
    if len(np.unique(rows["step_id"])) != count:
        faults.append("a number was given out twice")
    # A worker that dies between storing and counting has stored rows that the board doesn't know yet: never fewer.
    if not 0 <= count - acknowledged <= 4 * failures:
        faults.append(f"{count} rows for {acknowledged} acknowledged transitions")
    for episode in np.unique(rows["episode_id"]):
        own = np.flatnonzero(rows["episode_id"] == episode)
        linked = np.array_equal(rows["next_obs"][own[:-1]], rows["obs"][own[1:]])
        ended = rows["terminated"][own] | rows["truncated"][own]
        if not linked or ended[:-1].any() or not ended[-1]:
            faults.append(f"episode {episode} has a gap, an end in its middle, or none")
    unfounded = rows["terminated"] & ~rows["reward_terms"][:, _ENDS].any(axis=1)
    if unfounded.any():
        faults.append(f"{int(unfounded.sum())} rows are terminal for no reason")
    return faults
