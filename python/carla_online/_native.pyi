"""Types of the Rust extension, one section for each binding file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

__version__: str

# ---- advantage ----

_Float = np.float32 | np.float64

def group_advantages(
    rewards: NDArray[_Float],
    mask: NDArray[np.bool_] | None,
    lengths: NDArray[_Float] | None,
    offsets: NDArray[np.int64] | None,
    advantages: NDArray[_Float],
    degenerate: NDArray[np.bool_],
    group_std: NDArray[_Float],
    *,
    groups: int,
    group_size: int,
    estimator: str,
    ddof: int,
    epsilon: float,
    std_floor: float,
    scale: float | None,
    clip: float | None,
    degenerate_absolute: float,
    degenerate_relative: float,
    threads: int | None,
) -> tuple[int, int, float]:
    """Write advantages, degenerate flags and group stds; return elements, degenerate groups and pooled std.

    All arrays are C-contiguous, floats of the type of `rewards`, and no output shares memory. Formulas and units:
    `carla_online.advantage.group`.

    Raises:
        AdvantageError: Offsets, a reward or a length can't be used; `index` names an element that isn't finite.
        TypeError: An array has another element type.
        ValueError: An array has another shape, isn't contiguous, or an output is read-only or overlaps.
    """

def gae(
    rewards: NDArray[_Float],
    values: NDArray[_Float],
    next_values: NDArray[_Float],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    mask: NDArray[np.bool_] | None,
    advantages: NDArray[_Float],
    returns: NDArray[_Float],
    *,
    gamma: float,
    gae_lambda: float,
    threads: int | None,
) -> None:
    """Write advantages and returns [T, N]; arrays and errors as `group_advantages`."""

def reward_to_go(
    rewards: NDArray[_Float],
    ends: NDArray[np.bool_],
    bootstrap: NDArray[_Float] | None,
    mask: NDArray[np.bool_] | None,
    out: NDArray[_Float],
    *,
    gamma: float,
) -> None:
    """Write discounted sums [T, N]; arrays and errors as `group_advantages`."""

def n_step(
    rewards: NDArray[_Float],
    next_values: NDArray[_Float],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    out: NDArray[_Float],
    *,
    steps: int,
    gamma: float,
) -> None:
    """Write returns [T, N]; arrays and errors as `group_advantages`."""

def v_trace(
    rewards: NDArray[_Float],
    values: NDArray[_Float],
    next_values: NDArray[_Float],
    log_ratio: NDArray[_Float],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    targets: NDArray[_Float],
    advantages: NDArray[_Float],
    *,
    gamma: float,
    rho_bar: float,
    c_bar: float,
) -> None:
    """Write targets and advantages [T, N]; arrays and errors as `group_advantages`."""

def branch_reward_to_go(
    rewards: NDArray[_Float],
    alive: NDArray[np.bool_],
    bootstrap: NDArray[_Float],
    out: NDArray[_Float],
    *,
    gamma: float,
    centre: bool,
) -> None:
    """Write advantages [S, G, H]; arrays and errors as `group_advantages`."""

def branch_gae(
    rewards: NDArray[_Float],
    values: NDArray[_Float],
    bootstrap: NDArray[_Float],
    alive: NDArray[np.bool_],
    terminated: NDArray[np.bool_],
    out: NDArray[_Float],
    *,
    gamma: float,
    gae_lambda: float,
    centre: bool,
) -> None:
    """Write advantages [S, G, H]; arrays and errors as `group_advantages`."""

# ---- roads ----

def write_road(
    segments: Sequence[Sequence[float]],
    *,
    lanes_forward: int = 1,
    lanes_backward: int = 0,
    lane_width_m: float = 3.5,
    speed_limit_mps: float = ...,
    shoulder_width_m: float = 0.0,
    start: tuple[float, float, float] = ...,
    elevation: Sequence[tuple[float, float, float]] = ...,
) -> str:
    """Write one road as OpenDRIVE that `RoadMap` and CARLA 0.9.16 read.

    All values are in CARLA coordinates (y to the right, yaw clockwise), so positive curvature bends right. Forward
    lanes lie on the right of the reference line, backward lanes on its left.

    Args:
        segments: The reference line: `(length,)` a line, `(length, curvature)` an arc, `(length, curvature at the
            start, curvature at the end)` a clothoid; metres and 1/m. CARLA's `next_until_lane_end(d)` raises where a
            lane's length is an exact multiple of d: choose total lengths that aren't round.
        lanes_forward: Lanes driven along the reference line.
        lanes_backward: Lanes driven against it.
        lane_width_m: Width of each lane, 0.5 to 20.
        speed_limit_mps: 0.1 to 150; 50 km/h by default.
        shoulder_width_m: Width of the shoulders outside the lanes; 0 for none.
        start: x (m), y (m), heading (rad) of the reference line.
        elevation: `(station (m), height (m), grade)` in ascending order; empty for a level road.

    Returns:
        The OpenDRIVE text.

    Raises:
        MapError: A value isn't finite or is out of range.
        ValueError: A segment has none or more than three numbers.
    """

def write_map(
    kind: str,
    *,
    seed: int = 0,
    length_m: float | None = None,
    lanes: int | None = None,
    lane_width_m: float | None = None,
    speed_limit_mps: float | None = None,
    control: str | None = None,
    light_plan: str | None = None,
    crosswalks: bool | None = None,
    columns: int | None = None,
    rows: int | None = None,
    block_m: float | None = None,
) -> str:
    """Write a map of a kind as OpenDRIVE; the same arguments give the same text.

    Args:
        kind: "straight", "curve" (two-way streets), "highway" (one-way, with shoulders), "t_junction", "four_way", or
            "grid" (a town of blocks in which every street leads somewhere).
        seed: Draws what the other arguments leave open: exact lengths (never round), bends, mixed control.
        length_m: Of the road, or of each arm of a junction. Not for a grid.
        lanes: Driving lanes in each direction (1 to 3 at junctions); of a highway in its one direction.
        lane_width_m: 3.5 by default.
        speed_limit_mps: 50 km/h by default, 120 km/h on a highway.
        control: Who goes first at junctions: "lights" (default), "stop" (four-way: all arms; T: the stem), "yield"
            (four-way: the street along y; T: the stem), "uncontrolled", or "mixed" (lights or stop, drawn).
        light_plan: "opposite" (default; both arms of a street are green together), or "approach" (one arm after the
            other, as in CARLA's towns).
        crosswalks: Whether junctions have crosswalks on all arms; they do by default.
        columns: Blocks of a grid along x, 1 to 20 (default 3).
        rows: Blocks of a grid along y, 1 to 20 (default 3).
        block_m: From street to street of a grid (default 90).

    Raises:
        MapError: A value is out of range, or the kind doesn't have the argument.
        ValueError: A name is unknown.
    """

def examine_map(text: str) -> list[MapFinding]:
    """Look over OpenDRIVE text of any kind for what is wrong, or would surprise in CARLA 0.9.16.

    Returns:
        One entry for each rule that found something, the worst first; empty for a healthy map. Never raises.
    """

@final
class MapFinding:
    """What one rule of the doctor found in a map."""

    @property
    def rule(self) -> str:
        """A short name, the same in every version."""
    @property
    def severity(self) -> str:
        """Either "fault", "warning" or "note"."""
    @property
    def count(self) -> int:
        """How many places there are."""
    @property
    def place(self) -> str:
        """The first of them."""
    @property
    def message(self) -> str: ...
    @property
    def cure(self) -> str: ...

@final
class Signal:
    """A traffic light or sign; indices of signals are positions in `RoadMap.signals()`."""

    @property
    def id(self) -> str:
        """OpenDRIVE signal id, as carried by CARLA's landmarks."""
    @property
    def name(self) -> str: ...
    @property
    def code(self) -> str:
        """OpenDRIVE type, such as "1000001"."""
    @property
    def kind(self) -> str:
        """Either "light", "stop", "yield", "speed limit" or "other"."""
    @property
    def road_id(self) -> int: ...
    @property
    def station_m(self) -> float: ...
    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def z(self) -> float: ...
    @property
    def yaw_rad(self) -> float: ...
    @property
    def speed_limit_mps(self) -> float | None: ...
    @property
    def governs(self) -> bool:
        """Whether a light, stop or yield sign is valid for some driving lane."""
    @property
    def group(self) -> int | None:
        """Of a light: position in `RoadMap.light_groups()`."""
    @property
    def phase(self) -> int:
        """Of a light: its phase in the group."""

@final
class LightGroup:
    """Lights whose phases take turns: one phase at most is green or yellow at any time."""

    @property
    def junction(self) -> int | None:
        """Position in `RoadMap.junctions()`."""
    @property
    def controllers(self) -> list[str]:
        """OpenDRIVE controller ids, one for each phase."""
    @property
    def phases(self) -> list[list[int]]:
        """Signals of each phase."""

@final
class StopLine:
    """A line on an approach lane, for one way on from there."""

    @property
    def s_m(self) -> float:
        """Where the front of a vehicle has to stay behind, metres along the lane."""
    @property
    def onto(self) -> int | None:
        """The junction lane that it is the way to; None binds everybody."""
    @property
    def rule(self) -> str:
        """Either "uncontrolled", "yield", "stop" or "light"."""
    @property
    def signal(self) -> int | None:
        """The light, where the rule is one."""
    @property
    def group(self) -> int | None: ...
    @property
    def phase(self) -> int | None: ...
    @property
    def turn(self) -> str:
        """CARLA's name of the RoadOption: "LEFT", "RIGHT", "STRAIGHT"; "LANEFOLLOW" without junction."""

@final
class Junction:
    """A junction; indices of junctions are positions in `RoadMap.junctions()`."""

    @property
    def id(self) -> int:
        """OpenDRIVE junction id."""
    @property
    def centre(self) -> tuple[float, float, float]: ...
    @property
    def radius_m(self) -> float: ...
    @property
    def lanes(self) -> list[int]:
        """Its driving lanes."""
    @property
    def approaches(self) -> list[int]:
        """The driving lanes that lead into it."""

@final
class Conflict:
    """One contiguous stretch on which two lanes of a junction are too near to each other for two cars."""

    @property
    def other(self) -> int: ...
    @property
    def kind(self) -> str:
        """Either "cross", "merge" or "diverge"."""
    @property
    def own_m(self) -> tuple[float, float]: ...
    @property
    def other_m(self) -> tuple[float, float]: ...

@final
class Crosswalk:
    """A crosswalk as it is painted; indices of crosswalks are positions in `RoadMap.crosswalks()`."""

    @property
    def id(self) -> str: ...
    @property
    def road_id(self) -> int: ...
    @property
    def polygon(self) -> list[tuple[float, float, float]]:
        """Corners, not closed."""
    @property
    def walk(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """The line that people walk, from kerb to kerb."""

@final
class Crossing:
    """A stretch of a lane that a crosswalk covers."""

    @property
    def crosswalk(self) -> int: ...
    @property
    def from_m(self) -> float: ...
    @property
    def to_m(self) -> float: ...

@final
class RoutePiece:
    """A stretch of one lane with one RoadOption."""

    @property
    def lane(self) -> int:
        """The lane; of a lane change the one changed to."""
    @property
    def from_m(self) -> float: ...
    @property
    def to_m(self) -> float: ...
    @property
    def station_m(self) -> float:
        """Metres along the route to its beginning."""
    @property
    def option(self) -> str:
        """CARLA's name of the RoadOption."""
    @property
    def left_lane(self) -> int | None:
        """The lane that a lane change leaves."""

@final
class RoutePoint:
    """A point of a route; during a lane change between the two lanes' centres."""

    @property
    def lane(self) -> int: ...
    @property
    def s_m(self) -> float: ...
    @property
    def station_m(self) -> float: ...
    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def z(self) -> float: ...
    @property
    def yaw_rad(self) -> float: ...
    @property
    def option(self) -> str: ...

@final
class Route:
    """A route over the lanes of one map."""

    @property
    def length_m(self) -> float: ...
    @property
    def pieces(self) -> list[RoutePiece]: ...

@final
class SpawnPoint:
    """A place on a lane, and the pose above it."""

    @property
    def lane(self) -> int: ...
    @property
    def s_m(self) -> float: ...
    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def z(self) -> float: ...
    @property
    def yaw_rad(self) -> float: ...

@final
class Lane:
    """One lane of one lane section, a node of the lane graph; lanes are named by their index in `RoadMap.lanes()`."""

    @property
    def road_id(self) -> int: ...
    @property
    def section(self) -> int: ...
    @property
    def lane_id(self) -> int:
        """OpenDRIVE lane id: negative lanes run with the road, positive ones against it."""
    @property
    def kind(self) -> str:
        """OpenDRIVE lane type, such as "driving" or "shoulder"."""
    @property
    def speed_limit_mps(self) -> float: ...
    @property
    def junction(self) -> int | None: ...
    @property
    def length_m(self) -> float:
        """Length of the lane's own centre line in the ground plane."""
    @property
    def left(self) -> int | None:
        """The driving lane of the same direction on the left, as the driver sees it."""
    @property
    def right(self) -> int | None: ...
    @property
    def may_change_left(self) -> bool:
        """Whether there is a left neighbour and the mark at the lane's start permits the change."""
    @property
    def may_change_right(self) -> bool: ...
    @property
    def left_mark(self) -> str:
        """OpenDRIVE type of the mark at the lane's start, such as "broken"."""
    @property
    def right_mark(self) -> str: ...
    @property
    def successors(self) -> list[int]: ...
    @property
    def predecessors(self) -> list[int]: ...
    @property
    def section_start_m(self) -> float:
        """Road station where the lane section begins."""
    @property
    def section_end_m(self) -> float: ...

@final
class LaneSample:
    """The centre of a lane at one place, CARLA coordinates, heading along the driving direction."""

    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def z(self) -> float: ...
    @property
    def yaw_rad(self) -> float:
        """In (-pi, pi], clockwise seen from above."""
    @property
    def curvature_per_m(self) -> float:
        """Change of yaw per metre along the driving direction: positive bends right."""
    @property
    def width_m(self) -> float: ...

@final
class LanePoint:
    """A place relative to a lane."""

    @property
    def lane(self) -> int: ...
    @property
    def s_m(self) -> float:
        """Distance from the lane's start along the driving direction."""
    @property
    def lateral_m(self) -> float:
        """Distance from the lane's centre, positive to the right as the driver sees it."""

@final
class Markings:
    """The marks on both edges of a lane, as the driver sees them."""

    @property
    def left(self) -> str: ...
    @property
    def right(self) -> str: ...
    @property
    def left_permits_change(self) -> bool:
        """Whether the mark permits crossing it, whatever lies beyond."""
    @property
    def right_permits_change(self) -> bool: ...

@final
class Polyline:
    """A line along a lane, for drawing."""

    @property
    def lane(self) -> int: ...
    @property
    def kind(self) -> str:
        """One of "centre", "left edge" and "right edge"."""
    @property
    def mark(self) -> str:
        """OpenDRIVE type of the mark on an edge; "none" on a centre."""
    @property
    def points(self) -> list[tuple[float, float, float]]:
        """At least two points (x, y, z) in metres, in the driving direction."""

@final
class RoadMap:
    """An immutable, baked road map; safe to share between threads.

    Every method that takes a lane raises `IndexError` for an index beyond `lanes()`. Distances `s_m` are metres along
    a lane's own centre line from its driving start, clamped to the lane.
    """

    @staticmethod
    def from_xodr(text: str) -> RoadMap:
        """Read and bake OpenDRIVE text.

        Raises:
            MapError: The text isn't acceptable XML, has numbers missing or out of range, refers to what doesn't
                exist, exceeds a limit, or has no driving lane.
        """
    @staticmethod
    def from_kind(
        kind: str,
        *,
        seed: int = 0,
        length_m: float | None = None,
        lanes: int | None = None,
        lane_width_m: float | None = None,
        speed_limit_mps: float | None = None,
        control: str | None = None,
        light_plan: str | None = None,
        crosswalks: bool | None = None,
        columns: int | None = None,
        rows: int | None = None,
        block_m: float | None = None,
    ) -> RoadMap:
        """Write a map of a kind and read it; arguments and errors are those of `write_map`."""
    @property
    def xodr(self) -> str:
        """The text that the map was read from."""
    @property
    def content_hash(self) -> int:
        """64-bit FNV-1a of the text, the same on every machine."""
    def lanes(self) -> list[Lane]:
        """All lanes of all kinds; fresh copies, so keep the list."""
    def driving_lanes(self) -> list[int]:
        """Indices of the lanes of type driving."""
    def sample(self, lane: int, s_m: float) -> LaneSample:
        """Give the centre of a lane at a distance from its start."""
    def locate(self, x: float, y: float, z: float, *, yaw_rad: float | None = None) -> LanePoint | None:
        """Find the nearest driving lane; with a yaw, prefer lanes within 90 degrees of it up to 10 m away.

        Returns:
            The place; None only for coordinates that aren't finite.
        """
    def project(self, lane: int, x: float, y: float, *, near_s_m: float) -> LanePoint:
        """Find the place on one lane beside a point, searching downhill from `near_s_m`."""
    def abreast(self, lane: int, s_m: float, other: int) -> float:
        """Give the distance along `other` at the same road station (on another section: nearest)."""
    def station(self, lane: int, s_m: float) -> float:
        """Give the road station, metres along the road's reference line, beside a place on a lane."""
    def at_station(self, lane: int, station_m: float) -> float:
        """Give the distance along a lane beside a road station: the inverse of `station`."""
    def advance(self, lane: int, s_m: float, distance_m: float) -> LanePoint | None:
        """Go along first driving successors (negative: predecessors); None past the end of the road."""
    def half_width_to_edge(self, lane: int, s_m: float) -> tuple[float, float]:
        """Measure from the lane's centre to the left and right edge of the driving surface of its direction."""
    def markings(self, lane: int, s_m: float) -> Markings:
        """Give the marks on both edges of a lane at a distance from its start."""
    def speed_limit_mps(self, lane: int, s_m: float) -> float:
        """Give the limit at a place: of the last sign passed on the road, else of the lane, the road, or 13.9."""
    def signals(self) -> list[Signal]:
        """All traffic lights and signs, in the order of the file."""
    def light_groups(self) -> list[LightGroup]:
        """Groups of lights whose phases take turns."""
    def junctions(self) -> list[Junction]:
        """All junctions, in ascending order of ids."""
    def junction_of(self, lane: int) -> int | None:
        """Give the position in `junctions()` of the junction that a lane belongs to."""
    def conflicts(self, lane: int) -> list[Conflict]:
        """Give the stretches on which other lanes of the same junction come too near, by lane."""
    def stop_lines(self, lane: int) -> list[StopLine]:
        """Give the lines at the end of an approach lane, one for each way into the junction."""
    def crosswalks(self) -> list[Crosswalk]:
        """All crosswalks, in the order of the file."""
    def crossings(self, lane: int) -> list[Crossing]:
        """Give the stretches of a driving lane that crosswalks cover, in driving order."""
    def plan_route(self, origin: tuple[int, float], destination: tuple[int, float]) -> Route | None:
        """Plan the shortest way between two places `(lane, s_m)`, with permitted lane changes.

        A lane change counts 10 m more. Options follow CARLA's `GlobalRoutePlanner`.

        Returns:
            The route; None where no way leads there or a lane isn't driven on.
        """
    def route_points(self, route: Route, step_m: float) -> list[RoutePoint]:
        """Give the points of a route at multiples of `step_m` (at least 0.1) and its end.

        Raises:
            ValueError: The route was planned on another map.
        """
    def entry_spawn_points(self) -> list[SpawnPoint]:
        """Give the spawn points of CARLA's server for a world of OpenDRIVE text: at road entries, 3 m up."""
    def spawn_points(self, spacing_m: float) -> list[SpawnPoint]:
        """Give spawn points on all lanes outside junctions and crosswalks, `spacing_m` (at least 5) apart, 0.5 m up."""
    def polylines(self, step_m: float) -> list[Polyline]:
        """Give lane edges with their marks and centres of driving lanes, points at most `step_m` apart."""

# ---- world ----

@final
class WorldMirror:
    """One episode of the world that is driven elsewhere: on a CARLA server.

    It draws the episode of a seed as `WorldBatch` does and judges what it is shown with the same functions. Angles are
    degrees, positions metres in CARLA's frame. An ego is `(x, y, z, yaw, vx, vy, yaw_rate, gear)`, another road user
    `(id, kind, x, y, z, yaw, vx, vy, half_length, half_width)` with kind `vehicle` or `walker`.

    One step of the simulation is `plan`, the simulator's own step, and `look`.
    """

    def __new__(cls, config: str) -> Self:
        """Make a mirror that waits for its first reset; `config` as for `WorldBatch`.

        Raises:
            ConfigError: Not JSON, an unknown key, a wrong type, or values out of range (all of them at once).
        """

    def reset(self, seed: int) -> tuple[float, float, float, float, float, float, int]:
        """Begin the episode of a seed; return the ego's start: x, y, z (m), yaw (degrees), velocity x, y (m/s), gear.

        Raises:
            MapError: The seed gives no road; nothing has changed.
        """

    def enter(self, seed: int, places: Sequence[tuple[float, float, float, float]]) -> None:
        """Begin an episode along a given route over the map of a file; `place` then says where the ego is.

        Args:
            seed: Draws weather and traits.
            places: x, y, z (m) and heading (degrees) of places in driving order, on driving lanes. One to which no
                short way leads is left out, unless it is the last.

        Raises:
            MapError: The places make no route, or the map isn't of kind `xodr`.
        """

    def place(self, ego: tuple[float, float, float, float, float, float, float, int]) -> None:
        """Show the ego before the first step, where the simulator has put it."""

    def show_lights(self, lights: Sequence[tuple[str, str]]) -> None:
        """Have every light show what the simulator shows, and not what the world's clock says.

        Args:
            lights: Signal's OpenDRIVE id, and `green`, `yellow` or `red`; those not named are red.
        """

    def xodr(self) -> str:
        """Return the OpenDRIVE text of the road."""

    def scripted(self) -> list[tuple[int, float, float, float, float, float, bool]]:
        """Return the world's own traffic where it is now: model, x, y, z, yaw, speed (m/s), whether it has left."""

    def scripted_walkers(self) -> list[tuple[float, float, float, float, float]]:
        """Return the world's own people on foot where they are now: x, y, z of the ground, yaw, speed (m/s)."""

    def lights(self) -> list[tuple[str, str]]:
        """Return what each traffic light shows now: its signal's OpenDRIVE id; `green`, `yellow` or `red`."""

    def lights_ahead(self, reach_m: float) -> list[str]:
        """Return the lights that say anything to the ego within a way, on its route or not: signals' OpenDRIVE ids."""

    def name_scripted(self, ids: Sequence[int], walker_ids: Sequence[int]) -> None:
        """Take the simulator's ids of the world's own traffic and people on foot, in their order.

        Raises:
            ValueError: Another number of ids.
        """

    def release_scripted(self) -> None:
        """Give the world's own traffic away: from now on it is among the others."""

    def meet(self, others: Sequence[tuple[int, str, float, float, float, float, float, float, float, float]]) -> None:
        """Show the others before the first step."""

    def decide(self, steer: float, pedal: float) -> None:
        """Hold an action from now on, clipped to [-1, 1]."""

    def plan(self) -> None:
        """Compare the ego with everybody before a step, and move the world's own traffic."""

    def is_close(
        self,
        ego: tuple[float, float, float, float, float, float, float, int],
        others: Sequence[tuple[int, str, float, float, float, float, float, float, float, float]],
        margin_m: float,
    ) -> bool:
        """Return whether somebody's box is within `margin_m` of the ego's."""

    def look(
        self,
        ego: tuple[float, float, float, float, float, float, float, int],
        others: Sequence[tuple[int, str, float, float, float, float, float, float, float, float]],
        felt: Sequence[tuple[int, str]],
    ) -> bool:
        """Judge what a step has led to; return whether the episode has ended.

        Args:
            ego: The ego after the step.
            others: Everybody else but the world's own traffic.
            felt: Contacts that the collision sensor reported: the other's id, and `vehicle`, `walker` or `layout`.
        """

    def conclude(self, reward_terms: NDArray[np.float32], infractions: NDArray[np.int32]) -> tuple[bool, bool]:
        """Write reward terms (float32 [K]) and counts (int32 [J]) of the decision; return terminated and truncated.

        Raises:
            EpisodeEnded: No decision has begun.
        """

    def observe(self, obs: NDArray[np.float32], info: NDArray[np.float64]) -> None:
        """Write the observation (float32 [D]) and the info row (float64 [I])."""

    def draws(self, out: NDArray[np.float64]) -> None:
        """Write what was drawn for the episode, float64 [M]; names are `WorldBatch.draw_names()`."""

    def birdseye(self, kind: str, out: NDArray[np.uint8]) -> None:
        """Draw the view from above `small` or `carl` into `out`, uint8 [S, S]."""

    def scene(self) -> dict[str, dict[str, list[float]]]:
        """Return `ego` (one element) and `actors`, as `WorldBatch.scene` does."""

    def stops(self) -> list[tuple[list[float], str]]:
        """Return the stop lines near the ego and what holds there now, as `WorldBatch.stops` does."""

    def road(self) -> list[tuple[str, bytes]]:
        """Return kind and points (float32 [P, 2]) of every line, as `WorldBatch.road` does."""

@final
class HeldWorlds:
    """The episodes of a `WorldBatch` at one moment, in memory; `hold` fills it, again and again."""

    def __new__(cls) -> HeldWorlds: ...

@final
class WorldBatch:
    """Driving worlds of one configuration, stepped together; what they do is a function of seeds and actions alone.

    N is `num_envs`, D `obs_dim`, K, J and I are the numbers of reward terms, infractions and info columns. Arrays must
    be C-contiguous and of the type and shape given; outputs must be writable and may not share memory. The interpreter
    is released while worlds are stepped or reset. Calls from several threads wait for each other.
    """

    obs_dim: int
    """Number of observed values, 144."""

    def __new__(cls, *, num_envs: int, config: str, threads: int = 1) -> Self:
        """Make worlds that wait for their first reset.

        Args:
            num_envs: 1 to 65,536.
            config: JSON; keys left out take the values of `default_config()`.
            threads: 1 to 1024; results don't depend on it. With 1 everything runs in the calling thread.

        Raises:
            ConfigError: Not JSON, an unknown key, a wrong type, or values out of range (all of them at once).
        """

    @staticmethod
    def layout() -> list[tuple[str, int, int, float, str]]:
        """Return name, first value, number of values, scale and unit of every observed quantity.

        An observed value is the quantity / scale, clipped to [-10, 10]. Names are `group/name` or `group/slot/name`.
        """

    @staticmethod
    def reward_term_names() -> list[str]: ...
    @staticmethod
    def infraction_names() -> list[str]: ...
    @staticmethod
    def info_names() -> list[str]: ...
    @staticmethod
    def default_config() -> str:
        """Return the default configuration as JSON, every key written out."""

    @property
    def num_envs(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def config(self) -> str:
        """The configuration as JSON, every key written out."""

    def reset(
        self,
        seeds: NDArray[np.uint64],
        mask: NDArray[np.bool_] | None,
        obs: NDArray[np.float32],
        info: NDArray[np.float64],
    ) -> None:
        """Begin the episodes of `seeds`.

        Args:
            seeds: uint64 [N].
            mask: bool [N], the worlds to reset; the rows of others aren't touched. None resets all.
            obs: float32 [N, D], written.
            info: float64 [N, I], written.

        Raises:
            MapError: A seed gives no road; nothing has changed.
            TypeError, ValueError: An array is wrong; the message names it, what was seen and what is expected.
        """

    def step(
        self,
        actions: NDArray[np.float32],
        obs: NDArray[np.float32],
        reward_terms: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        info: NDArray[np.float64],
        infractions: NDArray[np.int32],
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        """Make one decision in every world.

        Args:
            actions: float32 [N, 2], steer (positive right) and signed throttle/brake; clipped to [-1, 1].
            obs: float32 [N, D], written.
            reward_terms: float32 [N, K], written: of this decision, unscaled.
            terminated: bool [N], written: the driving ended.
            truncated: bool [N], written: the time was over.
            info: float64 [N, I], written.
            infractions: int32 [N, J], written: counts since the episode began.
            mask: bool [N], the worlds to step; the rows of others aren't touched. None steps all.

        Raises:
            EpisodeEnded: A world was never reset or its episode has ended; `env` names it, nothing has changed.
            ValueError: An action is NaN or infinite; nothing has changed.
            TypeError, ValueError: An array is wrong.
        """

    def obs(self, env: int, obs: NDArray[np.float32]) -> None:
        """Write the observation of one world into `obs` (float32 [D])."""

    @staticmethod
    def draw_names() -> list[str]:
        """Return the names of what is drawn for an episode, in the order of `draws`."""

    @staticmethod
    def weather_classes() -> list[str]:
        """Return the kinds of weather, in the order of their numbers."""

    @staticmethod
    def birdseye_planes() -> list[str]:
        """Return the meaning of each bit of a bird's-eye view, from the lowest."""

    @staticmethod
    def birdseye_size(kind: str) -> int:
        """Return the pixels along each side of the view `small` or `carl`."""

    def birdseye(self, kind: str, mask: NDArray[np.bool_] | None, out: NDArray[np.uint8]) -> None:
        """Draw the bird's-eye views of the worlds in `mask` (bool [N], None for all) into `out`, uint8 [N, S, S].

        Raises:
            EpisodeEnded: A world was never reset.
            MapError: The map is too large to be painted.
        """

    def draws(self, mask: NDArray[np.bool_] | None, out: NDArray[np.float64]) -> None:
        """Write what was drawn for the episodes of the worlds in `mask` into `out`, float64 [N, M]."""

    def snapshot(self, env: int) -> bytes:
        """Return the episode of a world as bytes, for `restore` of the same build and configuration."""

    def restore(self, env: int, snapshot: bytes | bytearray) -> None:
        """Put the episode of a snapshot into a world; what follows is bit-equal.

        Raises:
            CheckpointError: Damaged, or of another build, configuration or map; nothing has changed.
        """

    def branch(self, source: int, targets: Sequence[int], *, forked: bool = False) -> None:
        """Copy the episode of one world into others.

        Args:
            source: The world to copy.
            targets: The worlds to copy into.
            forked: Each target draws a future of its own, by its place in `targets`; else all draw the source's.
        """

    def hold(self, held: HeldWorlds) -> None:
        """Copy every world into `held`: the fast way to come back, within one process."""

    def go_back(self, held: HeldWorlds) -> None:
        """Copy every world back from `held`.

        Raises:
            ValueError: They were held by another batch, or nothing was; nothing has changed.
        """

    def restore_many(self, targets: Sequence[int], snapshot: bytes | bytearray, *, forked: bool = False) -> None:
        """Put the episode of a snapshot into several worlds; `forked` as in `branch`, errors as in `restore`."""

    def state_hash(self, env: int) -> int:
        """Return a 64-bit hash of a world's whole state."""

    def xodr(self, env: int) -> str:
        """Return the OpenDRIVE text of a world's road."""

    def stops(self, env: int) -> list[tuple[list[float], str]]:
        """Return the stop lines within 150 m of the ego: x, y of both ends, and what holds there now.

        That is `red`, `yellow`, `green`, `stop` or `yield`; a road without junctions has none.
        """

    def scene(self, env: int) -> dict[str, dict[str, list[float]]]:
        """Return `ego` (one element) and `actors`: lists `x`, `y`, `yaw`, `half_length`, `half_width`, `speed`."""

    def road(self, env: int) -> list[tuple[str, bytes]]:
        """Return the road's lines: `edge`, `lane` or `route`, and float32 [P, 2] points in metres as bytes."""

def drive_open_loop(
    start: Sequence[float],
    controls: NDArray[np.float32],
    out: NDArray[np.float32],
    *,
    step_s: float,
    grip_mps2: float = ...,
) -> None:
    """Drive the powertrain model through recorded controls.

    Args:
        start: Speed (m/s), yaw rate (rad/s, positive to the right), throttle, brake, gear.
        controls: float32 [T, 3], steer, throttle and brake of every step.
        out: float32 [T, 2], written: speed (m/s) and heading (rad, from 0) after every step.
        step_s: Length of a step, 0.005 to 0.1.
        grip_mps2: Radius of the friction circle, 2 to 40; 11 if not given.

    Raises:
        TypeError, ValueError: An array is wrong, or a value isn't finite.
    """

# ---- safety ----

@final
class SafetyFilter:
    """The safety layer's arithmetic; `carla_online.envs.SafetyLayer` is its face."""

    def __new__(cls, config: str) -> SafetyFilter: ...
    @staticmethod
    def default_config() -> str:
        """Return the default settings as JSON, every key written out."""

    @staticmethod
    def cause_names() -> list[str]:
        """Return why actions are changed, in the order of the bits of `causes`."""

    @property
    def config(self) -> str:
        """The settings as JSON, every key written out."""

    def decide(
        self,
        obs: NDArray[np.float32],
        proposed: NDArray[np.float32],
        last: NDArray[np.float32],
        latch_s: NDArray[np.float32],
        executed: NDArray[np.float32],
        causes: NDArray[np.uint8],
    ) -> None:
        """Decide for N environments.

        Args:
            obs: float32 [N, D], the driving world's vector observation.
            proposed: float32 [N, 2], finite.
            last: float32 [N, 2], the executed actions before; written.
            latch_s: float32 [N], for how much longer each brake stays pressed, seconds; written.
            executed: float32 [N, 2], written.
            causes: uint8 [N], written: bits of `cause_names`; 0 where the proposed action stands.

        Raises:
            TypeError, ValueError: An array is wrong, or a value isn't finite.
        """

def weigh_terms(terms: NDArray[np.float32], weights: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Write the weighted sum of each row of reward terms, summed in their order whatever the number of rows.

    Args:
        terms: float32 [N, K].
        weights: float64 [K].
        out: float64 [N], written.

    Raises:
        TypeError, ValueError: An array is wrong.
    """

@final
class ScenarioLedger:
    """One episode's account where another program judges the drive too, as ScenarioRunner's criteria do."""

    def __new__(cls, reference_time_s: float | None = None) -> Self:
        """Open an account; without a reference time the route's own holds."""

    def enter(
        self,
        infractions: NDArray[np.int32],
        reward_terms: NDArray[np.float32],
        info: NDArray[np.float64],
        ended: tuple[bool, bool],
        found: Sequence[int],
        watched: Sequence[bool],
        shares: tuple[float | None, float | None],
        state: str,
    ) -> tuple[bool, bool]:
        """Make the world's judgement of a decision the one of both; return terminated and truncated.

        Args:
            infractions: int32 [J], the world's counts so far; written.
            reward_terms: float32 [K], of this decision; written.
            info: float64 [I], in the order of `WorldBatch.info_names()`; written.
            ended: Whether the world terminates or truncates the episode.
            found: The other's counts so far, J of them.
            watched: Whether the other watches for each infraction: then its count holds, but for collisions, of which
                the higher count does.
            shares: Share of the route driven, and of the distance outside of its lanes; None where the other doesn't
                look.
            state: `running`, `succeeded`, `failed`, `timed_out` or `ego_gone`.

        Raises:
            ConfigError: An unknown state.
            TypeError, ValueError: An array is wrong, or other than J counts.
        """

def project_actions(
    actions: NDArray[np.float64], gradients: NDArray[np.float64], bounds: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Write into `out` [N, 2] the nearest actions with `gradients` [N, M, 2] `. action <= bounds` [N, M]."""

# ---- replay ----

@final
class ReplayCore:
    """An open replay buffer; `carla_online.replay.ReplayBuffer` is its face."""

    @staticmethod
    def create(
        path: Path, fields_json: str, *, capacity_rows: int, block_rows: int, streams_hint: int | None
    ) -> ReplayCore: ...
    @staticmethod
    def open(path: Path, *, read_only: bool, expected_json: str | None) -> ReplayCore: ...
    @property
    def fields_json(self) -> str: ...
    @property
    def capacity_rows(self) -> int: ...
    @property
    def block_rows(self) -> int: ...
    @property
    def copy_on_write(self) -> str | None: ...
    @property
    def is_closed(self) -> bool: ...
    def size(self) -> int: ...
    def stored_places(self) -> int: ...
    def total_appended(self) -> int: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
    def writer(
        self, *, streams: int, first_stream: int, resume: Sequence[tuple[int, int, int] | None] | None
    ) -> ReplayWriterCore: ...
    def sampler(
        self,
        *,
        seed: int,
        n_step: int,
        gamma: float,
        mode: tuple[str, float] | tuple[str, float, float],
        check: bool,
    ) -> ReplaySamplerCore: ...
    def bind(self, arrays: dict[str, NDArray[np.generic]], batch: list[int]) -> ReplayColumns: ...
    def rows_from(self, first_block: int, wanted: int) -> tuple[ReplayRows, int | None]: ...
    def episodes_from(self, first_block: int, wanted: int) -> tuple[ReplayRows, list[int], int | None]: ...
    def read(self, rows: ReplayRows, columns: ReplayColumns) -> int: ...
    def compact(self, target: Path, *, capacity_rows: int, block_rows: int) -> int: ...
    def verify(self) -> tuple[int, int, list[tuple[int, int, str]]]: ...
    def last_step_id(self) -> int | None: ...
    def open_episodes(self) -> list[tuple[int, int]]: ...
    def close_open_episodes(self) -> int: ...
    def quarantine(self, first_step_id: int, last_step_id: int) -> int: ...
    def slice_id(self, name: str) -> int: ...
    def baseline_id(self, hash: str) -> int: ...
    def backbone_id(self, hash: str) -> int: ...
    def slice_names(self) -> list[str]: ...
    def baseline_hashes(self) -> list[str]: ...
    def backbone_hashes(self) -> list[str]: ...

@final
class ReplayWriterCore:
    """The writing end of N streams."""

    @property
    def streams(self) -> int: ...
    @property
    def is_resumed(self) -> bool: ...
    def places(self) -> list[tuple[int, int, int] | None]: ...
    def append(
        self,
        rows: dict[str, NDArray[np.generic]],
        next_values: dict[str, NDArray[np.generic]],
        mask: NDArray[np.bool_] | None,
    ) -> None: ...
    def bind(
        self,
        rows: dict[str, NDArray[np.generic]],
        next_values: dict[str, NDArray[np.generic]],
        mask: NDArray[np.bool_] | None,
    ) -> BoundWriter: ...
    def end_episodes(self, mask: NDArray[np.bool_] | None) -> int: ...
    def close(self) -> None: ...

@final
class BoundWriter:
    """Appends what its arrays hold at each call; made by `ReplayWriter.bind`."""

    def append(self) -> None:
        """Append one row to each stream, or to those of the bound mask, from the bound arrays.

        As `ReplayWriter.append`: all rows or none, acknowledged when it returns, the same errors.
        """

@final
class ReplaySamplerCore:
    """A sampler's position."""

    def sample_into(self, columns: ReplayColumns, watermark: int | None) -> None: ...
    def sample_part(
        self, columns: ReplayColumns, watermark: int | None, first: int, rows: int, source: int
    ) -> None: ...
    def sample_windows(self, columns: ReplayColumns, watermark: int | None, windows: int, length: int) -> None: ...
    def update_priorities(
        self,
        row_index: NDArray[np.generic],
        row_generation: NDArray[np.generic],
        priorities: NDArray[np.float32],
    ) -> int: ...
    def set_correction(self, correction: float) -> None: ...
    def state(self) -> tuple[int, int]: ...
    def restore(self, seed: int, draw: int) -> None: ...

@final
class ReplayColumns:
    """Arrays that sampled rows are written to, checked once."""

@final
class ReplayRows:
    """Rows, listed for reading."""

    def __len__(self) -> int: ...
    def part(self, first: int, rows: int) -> ReplayRows: ...

# ---- server ----

@final
class ServerThreads:
    """A CARLA 0.9.16 server in threads of this process; `carla_online.server.Server` has a process of its own."""

    def __new__(
        cls,
        *,
        host: str,
        port: int,
        map: str | None = None,
        maps: str | Path | None = None,
        aliases: Sequence[tuple[str, str]] = ...,
        residents: tuple[int, int, int] = ...,
        faults: Sequence[str] = ...,
    ) -> Self:
        """Load the map, bind `port` and the next one (0: any free pair) and serve.

        `residents` are vehicles and people of the server's own, and their seed.

        Raises:
            ConfigError: An unknown map or fault, a folder that can't be read.
            MapError: A map that can't be served.
            SimulatorError: A port that is taken.
        """

    @property
    def port(self) -> int:
        """Port of the calls; the streams have the next one."""

    def is_running(self) -> bool:
        """Whether it serves."""

    def take_journal(self) -> list[str]:
        """Return lines for the user since the last call."""

    def stop(self) -> None:
        """Close all connections and free the ports."""

def server_calls() -> list[tuple[str, bool]]:
    """Return every call that is answered, and whether it is served (else: accepted, with a neutral answer)."""
