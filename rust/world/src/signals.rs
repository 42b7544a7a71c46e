//! What the next junction asks of the ego: the light or stop sign that governs its way in.
//!
//! The same function serves every backend: it takes the map, the route, the ego's place and what each light shows.

use carla_online_roads::{LaneIndex, LanePoint, Light, RightOfWay, RoadMap, StopLine};

use crate::observe::{LightState, Signals};
use crate::route::Route;

/// Lines beyond this distance aren't told, metres.
const REACH_M: f32 = 80.0;
/// Lanes looked along at most.
const MOST_HOPS: u32 = 12;

/// The light and the stop sign ahead of a place, with the distance from the front to their lines.
///
/// A light is told until the centre has passed the junction's edge. Whether a stop sign has been obeyed
/// already is not this function's business.
pub fn signals_ahead(
    map: &RoadMap,
    route: &Route,
    at: &LanePoint,
    station_m: f32,
    front_m: f32,
    shows: impl Fn(&Light) -> LightState,
) -> Signals {
    let mut signals = Signals::default();
    let (mut lane, mut from_m) = (at.lane, -at.s_m);
    for _ in 0..MOST_HOPS {
        let next = route.takes(map, lane, station_m);
        if let Some(line) = governing(map, lane, next) {
            let distance_m = (from_m + line.s_m - front_m).max(0.0);
            match (line.rule, line.light) {
                (RightOfWay::Light, Some(light)) => {
                    signals.light = Some((shows(&light), distance_m));
                }
                (RightOfWay::Stop, _) => signals.stop_sign_m = Some(distance_m),
                _ => {}
            }
            if map.junction_of(lane).is_none() {
                return signals;
            }
        }
        from_m += map.lanes()[lane as usize].length_m;
        match next {
            Some(next) if from_m < REACH_M => lane = next,
            _ => break,
        }
    }
    signals
}

/// The line at the end of a lane for a way on from there; for the first way if it isn't known.
pub fn governing(map: &RoadMap, lane: LaneIndex, onto: Option<LaneIndex>) -> Option<&StopLine> {
    let lines = map.stop_lines(lane);
    lines
        .iter()
        .find(|line| line.onto == onto || line.onto.is_none())
        .or_else(|| lines.first())
}
