"""Several servers behind the face of the embedded `WorldBatch`."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carla_online.envs.carla.config import CarlaEnvConfig
from carla_online.envs.carla.drive import DEATHS, CarlaDrive
from carla_online.errors import CapabilityError


class CarlaBatch:
    """One episode on each server, stepped together: a thread for each server waits for it.

    It has the methods of `WorldBatch` that a vector environment calls, with the same arrays, and how servers failed.

    Args:
        config: The environment's configuration.

    Attributes:
        num_envs: N, the number of servers.
        sensors: What the sensors saw last, by name, [N, ...].
        sim_failures: How the simulator failed in the last step of each row, object [N] of `str`; empty if it didn't.
        overcome_failures: How it failed while the episode began, object [N] of `str`; empty but after a first step.
    """

    def __init__(self, config: CarlaEnvConfig) -> None:
        world = json.loads(config.stage_configs()[0].world_json())
        self.num_envs = config.num_envs
        self.sim_failures: NDArray[np.object_] = np.full(self.num_envs, "", dtype=object)
        self.overcome_failures: NDArray[np.object_] = np.full(self.num_envs, "", dtype=object)
        self._drives = [
            CarlaDrive(config, index, step_s=world["simulation_step_s"], decision_steps=world["decision_steps"])
            for index in range(self.num_envs)
        ]
        spaces = {name: sensor.space for name, sensor in config.sensors.items()}
        self.sensors = {name: np.zeros((self.num_envs, *space.shape), space.dtype) for name, space in spaces.items()}
        for drive in self._drives:
            drive.show_sensors(self.sensors)
        self._pool = ThreadPoolExecutor(self.num_envs, "carla-env") if self.num_envs > 1 else None

    def assign(self, stages: NDArray[np.int64], mask: NDArray[np.bool_]) -> None:
        """Sets the stage that the next reset of the rows in `mask` draws from; int64 [N], bool [N]."""
        for row in np.flatnonzero(mask).tolist():
            self._drives[row].assign(int(stages[row]))

    @property
    def has_died(self) -> NDArray[np.bool_]:
        """Rows whose server hung or crashed in the last step, bool [N]; an error leaves it alive."""
        died: NDArray[np.bool_] = np.isin(self.sim_failures, DEATHS)
        return died

    def reset(
        self,
        seeds: NDArray[np.uint64],
        mask: NDArray[np.bool_] | None,
        obs: NDArray[np.float32],
        info: NDArray[np.float64],
    ) -> None:
        """Begins the episodes of `seeds` in the rows of `mask`; see `WorldBatch.reset`.

        Raises:
            SimulatorError: A server can't be reached, after all attempts.
        """

        def begin(row: int) -> None:
            self._drives[row].reset(int(seeds[row]))
            self.sim_failures[row] = ""
            self._drives[row].mirror.observe(obs[row], info[row])

        self._each(begin, mask)

    def step(
        self,
        actions: NDArray[np.float32],
        obs: NDArray[np.float32],
        reward_terms: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        info: NDArray[np.float64],
        infractions: NDArray[np.int32],
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        """Makes one decision in the rows of `mask`; see `WorldBatch.step`.

        A row whose simulator fails is truncated, pays nothing and observes what was seen last.

        Raises:
            ValueError: An action isn't finite.
        """
        rows = np.ones(self.num_envs, np.bool_) if mask is None else mask
        bad = np.flatnonzero(rows & ~np.isfinite(actions).all(axis=1))
        if bad.size:
            raise ValueError(f"action[{bad[0]}] is {actions[bad[0]].tolist()}; send finite values.")
        clipped = np.clip(actions, -1.0, 1.0)

        def drive(row: int) -> None:
            drive = self._drives[row]
            failure = drive.step(float(clipped[row, 0]), float(clipped[row, 1]))
            self.sim_failures[row] = failure
            self.overcome_failures[row] = " ".join(drive.take_overcome())
            terminated[row], truncated[row] = drive.mirror.conclude(reward_terms[row], infractions[row])
            drive.mirror.observe(obs[row], info[row])
            if failure:
                reward_terms[row] = 0.0
                terminated[row], truncated[row] = False, True

        self._each(drive, rows)

    def draws(self, mask: NDArray[np.bool_] | None, out: NDArray[np.float64]) -> None:
        """Writes what was drawn for the episodes; see `WorldBatch.draws`."""
        self._each(lambda row: self._drives[row].mirror.draws(out[row]), mask)

    def birdseye(self, kind: str, mask: NDArray[np.bool_] | None, out: NDArray[np.uint8]) -> None:
        """Draws the views from above; see `WorldBatch.birdseye`."""
        self._each(lambda row: self._drives[row].mirror.birdseye(kind, out[row]), mask)

    def scene(self, env: int) -> dict[str, dict[str, list[float]]]:
        """Returns where the ego and the others were seen; see `WorldBatch.scene`."""
        return self._drives[env].mirror.scene()

    def stops(self, env: int) -> list[tuple[list[float], str]]:
        """Returns what holds at the stop lines near; see `WorldBatch.stops`."""
        return self._drives[env].mirror.stops()

    def road(self, env: int) -> list[tuple[str, bytes]]:
        """Returns the lines of the road; see `WorldBatch.road`."""
        return self._drives[env].mirror.road()

    def snapshot(self, env: int) -> bytes:
        """Refuses: a CARLA server can't be put back."""
        raise CapabilityError(
            f"server {self._drives[env].server}: CARLA has no exact_restore; resume between episodes."
        )

    def close(self) -> None:
        """Leaves every server as it was found."""
        self._each(lambda row: self._drives[row].close(), None)
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _each(self, work: Callable[[int], Any], mask: NDArray[np.bool_] | None) -> None:
        rows = range(self.num_envs) if mask is None else [int(row) for row in np.flatnonzero(mask)]
        if self._pool is None or len(rows) < 2:
            for row in rows:
                work(row)
            return
        futures = [self._pool.submit(work, row) for row in rows]
        errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:
            raise errors[0]
