//! The way an ego has to go: a chain of lane pieces with a station along it.

use carla_online_roads::{LaneIndex, LanePoint, RoadMap};

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

/// A route. Any lane of the same road section counts as on the route, at the station abreast.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    segments: Vec<RouteSegment>,
    length_m: f32,
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
        }
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
        let lanes = map.lanes();
        let here = &lanes[at.lane as usize];
        let mut best: Option<(f32, usize)> = None;
        for (index, segment) in self.segments.iter().enumerate() {
            let own = &lanes[segment.lane as usize];
            if own.road_id != here.road_id || own.section != here.section {
                continue;
            }
            let s_m = if segment.lane == at.lane {
                at.s_m
            } else {
                map.abreast(at.lane, at.s_m, segment.lane)
            };
            let station_m = segment.station_m + s_m - segment.from_s_m;
            if best.is_none_or(|(other_m, _)| (station_m - near_m).abs() < (other_m - near_m).abs())
            {
                best = Some((station_m, index));
            }
        }
        best
    }

    /// Distance to the next piece that asks for more than following the lane, and what it asks.
    pub fn next_manoeuvre(&self, station_m: f32, segment: usize) -> Option<(f32, RoadOption)> {
        self.segments[segment.min(self.segments.len())..]
            .iter()
            .find(|piece| piece.option != RoadOption::LaneFollow)
            .map(|piece| ((piece.station_m - station_m).max(0.0), piece.option))
    }
}
