"""The intake of a supervised run: workers drive and store, this process learns from what they have stored."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

from carla_online.errors import CapabilityError
from carla_online.files import replace_bytes
from carla_online.online.experiment import ExperimentConfig
from carla_online.online.intake import Intake, Turn
from carla_online.online.sac import OnlineSACTrainer
from carla_online.online.trainer import EnvironmentFacts, OnlineTrainer
from carla_online.online.workers.pool import WorkerPool
from carla_online.online.workers.weights import publish_weights
from carla_online.policies.actor import ActorPolicy

_PAUSE_S: Final = 0.005
_SPEED_WINDOW_S: Final = 10.0


class WorkersIntake(Intake):
    """Workers that share a run's environments.

    Args:
        config: The experiment; `runner.workers` says how many.
        run_dir: The run's folder.
    """

    def __init__(self, config: ExperimentConfig, run_dir: Path) -> None:
        self.config = config
        self.pool = WorkerPool(
            config.model_dump_json(), config.runner.workers, config.runner.supervision, run_dir.absolute()
        )
        self._published = -1
        self._steps_seen = 0
        self._speed: deque[tuple[float, list[int]]] = deque()

    @property
    def facts(self) -> EnvironmentFacts:
        """What the first worker says of its environments."""
        return self.pool.facts()

    def begin(self, trainer: OnlineTrainer, *, seed: int) -> None:
        """Publishes the weights and lets the workers drive."""
        sac = _supported(trainer)
        self._publish(sac)
        self.pool.begin(next_id=sac.transitions, seed=seed, after_end=sac.replay.close_open_episodes)

    def turn(self, trainer: OnlineTrainer, *, remaining: int) -> Turn:
        """Takes note of what was stored since the last turn, and hands out new weights."""
        self.pool.check()
        sac = _supported(trainer)
        turn = self._take(sac)
        if sac.updates - self._published >= self.config.runner.weights_every_updates or sac.updates < self._published:
            self._publish(sac)
        self._allow(sac, remaining - turn.env_steps)
        if turn.env_steps == 0 and not sac.owes_updates:
            time.sleep(_PAUSE_S)
        return turn

    def finish(self, trainer: OnlineTrainer) -> Turn:
        """Has the workers end, and closes their open episodes as truncated."""
        sac = _supported(trainer)
        self.pool.stop()
        turn = self._take(sac)
        sac.replay.close_open_episodes()
        self._write_table()
        return turn

    def metrics(self) -> dict[str, float]:
        """Returns speeds and incidents by tag, and leaves the table of the workers in the run's folder."""
        self._write_table()
        log, steps = self.pool.incidents, max(1, self.pool.env_steps)
        metrics = {
            "workers/up": float(sum(pid is not None for pid in self.pool.pids)),
            "workers/failures": float(log.failures),
            "workers/failures_per_1000_steps": log.failures_per_1000_steps(steps),
        }
        metrics |= {f"workers/{kind}": float(count) for kind, count in log.counts.items()}
        for row, speed in zip(self.pool.describe(), self._speeds(), strict=True):
            metrics[f"workers/env_steps_per_s_{row['worker']}"] = speed
        return metrics

    def messages(self) -> list[tuple[str, str]]:
        """Returns the incidents since the last call."""
        return [("workers", message) for message in self.pool.take_messages()]

    def status(self) -> list[str]:
        """Returns what each worker does, a line each."""
        lines = []
        for row, speed in zip(self.pool.describe(), self._speeds(), strict=True):
            restarts = f", restarted {row['starts'] - 1} times" if row["starts"] > 1 else ""
            lines.append(f"worker {row['worker']}: {row['state']}, {speed:,.0f} env steps/s{restarts}")
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.pool.incidents.counts.items()))
        return [*lines, f"incidents: {counts}"] if counts else lines

    def close(self) -> None:
        """Stops the workers."""
        self.pool.close()

    def _take(self, trainer: OnlineSACTrainer) -> Turn:
        episodes = self.pool.take_episodes()
        self.episodes += len(episodes)
        steps = self.pool.env_steps
        fresh, self._steps_seen = steps - self._steps_seen, steps
        trainer.absorb(self.pool.board.next_id)
        return Turn(fresh, episodes)

    def _allow(self, trainer: OnlineSACTrainer, remaining: int) -> None:
        """Lets the workers run ahead of the learner by so much that updates and transitions keep their ratio."""
        lead_updates = max(0.0, self.config.runner.lead_updates - trainer.owed_updates)
        lead = lead_updates / trainer.config.updates_per_env_step
        left = remaining / trainer.env_steps_per_transition
        self.pool.board.control["allowed"] = trainer.transitions + math.ceil(min(lead, max(0.0, left)))

    def _publish(self, trainer: OnlineSACTrainer) -> None:
        if publish_weights(self.pool.weights, trainer.policy_module, version=trainer.updates):
            self.pool.board.control["weights_version"] = trainer.updates
            self._published = trainer.updates

    def _speeds(self) -> list[float]:
        """Returns each worker's environment steps a second, of late."""
        now_s, steps = time.monotonic(), self.pool.board.workers["env_steps"].astype(int).tolist()
        if not self._speed or now_s - self._speed[-1][0] > 0.5:
            self._speed.append((now_s, steps))
        while len(self._speed) > 2 and now_s - self._speed[0][0] > _SPEED_WINDOW_S:
            self._speed.popleft()
        then_s, before = self._speed[0]
        return [(now - old) / max(now_s - then_s, 1e-3) for now, old in zip(steps, before, strict=True)]

    def _write_table(self) -> None:
        rows: list[dict[str, Any]] = []
        for row, speed in zip(self.pool.describe(), self._speeds(), strict=True):
            rows.append({name: value for name, value in row.items() if name != "pid"} | {"env_steps_per_s": speed})
        replace_bytes(self.pool.folder / "workers.json", json.dumps(rows, indent=1).encode())


def _supported(trainer: OnlineTrainer) -> OnlineSACTrainer:
    if isinstance(trainer, OnlineSACTrainer) and isinstance(trainer.policy, ActorPolicy):
        return trainer
    raise CapabilityError(
        f"{type(trainer).__name__} can't learn from what workers store; set runner.workers to 0, or take SAC with a "
        "DeltaPolicy or FullPolicy."
    )
