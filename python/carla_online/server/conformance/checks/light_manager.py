"""carla.LightManager: street lights."""

from __future__ import annotations

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.site import Site

CHECKS = Group("LightManager")


@CHECKS("get_all_lights, turn_on, turn_off", "query_lights_state")
def _lights(site: Site) -> str:
    manager = site.world.get_lightmanager()
    lights = manager.get_all_lights()
    site.seen(f"map {site.map.name} has no street lights", len(lights) > 0)
    manager.turn_on(lights)
    site.steps(3)
    site.near("lights on", len(manager.get_turned_on_lights()), len(lights), 0)
    return f"{len(lights)} lights"


@CHECKS("set_day_night_cycle", "update_day_night_cycle")
def _cycle(site: Site) -> None:
    site.world.get_lightmanager().set_day_night_cycle(False)
    site.steps(2)
    site.seen("accepted; it would show in pictures only", False)
