"""What runs in the process of one environment: build it, then answer commands, one at a time."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any

import gymnasium as gym

from carla_online.envs.contract import TEXT_KEYS, Capabilities, capabilities
from carla_online.envs.workers.slots import SlotLayout, Slots


@dataclass(frozen=True, slots=True)
class Hello:
    """What a child tells about its environment once it is built."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    metadata: dict[str, Any]
    capabilities: Capabilities
    slice_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """Command: begin an episode."""

    seed: int | None
    """Seed of the episode; None to go on as the environment likes."""
    options: dict[str, Any] | None
    """The caller's own options."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Command: call a method of the environment that changes nothing."""

    method: str
    """Its name; it takes no arguments."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the method returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A command was carried out; the numbers stand in the shared row."""

    extras: dict[str, Any] | None
    """The keys of `info` that have no array there."""


@dataclass(frozen=True, slots=True)
class Raised:
    """The environment raised; the process ends after this."""

    text: str


def serve(connection: Connection[Any, Any], payload: tuple[Callable[[], gym.Env[Any, Any]], int]) -> None:
    """Builds the environment and answers commands until the parent closes the connection.

    Args:
        connection: To the parent. Commands: `Begin`, `Ask`, or `True` for a step with the action in the shared row.
        payload: The function that makes the environment, and the number of its row.
    """
    make, row = payload
    try:
        env = getattr(make, "fn", make)()
        known = capabilities(env)
        slice_names = tuple(getattr(getattr(env.unwrapped, "config", None), "slice_names", ("default",)))
        metadata = {name: value for name, value in env.metadata.items() if name != "autoreset_mode"}
        connection.send(Hello(env.observation_space, env.action_space, metadata, known, slice_names))
        layout: SlotLayout = connection.recv()
        slots = Slots(layout, recv_handle(connection))
        _answer(connection, env, slots, row, names_episodes=known.episode_seeds)
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        traceback.print_exc()
        with contextlib.suppress(OSError):
            connection.send(Raised(f"{type(error).__name__}: {error}"))
        os._exit(1)


def _answer(
    connection: Connection[Any, Any], env: gym.Env[Any, Any], slots: Slots, row: int, *, names_episodes: bool
) -> None:
    reward, terminated, truncated = (slots.arrays[name] for name in ("reward", "terminated", "truncated"))
    actions = slots.arrays["action"]
    while True:
        command = connection.recv()
        if isinstance(command, Ask):
            connection.send(Told(getattr(env.unwrapped, command.method)()))
            continue
        if isinstance(command, Begin):
            observation, info = _begin(env, command, names_episodes=names_episodes)
            reward[row], terminated[row], truncated[row] = 0.0, False, False
        else:
            observation, gain, over, cut, info = env.step(actions[row].copy())
            reward[row], terminated[row], truncated[row] = float(gain), bool(over), bool(cut)
        extras = slots.write(row, observation, info)
        # An empty text is the rule, and not worth its way.
        for name in TEXT_KEYS:
            if not extras.get(name, "x"):
                del extras[name]
        connection.send(Answer(extras or None))


def _begin(env: gym.Env[Any, Any], command: Begin, *, names_episodes: bool) -> tuple[Any, dict[str, Any]]:
    if command.seed is None:
        return env.reset(options=command.options)
    if names_episodes:
        return env.reset(options=(command.options or {}) | {"episode_seed": command.seed})
    # Other environments are named by Gymnasium's own seed, which must fit 31 bits for some of them.
    return env.reset(seed=command.seed % 2**31, options=command.options)
