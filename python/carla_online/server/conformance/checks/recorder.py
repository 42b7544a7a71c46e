"""carla.Client: the recorder and the replayer."""

from __future__ import annotations

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.site import Site

CHECKS = Group("Client, recorder")
_FILE = "carla_online_conformance.log"


@CHECKS(
    "start_recorder, stop_recorder, show_recorder_file_info",
    "start_recorder",
    "stop_recorder",
    "show_recorder_file_info",
)
def _record(site: Site) -> str:
    where = site.client.start_recorder(_FILE, True)
    site.car()
    site.client.stop_recorder()
    site.holds("the file's name comes back", _FILE in where, where)
    text = site.client.show_recorder_file_info(_FILE, False)
    site.seen("nothing was recorded", "Frames:" in text)
    return f"{len(text)} characters of information"


@CHECKS("show_recorder_collisions", "show_recorder_collisions")
def _collisions(site: Site) -> str:
    text = site.client.show_recorder_collisions(_FILE, "v", "v")
    site.seen("no text about the file", "Frames:" in text)
    return f"{len(text)} characters"


@CHECKS("show_recorder_actors_blocked", "show_recorder_actors_blocked")
def _blocked(site: Site) -> str:
    text = site.client.show_recorder_actors_blocked(_FILE, 10.0, 1.0)
    site.seen("no text about the file", "Frames:" in text)
    return f"{len(text)} characters"


@CHECKS("replay_file, stop_replayer", "replay_file", "stop_replayer")
def _replay(site: Site) -> None:
    site.client.replay_file(_FILE, 0.0, 0.0, 0, False)
    site.steps(10)
    vehicles = len(site.world.get_actors().filter("vehicle.*"))
    site.client.stop_replayer(False)
    site.seen("nothing is replayed", vehicles > 0)


@CHECKS(
    "set_replayer_time_factor, _ignore_hero, _ignore_spectator",
    "set_replayer_time_factor",
    "set_replayer_ignore_hero",
    "set_replayer_ignore_spectator",
)
def _replayer_settings(site: Site) -> None:
    site.client.set_replayer_time_factor(1.0)
    site.client.set_replayer_ignore_hero(False)
    site.client.set_replayer_ignore_spectator(False)
    site.steps(1)
    site.seen("accepted; they show in a replay only", False)
