"""carla.DebugHelper: drawing into the server's window."""

from __future__ import annotations

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.site import Site

CHECKS = Group("DebugHelper")


@CHECKS("draw_point, draw_line, draw_arrow, draw_box, draw_string, draw_hud_*", "draw_debug_shape")
def _draw(site: Site) -> None:
    carla, debug = site.carla, site.world.debug
    here, there = site.points[0].location, site.points[1].location
    box = carla.BoundingBox(here, carla.Vector3D(1.0, 1.0, 1.0))
    debug.draw_point(here, life_time=0.1)
    debug.draw_line(here, there, life_time=0.1)
    debug.draw_arrow(here, there, life_time=0.1)
    debug.draw_box(box, carla.Rotation(), life_time=0.1)
    debug.draw_string(here, "conformance", life_time=0.1)
    debug.draw_hud_point(here, life_time=0.1)
    debug.draw_hud_line(here, there, life_time=0.1)
    debug.draw_hud_arrow(here, there, life_time=0.1)
    debug.draw_hud_box(box, carla.Rotation(), life_time=0.1)
    site.steps(1)
    site.seen("accepted; it would show in the window only", False)


@CHECKS("clear_debug_shape, clear_debug_string", "clear_debug_shape", "clear_debug_string")
def _clear(site: Site) -> None:
    site.world.debug.clear_debug_shape()
    site.world.debug.clear_debug_string()
    site.steps(1)
    site.seen("accepted; it would show in the window only", False)
