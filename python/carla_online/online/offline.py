"""A run without an environment: the same learner, fed from earlier buffers alone."""

from __future__ import annotations

from pathlib import Path

from carla_online.envs.contract import REWARD_TERM_NAMES, Capabilities
from carla_online.online.earlier import open_earlier
from carla_online.online.intake import Intake, Turn
from carla_online.online.sac import OnlineSACTrainer
from carla_online.online.trainer import EnvironmentFacts, OnlineTrainer

_TURN_UPDATES = 8


class OfflineIntake(Intake):
    """No environment at all: the learner takes the updates that a run's steps would have earned, from earlier buffers.

    Args:
        path: A buffer, which says what the rows look like.
    """

    is_driving = False

    def __init__(self, path: str) -> None:
        with open_earlier(Path(path)) as buffer:
            shapes = {field.name: field.shape for field in buffer.schema.fields}
            slice_names = tuple(buffer.slice_names)
            backbone = buffer.backbone_hash
        terms = shapes["reward_terms"][0]
        names = REWARD_TERM_NAMES if terms == len(REWARD_TERM_NAMES) else tuple(f"term_{i}" for i in range(terms))
        view = shapes.get("birdseye")
        self._facts = EnvironmentFacts(
            num_envs=1,
            obs_dim=shapes["obs"][0],
            action_dim=shapes["executed_action"][0],
            reward_term_names=names,
            capabilities=Capabilities(),
            slice_name=slice_names[0],
            slice_names=slice_names,
            birdseye_px=None if view is None else view[0],
            backbone=backbone,
        )

    @property
    def facts(self) -> EnvironmentFacts:
        """What the buffer's rows tell of the environments."""
        return self._facts

    def begin(self, trainer: OnlineTrainer, *, seed: int) -> None:
        """Skips the warm-up, which fills an empty replay."""
        assert isinstance(trainer, OnlineSACTrainer)  # the experiment's schema refuses others
        warmup = trainer.config.warmup
        trainer.transitions = max(trainer.transitions, warmup.transitions, warmup.critic_from_transitions)

    def turn(self, trainer: OnlineTrainer, *, remaining: int) -> Turn:
        """Counts as many transitions as earn the next few updates."""
        assert isinstance(trainer, OnlineSACTrainer)
        transitions = max(1, round(_TURN_UPDATES / trainer.config.updates_per_env_step))
        trainer.absorb(trainer.transitions + transitions)
        return Turn(transitions * trainer.env_steps_per_transition)

    def close(self) -> None:
        """Nothing is held."""
