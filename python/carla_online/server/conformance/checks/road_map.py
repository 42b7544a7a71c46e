"""carla.Map: the client computes it from the text that the server sends."""

from __future__ import annotations

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.site import Site

CHECKS = Group("Map")


@CHECKS("get_spawn_points", "get_map_info")
def _spawn_points(site: Site) -> str:
    for pose in site.points:
        found = site.map.get_waypoint(pose.location, project_to_road=False)
        site.holds("every spawn point lies on a lane", found is not None, pose.location)
    return f"{len(site.points)} points"


@CHECKS("get_topology, generate_waypoints", "get_map_data")
def _topology(site: Site) -> str:
    pairs, waypoints = site.map.get_topology(), site.map.generate_waypoints(5.0)
    site.holds("there are waypoints", len(waypoints) > 0)
    return f"{len(pairs)} pairs, {len(waypoints)} waypoints"


@CHECKS("get_crosswalks, get_all_landmarks", "get_map_data")
def _landmarks(site: Site) -> str:
    return f"{len(site.map.get_crosswalks())} crosswalk corners, {len(site.map.get_all_landmarks())} landmarks"


@CHECKS("transform_to_geolocation", "get_map_data")
def _geo(site: Site) -> str:
    place = site.carla.Location(120.0, -40.0, 3.0)
    there = site.map.transform_to_geolocation(place)
    back = site.map.geolocation_to_transform(there)
    site.near("round trip", back.distance(place), 0.0, 0.1)
    return f"{there.latitude:.6f}, {there.longitude:.6f}"
