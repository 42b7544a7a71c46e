"""carla.Client: versions, maps, episodes, files."""

from __future__ import annotations

import tempfile

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.outcome import Neutral
from carla_online.server.conformance.site import Site

CHECKS = Group("Client")


def _short(name: str) -> str:
    return name.split("/")[-1]


@CHECKS("get_server_version", "version")
def _version(site: Site) -> str:
    theirs, ours = site.client.get_server_version(), site.client.get_client_version()
    site.holds("the server's version is the client's", theirs == ours, f"{theirs}, client {ours}")
    return str(theirs)


@CHECKS("get_world", "get_episode_info", "get_sensor_token", "get_episode_settings", "get_spectator")
def _world(site: Site) -> str:
    other = site.carla.Client(site.host, site.port)
    other.set_timeout(20.0)
    world = other.get_world()
    site.holds("a second client sees the same episode", world.id == site.world.id, world.id)
    frame = site.world.tick()
    site.holds("and the same frame", site.wait(lambda: world.get_snapshot().frame == frame), frame)
    return f"episode {world.id}"


@CHECKS("get_available_maps", "get_available_maps")
def _maps(site: Site) -> str:
    names = [_short(path) for path in site.client.get_available_maps()]
    site.holds("the present map is among them", _short(site.map.name) in names, f"{site.map.name} in {names}")
    return f"{len(names)} maps"


@CHECKS("load_world", "load_new_episode", starts_over=True)
def _load(site: Site) -> str:
    car, before = site.car(), site.world.id
    world = site.client.load_world(_short(site.map.name))
    site.holds("the episode is another one", world.id != before)
    site.holds("its vehicles are gone", len(world.get_actors().filter("vehicle.*")) == 0)
    site.holds("the old actor is known not to live", not car.is_alive)
    site.holds("it is asynchronous again", not world.get_settings().synchronous_mode)
    try:
        site.client.load_world("NoTownOfThisName")
    except RuntimeError:
        return f"{_short(world.get_map().name)}; an unknown map is refused"
    site.holds("an unknown map is refused", False)
    return ""


@CHECKS("load_world_if_different", "get_map_info")
def _load_if_different(site: Site) -> None:
    before = site.world.id
    site.client.load_world_if_different(_short(site.map.name))
    site.holds("the same map is not loaded again", site.client.get_world().id == before)


@CHECKS("reload_world", "load_new_episode", starts_over=True)
def _reload(site: Site) -> str:
    site.car()
    frame = site.world.get_snapshot().frame
    world = site.client.reload_world(False)
    site.holds("settings are kept if asked for", world.get_settings().synchronous_mode)
    site.holds("vehicles are gone", len(world.get_actors().filter("vehicle.*")) == 0)
    after = world.tick()
    site.holds("frames grow", after > frame, f"{after} after {frame}")
    return f"frame {after} after {frame}"


@CHECKS("generate_opendrive_world", "copy_opendrive_to_file", "load_new_episode", starts_over=True)
def _generate(site: Site) -> str:
    name, text = _short(site.map.name), site.map.to_opendrive()
    parameters = site.carla.OpendriveGenerationParameters(wall_height=0.0)
    world = site.client.generate_opendrive_world(text, parameters)
    site.holds("the map is the one sent", world.get_map().to_opendrive() == text)
    site.client.load_world(name)
    return _short(world.get_map().name)


@CHECKS("get_required_files, request_file", "get_required_files", "request_file")
def _files(site: Site) -> str:
    with tempfile.TemporaryDirectory() as folder:
        site.client.set_files_base_folder(folder)
        names = site.client.get_required_files("", False)
        site.client.request_file(names[0] if names else "Nav/none.bin")
    if not names:
        raise Neutral("no files are listed")
    return f"{len(names)} files"
