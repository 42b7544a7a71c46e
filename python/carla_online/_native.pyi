"""Types of the Rust extension, one section for each binding file."""

from collections.abc import Sequence

__version__: str

# ---- roads ----

def write_road(
    segments: Sequence[Sequence[float]],
    *,
    lanes_forward: int = 1,
    lanes_backward: int = 0,
    lane_width_m: float = 3.5,
    speed_limit_mps: float = ...,
    shoulder_width_m: float = 0.0,
    start: tuple[float, float, float] = (0.0, 0.0, 0.0),
    elevation: Sequence[tuple[float, float, float]] = (),
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
    def polylines(self, step_m: float) -> list[Polyline]:
        """Give lane edges with their marks and centres of driving lanes, points at most `step_m` apart."""
