"""The contract that every driving environment of this project keeps, in prose and in code.

*Step.* Gymnasium's five-tuple `(obs, reward, terminated, truncated, info)`. `terminated`: the driving ended
(collision, off road, blocked, route finished). `truncated`: the time limit, or the simulator failed
(`info["sim_failure"]` says how); it is never punished and never stored as terminal.

*Action.* `Box(-1, 1, (2,), float32)`: steer (positive right, as in CARLA), signed throttle and brake.

*Info.* Flat, the same keys from `reset` on (`INFO_KEYS`): scalars and arrays of fixed shape, so that
Gymnasium's vector environments batch them with their `_key` masks.

*Seeds.* `reset(seed=s)` fixes all later episodes; `options={"episode_seed": e}` (vector: `"episode_seeds"`)
names one episode exactly. See `carla_online.envs.seeding` for the three families of seeds.

*Autoreset.* A vector environment publishes its mode in `metadata["autoreset_mode"]`;
`carla_online.envs.transitions.TransitionSource` makes the three modes alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker
from numpy.typing import NDArray

INFRACTION_NAMES: Final = (
    "collision_vehicle",
    "collision_static",
    "collision_walker",
    "off_road",
    "lane_invasion",
    "wrong_way",
    "red_light",
    "stop_sign",
    "blocked",
    "timed_out",
    "speeding",
    "route_deviation",
    "outside_route_lanes",
)
"""Order of `info["infractions"]`: counts so far in this episode."""

REWARD_TERM_NAMES: Final = (
    "progress",
    "collision",
    "off_road",
    "route_finished",
    "blocked",
    "overspeed",
    "ttc_deficit",
    "steer_change",
    "pedal_change",
    "lane_invasion",
    "wrong_way",
    "red_light",
    "stop_sign",
    "comfort",
    "off_centre",
    "completion",
    "speed_error",
    "lateral_offset",
    "heading_error",
    "route_factor",
    "speed_factor",
    "ttc_factor",
    "comfort_factor",
    "centre_factor",
)
"""Order of `info["reward_terms"]`: unscaled, of this step; `carla_online.envs.reward` weights them."""

DRAW_NAMES: Final = (
    "cloudiness",
    "precipitation",
    "precipitation_deposits",
    "wind_intensity",
    "sun_azimuth_angle",
    "sun_altitude_angle",
    "fog_density",
    "fog_distance",
    "fog_falloff",
    "wetness",
    "scattering_intensity",
    "mie_scattering_scale",
    "rayleigh_scattering_scale",
    "dust_storm",
    "friction",
    "haze",
    "weather_class",
    "throttle_lag_s",
    "full_brake_mps2",
    "steer_gain",
    "traffic_density",
)
"""Order of `info["draws"]`: CARLA's weather parameters, what they do, the ego's traits, the traffic's density."""

WEATHER_CLASSES: Final = ("dry", "wet", "low_visibility")
"""Kinds of weather that slices are named by; `draws` holds their number."""

Snapshot = dict[str, NDArray[Any]]
"""Complete state of an environment: plain arrays by name, so it goes into a safetensors file as it is."""

AnyEnv = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class InfoKey:
    """One key of `info`."""

    name: str
    """Key in the dictionary."""
    dtype: np.dtype[Any]
    """Element type; `object` marks a `str`."""
    shape: tuple[int, ...]
    """Shape for one environment; a vector environment puts `num_envs` in front."""
    meaning: str
    """What it says, with its unit."""


def _key(name: str, dtype: type[Any], meaning: str, *shape: int) -> InfoKey:
    return InfoKey(name, np.dtype(dtype), shape, meaning)


INFO_KEYS: Final = (
    _key("progress", np.float64, "metres along the route in this step"),
    _key("route_completion", np.float64, "share of the route driven, 0 to 1"),
    _key("distance_m", np.float64, "metres travelled in this episode"),
    _key("route_length_m", np.float64, "length of the route, m"),
    _key("reference_time_s", np.float64, "time the route should take: sum of length / limit x 1.25, s"),
    _key("time_limit_s", np.float64, "the episode is truncated after this time, s"),
    _key("speed_mps", np.float64, "ego's speed, m/s"),
    _key("infraction_score", np.float64, "factor by which infractions lower the score, 0 to 1"),
    _key("driving_score", np.float64, "Leaderboard 2.1 driving score so far, 0 to 100"),
    _key("timed_driving_score", np.float64, "driving score x min(1, reference time x completion / time)"),
    _key("driving_score_1_0", np.float64, "Leaderboard 1.0 driving score so far, 0 to 100"),
    _key("driving_score_2_0", np.float64, "Leaderboard 2.0 driving score so far, 0 to 100"),
    _key("least_ttc_s", np.float64, "least time to collision with whoever was ahead so far, s; 100 at most"),
    _key("short_ttc_events", np.int64, "how often the time to collision fell below 1 s so far"),
    _key("discomfort_events", np.int64, "how often an acceleration became uncomfortable so far"),
    _key("sim_time_s", np.float64, "simulated seconds since the episode began"),
    _key("frame", np.int64, "simulation steps since the episode began"),
    _key("collision", np.bool_, "the ego has collided in this episode"),
    _key("off_road", np.bool_, "the ego left the road"),
    _key("finished", np.bool_, "the route's end was reached"),
    _key("blocked", np.bool_, "the ego stood for too long"),
    _key("timed_out", np.bool_, "the time limit was reached"),
    _key("infraction", np.bool_, "ended on an infraction that the configuration ends episodes on"),
    _key("lane_changes", np.int64, "lane changes of the ego so far"),
    _key("near_traffic_speed_mps", np.float64, "mean speed of the traffic near the ego so far; 0 without any"),
    _key("min_speed_share", np.float64, "own mean speed over that of the traffic near, at most 1"),
    _key("deviated", np.bool_, "the route was left too far"),
    _key("outside_lanes_share", np.float64, "share of the distance driven outside of the route's lanes"),
    _key("infractions", np.int32, "counts so far, see INFRACTION_NAMES", len(INFRACTION_NAMES)),
    _key("reward_terms", np.float32, "terms of this step, see REWARD_TERM_NAMES", len(REWARD_TERM_NAMES)),
    _key("draws", np.float64, "what was drawn for this episode, see DRAW_NAMES", len(DRAW_NAMES)),
    _key("slice_index", np.int64, "which of the environment's slice_names this episode belongs to"),
    _key("stage", np.int64, "the curriculum's stage that this episode was drawn from; 0 without one"),
    _key("curriculum_level", np.int64, "the stage that is being learned; -1 without a curriculum"),
    _key("safety_intervened", np.bool_, "a safety layer changed this step's action"),
    _key("episode_seed", np.uint64, "the seed of this episode"),
    _key("sim_failure", object, "empty, or how the simulator failed: timeout, crash, ..."),
    _key("overcome_failures", object, "empty, or how it failed while the episode began, told with its first step"),
)
"""Every key that `reset` and `step` return, in order."""

TEXT_KEYS: Final = tuple(key.name for key in INFO_KEYS if key.dtype == object)
"""Those that are text; empty is the rule. Several failures stand apart by blanks: `timeout crash`."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do; a trainer that needs more refuses at start."""

    exact_restore: bool = False
    """`snapshot()` and `restore(state)` continue bit-equal."""
    episode_seeds: bool = False
    """`reset(options={"episode_seeds": ...})` names the episodes."""
    reward_terms: bool = False
    """`info` has the keys of this contract, `reward_terms` among them."""
    scene: bool = False
    """`scene(i)` and `road(i)` give what a picture needs."""
    traffic_lights: bool = False
    """Traffic lights exist and are observed."""
    walkers: bool = False
    """Pedestrians exist and are observed."""
    weather: bool = False
    """Weather varies and is observed."""

    def missing(self, *names: str) -> list[str]:
        """Returns those of `names` that this backend can't do."""
        return [name for name in names if not getattr(self, name)]


_STATELESS_WRAPPERS: Final = (OrderEnforcing, PassiveEnvChecker)


def capabilities(env: AnyEnv) -> Capabilities:
    """Returns what `env` can do; for an environment that doesn't say, nothing.

    A wrapper may keep state that the backend's `snapshot` can't see. So `exact_restore` survives only
    wrappers that are known to keep none, or that declare `capabilities` themselves.

    Args:
        env: Any Gymnasium environment, single or vector, wrapped or not.
    """
    layer, hides_state = _declaring_layer(env)
    if layer is None:
        return Capabilities()
    found: Capabilities = layer.capabilities
    return replace(found, exact_restore=found.exact_restore and not hides_state)


def state_layer(env: AnyEnv) -> Any:
    """Returns the layer of `env` whose `snapshot` and `restore` keep its whole state.

    That is the outermost one that declares its capabilities: the backend, or a wrapper with state of its own.
    """
    layer, _ = _declaring_layer(env)
    return env.unwrapped if layer is None else layer


def _declaring_layer(env: AnyEnv) -> tuple[Any, bool]:
    """Returns the outermost layer with `capabilities`, and whether one above it may hide state."""
    hides_state = False
    layer: Any = env
    while not isinstance(getattr(layer, "capabilities", None), Capabilities):
        if not isinstance(layer, gym.Wrapper | VectorWrapper):
            return None, hides_state
        hides_state |= not isinstance(layer, _STATELESS_WRAPPERS)
        layer = layer.env
    return layer, hides_state


class DoneEnv:
    """The four-tuple face of an environment, for code older than Gymnasium's five-tuple.

    `reset` returns the observation alone and `step` returns `(obs, reward, done, info)`, where `done` is
    `terminated or truncated`. `info["TimeLimit.truncated"]` is true where the episode was cut but not over,
    the key which such code (Stable-Baselines3's vector environments, for one) reads to bootstrap correctly.
    """

    def __init__(self, env: AnyEnv) -> None:
        self.env = env

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Resets the environment and returns the first observation."""
        observation, _ = self.env.reset(seed=seed, options=options)
        return observation

    def step(self, action: Any) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Steps the environment.

        Args:
            action: What the wrapped environment takes.

        Returns:
            `(obs, reward, done, info)`; `done` is a `bool`, or `bool [N]` for a vector environment.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        if isinstance(self.env, VectorEnv):
            done = np.logical_or(terminated, truncated)
            cut = np.logical_and(truncated, np.logical_not(terminated))
        else:
            done = bool(terminated) or bool(truncated)
            cut = bool(truncated) and not terminated
        return observation, reward, done, {**info, "TimeLimit.truncated": cut}

    def __getattr__(self, name: str) -> Any:
        # Reached only for what this class lacks: spaces, num_envs, render, close, ...
        if name == "env":  # while unpickling, before __init__ has run
            raise AttributeError(name)
        return getattr(self.env, name)


def done_api(env: AnyEnv) -> DoneEnv:
    """Returns `env` behind the four-tuple `step` of older code; works for single and vector environments."""
    return DoneEnv(env)
