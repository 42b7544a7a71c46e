"""carla.World: rays, objects of the level, layers, textures."""

from __future__ import annotations

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.site import Site

CHECKS = Group("World, scenery")


@CHECKS("project_point, ground_projection", "project_point")
def _project(site: Site) -> str:
    above = site.map.get_waypoint(site.points[0].location).transform.location
    ground_m = above.z
    above.z += 5.0
    found = site.world.ground_projection(above, 20.0)
    site.seen("no ground was found", found is not None)
    site.near("height of the road", found.location.z, ground_m, 0.3)
    down = site.world.project_point(above, site.carla.Vector3D(0.0, 0.0, -1.0), 20.0)
    site.near("the same along a ray", down.location.z, found.location.z, 0.05)
    return f"{found.label} at {found.location.z:.2f} m"


@CHECKS("cast_ray", "cast_ray")
def _ray(site: Site) -> str:
    car = site.car()
    place = car.get_location()
    high = site.carla.Location(place.x, place.y, place.z + 10.0)
    hits = site.world.cast_ray(high, site.carla.Location(place.x, place.y, place.z - 5.0))
    site.seen("nothing was hit", len(hits) > 0)
    site.holds("the car is hit", any("Car" in str(hit.label) or "Vehicle" in str(hit.label) for hit in hits), len(hits))
    return f"{len(hits)} hits"


@CHECKS("get_environment_objects, enable_environment_objects", "get_environment_objects", "enable_environment_objects")
def _objects(site: Site) -> str:
    objects = site.world.get_environment_objects(site.carla.CityObjectLabel.Any)
    site.world.enable_environment_objects({found.id for found in objects[:1]}, True)
    site.seen("the level has no objects", len(objects) > 0)
    return f"{len(objects)} objects"


@CHECKS("get_level_bbs", "get_all_level_BBs")
def _boxes(site: Site) -> str:
    boxes = site.world.get_level_bbs(site.carla.CityObjectLabel.Any)
    site.seen("the level has no boxes", len(boxes) > 0)
    return f"{len(boxes)} boxes"


@CHECKS("get_names_of_all_objects", "get_names_of_all_objects")
def _names(site: Site) -> str:
    names = site.world.get_names_of_all_objects()
    site.seen("the level has no objects", len(names) > 0)
    return f"{len(names)} names"


@CHECKS("load_map_layer, unload_map_layer", "load_map_layer", "unload_map_layer")
def _layers(site: Site) -> None:
    site.world.unload_map_layer(site.carla.MapLayer.ParkedVehicles)
    site.world.load_map_layer(site.carla.MapLayer.ParkedVehicles)
    site.steps(1)
    site.seen("accepted; it would show in pictures only", False)


@CHECKS(
    "apply_color_texture_to_object, apply_float_color_texture_to_object",
    "apply_color_texture_to_objects",
    "apply_float_color_texture_to_objects",
)
def _textures(site: Site) -> None:
    names = site.world.get_names_of_all_objects() or ["BP_None"]
    parameter = site.carla.MaterialParameter
    site.world.apply_color_texture_to_object(names[0], parameter.Diffuse, site.carla.TextureColor(2, 2))
    site.world.apply_float_color_texture_to_object(names[0], parameter.Normal, site.carla.TextureFloatColor(2, 2))
    site.seen("accepted; it would show in pictures only", False)


@CHECKS("set_annotations_traverse_translucency", "set_annotations_traverse_translucency")
def _translucency(site: Site) -> None:
    site.world.set_annotations_traverse_translucency(False)
    site.seen("accepted; it would show in pictures only", False)


@CHECKS("get_random_location_from_navigation", "get_required_files")
def _navigation(site: Site) -> str:
    site.world.set_pedestrians_seed(1)
    site.world.set_pedestrians_cross_factor(0.0)
    place = site.world.get_random_location_from_navigation()
    site.seen("there is no navigation mesh", place is not None)
    return f"{place.x:.1f}, {place.y:.1f}"
