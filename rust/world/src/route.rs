//! The way an ego has to go: a chain of lane pieces with a station along it.

use carla_online_roads::{LaneIndex, LanePoint, PlannedRoute, RoadMap, RoadOption as Planned};

/// Pieces farther along the route than this are looked at only if no nearer one fits, metres.
const NEAR_M: f32 = 150.0;

/// What a stretch of a route asks for, in the order CARLA's agents number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RoadOption {
    /// Stay on the road.
    LaneFollow = 0,
    /// Turn left at a junction.
    Left = 1,
    /// Turn right at a junction.
    Right = 2,
    /// Go straight over a junction.
    Straight = 3,
    /// Change to the lane on the left.
    ChangeLeft = 4,
    /// Change to the lane on the right.
    ChangeRight = 5,
}

/// A piece of one lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RouteSegment {
    /// The lane.
    pub lane: LaneIndex,
    /// Where the piece begins, metres along the lane.
    pub from_s_m: f32,
    /// Where it ends.
    pub to_s_m: f32,
    /// Station of its beginning, metres along the route.
    pub station_m: f32,
    /// What it asks for.
    pub option: RoadOption,
}

/// A route. Any lane of the same road section and direction counts as on the route, at the station abreast.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    segments: Vec<RouteSegment>,
    length_m: f32,
    is_planned: bool,
}

impl Route {
    /// A route along one lane.
    pub fn along_lane(lane: LaneIndex, from_s_m: f32, to_s_m: f32) -> Self {
        let option = RoadOption::LaneFollow;
        let segment = RouteSegment {
            lane,
            from_s_m,
            to_s_m,
            station_m: 0.0,
            option,
        };
        Self {
            segments: vec![segment],
            length_m: to_s_m - from_s_m,
            is_planned: false,
        }
    }

    /// A route over pieces `(lane, from, to, option)`; stations follow from their lengths.
    pub fn from_pieces(pieces: &[(LaneIndex, f32, f32, RoadOption)]) -> Self {
        let mut station_m = 0.0;
        let mut segments = Vec::with_capacity(pieces.len());
        for &(lane, from_s_m, to_s_m, option) in pieces {
            segments.push(RouteSegment {
                lane,
                from_s_m,
                to_s_m,
                station_m,
                option,
            });
            station_m += (to_s_m - from_s_m).max(0.0);
        }
        Self {
            segments,
            length_m: station_m,
            is_planned: true,
        }
    }

    /// The route that the road layer planned.
    pub fn from_plan(planned: &PlannedRoute) -> Self {
        let option = |option| match option {
            Planned::LaneFollow => RoadOption::LaneFollow,
            Planned::Left => RoadOption::Left,
            Planned::Right => RoadOption::Right,
            Planned::Straight => RoadOption::Straight,
            Planned::ChangeLaneLeft => RoadOption::ChangeLeft,
            Planned::ChangeLaneRight => RoadOption::ChangeRight,
        };
        let pieces = planned.pieces.iter();
        let pieces: Vec<_> = pieces
            .map(|piece| (piece.lane, piece.from_m, piece.to_m, option(piece.option)))
            .collect();
        Self::from_pieces(&pieces)
    }

    /// Whether it leads over a network: whoever follows it is looked for on its own lanes first.
    pub const fn is_planned(&self) -> bool {
        self.is_planned
    }

    /// The pieces between two stations, with the number of the first.
    pub fn between(&self, from_m: f32, to_m: f32) -> (usize, &[RouteSegment]) {
        let first = self
            .segments
            .partition_point(|piece| piece.station_m <= from_m)
            .saturating_sub(1);
        let last = self
            .segments
            .partition_point(|piece| piece.station_m <= to_m)
            .max(first);
        (first, &self.segments[first..last])
    }

    /// Of a lane's successors the one that the route takes near a station.
    pub fn takes(&self, map: &RoadMap, lane: LaneIndex, station_m: f32) -> Option<LaneIndex> {
        let (_, near) = self.between(station_m - NEAR_M, station_m + NEAR_M);
        let next = map.lanes()[lane as usize].successors.iter();
        next.copied()
            .find(|next| near.iter().any(|piece| piece.lane == *next))
    }

    /// Length, metres.
    pub const fn length_m(&self) -> f32 {
        self.length_m
    }

    /// The pieces in driving order.
    pub fn segments(&self) -> &[RouteSegment] {
        &self.segments
    }

    /// The station of a place, unclamped at both ends, and the piece it belongs to; `None` off the route.
    ///
    /// Where a route passes the same section twice, the piece nearest in station to `near_m` counts.
    pub fn station(&self, map: &RoadMap, at: &LanePoint, near_m: f32) -> Option<(f32, usize)> {
        if !self.is_planned {
            return station_among(&self.segments, map, at, near_m);
        }
        let (_, near) = self.between(near_m - NEAR_M, near_m + NEAR_M);
        let found = station_among(near, map, at, near_m)
            .or_else(|| station_among(&self.segments, map, at, near_m));
        // Pieces of one section overlap: the one that contains the station counts.
        let (station_m, _) = found?;
        Some((station_m, self.between(station_m, station_m).0))
    }

    /// Distance to the next piece that asks for more than following the lane, and what it asks.
    pub fn next_manoeuvre(&self, station_m: f32, segment: usize) -> Option<(f32, RoadOption)> {
        self.segments[segment.min(self.segments.len())..]
            .iter()
            .find(|piece| piece.option != RoadOption::LaneFollow)
            .map(|piece| ((piece.station_m - station_m).max(0.0), piece.option))
    }
}

fn station_among(
    segments: &[RouteSegment],
    map: &RoadMap,
    at: &LanePoint,
    near_m: f32,
) -> Option<(f32, usize)> {
    let lanes = map.lanes();
    let here = &lanes[at.lane as usize];
    let mut best: Option<(f32, usize)> = None;
    for (index, segment) in segments.iter().enumerate() {
        let own = &lanes[segment.lane as usize];
        if own.road_id != here.road_id
            || own.section != here.section
            || own.runs_with_road() != here.runs_with_road()
        {
            continue;
        }
        let s_m = if segment.lane == at.lane {
            at.s_m
        } else {
            map.abreast(at.lane, at.s_m, segment.lane)
        };
        let station_m = segment.station_m + s_m - segment.from_s_m;
        if best.is_none_or(|(other_m, _)| (station_m - near_m).abs() < (other_m - near_m).abs()) {
            best = Some((station_m, index));
        }
    }
    best
}
