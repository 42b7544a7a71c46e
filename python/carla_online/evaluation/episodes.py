"""Runs named episodes in the rows of a vector environment, with nothing lost at the ends.

The environment doesn't reset by itself (autoreset mode `DISABLED`): a row that has ended takes the next episode, and
waits for the last row when there is none. The policy always sees all rows, ended ones with their last observation: a
batch of constant size keeps a network's rounding, and so the result, the same from step to step.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from carla_online.envs.contract import capabilities
from carla_online.envs.observations import ObservationLayout
from carla_online.envs.transitions import ActionScaling
from carla_online.errors import ConfigError, EvaluationError, PolicyError
from carla_online.evaluation.actor import Actor

EnvFactory = Callable[[int], VectorEnv[Any, Any, Any]]
"""Makes a vector environment of so many rows in autoreset mode `DISABLED`."""

_LONGEST_EPISODE: Final = 200_000  # decisions; an environment that never ends an episode must not hang the caller


@dataclass(frozen=True, slots=True)
class EpisodeStep:
    """All rows after one decision."""

    actions: NDArray[np.float32]
    """float32 [N, A] in [-1, 1], as the policy gave them."""
    seeds: NDArray[np.uint64]
    """uint64 [N]: the episode of each row."""
    rewards: NDArray[np.float64]
    """float64 [N]; 0 for rows that had ended before."""
    driven: NDArray[np.bool_]
    """bool [N]: rows this decision belongs to."""
    ended: NDArray[np.bool_]
    """bool [N]: rows whose episode ended with this decision."""
    terminated: NDArray[np.bool_]
    """bool [N]: of those, rows that ended by the task and not by a limit."""
    info: dict[str, Any]
    """The environment's info, batched."""


class EpisodeBatch:
    """Named episodes, as many at a time as `env` has rows.

    Args:
        env: A vector environment of N rows in autoreset mode `DISABLED`.
        seeds: uint64 [M], the episodes, M >= N. Rows begin with the first N; each that ends takes the next.

    Raises:
        ConfigError: The environment resets by itself, or has more rows than there are episodes.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], seeds: NDArray[np.uint64]) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.DISABLED:
            raise ConfigError(
                f"evaluation needs an environment with autoreset_mode DISABLED, got {mode!r}; with another mode the "
                "end of an episode can't be told from the begin of the next."
            )
        if env.num_envs > len(seeds):
            raise ConfigError(f"the environment has {env.num_envs} rows for {len(seeds)} episodes.")
        self._env = env
        self._seeds = np.array(seeds[: env.num_envs], np.uint64)
        self._waiting = deque(np.asarray(seeds, np.uint64)[env.num_envs :].tolist())
        self._scale = ActionScaling(env.single_action_space)
        self._layout = ObservationLayout.of(env.single_observation_space)
        self._named_episodes = capabilities(env).episode_seeds
        self._can_wait = _takes_active(env)

    def run(self, actor: Actor) -> Iterator[EpisodeStep]:
        """Drives until every episode has ended; yields after every decision.

        Args:
            actor: The policy.

        Raises:
            PolicyError: An action that isn't finite; names the episode.
            EvaluationError: An episode that doesn't end.
        """
        obs, _ = self.reset()
        running = np.ones(len(self._seeds), np.bool_)
        decisions = np.zeros(len(self._seeds), np.int64)
        while decisions.max() < _LONGEST_EPISODE:
            actions = actor(self._layout.pack(obs, len(self._seeds)))
            self._require_finite(actions, running)
            actions[~running] = 0.0
            extra = {"active": running} if self._can_wait else {}
            obs, rewards, terminated, truncated, info = self._env.step(self._scale(actions), **extra)
            ended = np.logical_or(terminated, truncated) & running
            yield EpisodeStep(
                actions=actions,
                seeds=self._seeds.copy(),
                rewards=np.where(running, np.asarray(rewards, np.float64), 0.0),
                driven=running,
                ended=ended,
                terminated=np.asarray(terminated, np.bool_) & ended,
                info=info,
            )
            decisions = np.where(ended, 0, decisions + running)
            taken = self._take_next(ended)
            running = running & ~ended | taken
            if not running.any():
                return
            # An ended row may not be stepped in mode DISABLED. Where the environment can't leave it out, it drives its
            # own episode again, and nobody looks.
            obs = self._restart(taken if self._can_wait else np.logical_or(terminated, truncated), obs)
        late = self._seeds[decisions >= _LONGEST_EPISODE].tolist()
        raise EvaluationError(f"the episodes with the seeds {late} didn't end within {_LONGEST_EPISODE} decisions.")

    def reset(self) -> tuple[Any, dict[str, Any]]:
        """Begins the first episode of every row."""
        if self._named_episodes:
            return self._env.reset(options={"episode_seeds": self._seeds})
        return self._env.reset(seed=self._seeds.tolist())

    def _take_next(self, ended: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Gives rows that have ended the episodes that wait; returns which rows have got one, bool [N]."""
        taken = np.zeros_like(ended)
        for row in np.flatnonzero(ended)[: len(self._waiting)].tolist():
            self._seeds[row] = self._waiting.popleft()
            taken[row] = True
        return taken

    def _restart(self, rows: NDArray[np.bool_], obs: Any) -> Any:
        if not rows.any():
            return obs
        if self._named_episodes:
            options = {"reset_mask": rows, "episode_seeds": self._seeds}
            return self._env.reset(options=options)[0]
        return self._env.reset(seed=self._seeds.tolist(), options={"reset_mask": rows})[0]

    def _require_finite(self, actions: NDArray[np.float32], running: NDArray[np.bool_]) -> None:
        bad = ~np.isfinite(actions).all(axis=1) & running
        if bad.any():
            row = int(np.argmax(bad))
            raise PolicyError(
                f"the policy's action {actions[row].tolist()} in the episode with seed {self._seeds[row]} isn't finite."
            )


def _takes_active(env: VectorEnv[Any, Any, Any]) -> bool:
    """Returns whether `step` takes `active`, through every wrapper down to the backend."""
    layer: Any = env
    while isinstance(layer, VectorWrapper):
        kinds = {parameter.kind for parameter in inspect.signature(layer.step).parameters.values()}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            return False
        layer = layer.env
    return "active" in inspect.signature(layer.step).parameters
