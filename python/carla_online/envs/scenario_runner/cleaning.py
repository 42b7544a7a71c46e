"""Leaves nothing of an episode behind: upstream's own clean-up, and what it forgets."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from carla_online.envs.carla.client import Connection
from carla_online.envs.scenario_runner import upstream

_LOG: Final = logging.getLogger(__name__)
_OURS: Final = ("vehicle.", "walker.", "controller.", "sensor.", "static.trigger.", "static.prop.")


def clean_up(connection: Connection, scenario: Any, kept: Iterable[int]) -> int:
    """Destroys all that was spawned since the town was loaded.

    Upstream destroys its own pool; friction triggers, and whatever was spawned before a build failed, are outside of
    it. So the world's actors are compared with those that came with the town.

    Args:
        connection: The server.
        scenario: ScenarioRunner's object, terminated; None if it was never built.
        kept: Ids of the town's own actors.

    Returns:
        How many actors upstream had left.
    """
    from srunner.scenariomanager.carla_data_provider import CarlaDataProvider

    with connection.guard("clearing up"):
        if scenario is not None:
            scenario.remove_all_actors()
        CarlaDataProvider.cleanup()
        connection.tick()
        left = leftovers(connection, kept)
        if left:
            destroy = connection.carla.command.DestroyActor
            connection.client.apply_batch_sync([destroy(each) for each in left], False)
            connection.tick()
    upstream.reset_sticky_state()
    return len(left)


def leftovers(connection: Connection, kept: Iterable[int]) -> list[int]:
    """Returns ids of actors that didn't come with the town, sensors and controllers first."""
    known = set(kept)
    actors = [
        actor
        for actor in connection.world.get_actors()
        if actor.id not in known and actor.type_id.startswith(_OURS) and actor.is_alive
    ]
    actors.sort(key=lambda actor: not actor.type_id.startswith(("sensor.", "controller.")))
    return [int(actor.id) for actor in actors]
