"""Exceptions of carla_online: a base class and one subclass per cause.

A message says what happened, the value seen, and what to do. All are picklable.
"""


class CarlaOnlineError(Exception):
    """Base class of every error that carla_online raises on purpose."""


class ConfigError(CarlaOnlineError, ValueError):
    """A configuration is wrong: unknown key, value out of range, missing file."""


class MissingExtra(CarlaOnlineError, ImportError):
    """A feature needs an optional dependency that isn't installed; the message names the extra."""


class SimulatorError(CarlaOnlineError):
    """A simulator failed."""


class SimulatorTimeout(SimulatorError):
    """A simulator did not answer before its deadline."""


class SimulatorCrashed(SimulatorError):
    """A simulator's process ended."""


class EpisodeEnded(CarlaOnlineError, RuntimeError):
    """An environment was used before its first reset, or stepped after its episode ended."""


class CapabilityError(CarlaOnlineError):
    """A trainer needs something that the environment's backend can't do."""


class MapError(CarlaOnlineError, ValueError):
    """An OpenDRIVE map can't be read or drives nowhere."""


class ReplayError(CarlaOnlineError):
    """A replay buffer can't do what was asked."""


class SchemaMismatch(ReplayError, ValueError):
    """A replay directory or batch has another schema than expected."""


class ReplayCorrupt(ReplayError):
    """A replay directory is damaged or not a replay directory."""


class ReplayForked(ReplayError):
    """A replay handle was used in a forked child; the child must reopen it."""


class ReplayClosed(ReplayError):
    """A replay handle was used after close."""


class AdvantageError(CarlaOnlineError, ValueError):
    """Rewards, values or settings that no advantage can be computed from.

    Where an element is at fault, the attribute `index` is its place in the flattened array.
    """


class CheckpointError(CarlaOnlineError):
    """A checkpoint is missing, damaged, or belongs to something else."""


class PolicyError(CarlaOnlineError, ValueError):
    """A policy or baseline breaks the policy contract."""


class EvaluationError(CarlaOnlineError, ValueError):
    """Results can't be read or compared: other routes, values that aren't numbers, damaged files."""


class TrainingFrozen(CarlaOnlineError):
    """The stability guard rolled back too often and froze learning."""


class RegistryError(CarlaOnlineError):
    """A registry of policies is damaged, busy, or no registry; the message names the file and the cure."""


class PromotionRefused(CarlaOnlineError):
    """A candidate may not become champion; the message lists the evidence that is missing."""
