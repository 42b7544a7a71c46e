"""Who comes and goes between two snapshots; the snapshots and actors have the shape of the client's."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from carla_online.envs.carla.sightings import Watcher

_ZERO = SimpleNamespace(x=0.0, y=0.0, z=0.0)
_POSE = SimpleNamespace(location=_ZERO, rotation=SimpleNamespace(yaw=0.0))


class _Snapshot:
    def __init__(self, ids):
        self._actors = {
            number: SimpleNamespace(id=number, get_transform=lambda: _POSE, get_velocity=lambda: _ZERO)
            for number in ids
        }

    def __len__(self):
        return len(self._actors)

    def __iter__(self):
        return iter(self._actors.values())

    def find(self, number):
        return self._actors.get(number)


def _is_vehicle(number):
    return number % 3 == 0


def _watcher():
    box = SimpleNamespace(location=_ZERO, extent=SimpleNamespace(x=2.0, y=1.0))

    def get_actors(ids):
        kinds = {number: "vehicle.a.b" if _is_vehicle(number) else "traffic.traffic_light" for number in ids}
        return [SimpleNamespace(id=number, type_id=kind, bounding_box=box) for number, kind in kinds.items()]

    return Watcher(SimpleNamespace(world=SimpleNamespace(get_actors=get_actors)))


def _seen(watcher, ids):
    return {other[0] for other in watcher.others(_Snapshot(ids), {0})}


@given(st.lists(st.sets(st.integers(0, 12), max_size=8), max_size=10))
def test_nobody_is_seen_who_is_gone_and_all_are_seen_when_their_number_changes_or_one_leaves(snapshots):
    watcher, count, seen = _watcher(), -1, set()
    for ids in snapshots:
        vehicles = {number for number in ids if _is_vehicle(number)} - {0}
        must_look = len(ids) != count or not seen <= ids
        seen = _seen(watcher, ids)
        assert seen <= vehicles
        assert seen == vehicles or not must_look
        count = len(ids)


def test_one_who_came_unnoticed_is_seen_within_a_second():
    watcher = _watcher()
    assert _seen(watcher, {1, 2, 3}) == {3}
    assert _seen(watcher, {1, 6, 3}) == {3}  # a light went as a vehicle came
    assert any(6 in _seen(watcher, {1, 6, 3}) for _ in range(20))
