//! The ego's route on a network, drawn from the episode's seed.

use carla_online_roads::{LaneIndex, LaneKind, RoadMap, SpawnPoint};

use super::Network;
use crate::config::MapConfig;
use crate::error::Error;
use crate::rng::{Purpose, Stream};
use crate::route::Route;

/// Starts that are tried before the route nearest to the wanted length is taken.
const TRIES: u32 = 24;
/// Lanes that a search for a destination follows at most.
const MOST_LANES: u32 = 2000;
/// A route shorter than this is none, metres.
const SHORTEST_M: f32 = 10.0;

/// Draws a route: from a random place along random turns to a random length, then the planner's shortest
/// way between the two ends.
///
/// # Errors
/// [`Error::Route`] if no try gave any route.
pub fn draw_route(network: &Network, config: &MapConfig, seed: u64) -> Result<Route, Error> {
    let map = &*network.map;
    let [shortest_m, longest_m] = config.length_m.map(|length_m| length_m as f32);
    let mut best: Option<(f32, Route)> = None;
    for attempt in 0..TRIES {
        let mut stream = Stream::new(seed, Purpose::Route, u64::from(attempt), 0);
        let start = stream.below(network.places.len() as u32) as usize;
        let Some(start) = network.places.get(start) else {
            break;
        };
        let wanted_m = stream.between(config.length_m) as f32;
        let Some(goal) = wander(network, start, wanted_m, &mut stream) else {
            continue;
        };
        let mut turned = Stream::new(seed, Purpose::Route, u64::from(attempt), 1 << 32);
        let goal = beside(map, goal, config.lane_change_share, &mut turned);
        let Some(planned) = map.plan_route((start.lane, start.s_m), goal) else {
            continue;
        };
        let length_m = planned.length_m;
        if length_m < SHORTEST_M {
            continue;
        }
        let miss_m = (shortest_m - length_m).max(length_m - longest_m).max(0.0);
        if best.as_ref().is_none_or(|(least_m, _)| miss_m < *least_m) {
            best = Some((miss_m, Route::from_plan(&planned)));
        }
        if miss_m == 0.0 {
            break;
        }
    }
    let found = best.map(|(_, route)| route);
    found.ok_or(Error::Route {
        seed,
        places: network.places.len(),
    })
}

/// A place, or with the given chance the one abreast of it in a lane beside.
fn beside(map: &RoadMap, place: &SpawnPoint, share: f64, stream: &mut Stream) -> (LaneIndex, f32) {
    let here = &map.lanes()[place.lane as usize];
    let (chance, is_left) = (stream.unit(), stream.below(2) == 0);
    let (first, second) = if is_left {
        (here.left, here.right)
    } else {
        (here.right, here.left)
    };
    match first.or(second).filter(|_| chance < share) {
        Some(lane) => (lane, map.abreast(place.lane, place.s_m, lane)),
        None => (place.lane, place.s_m),
    }
}

/// The route that passes given places in their order: x, y, z and heading (radians) of each.
///
/// A place to which no way leads from the one before it, or only one more than twice as far as it is away, is left out,
/// unless it is the last.
///
/// # Errors
/// [`Error::Course`] if a place isn't on a driving lane, or no way leads to the last.
pub fn route_through(map: &RoadMap, places: &[[f32; 4]]) -> Result<Route, Error> {
    let mut pieces = Vec::new();
    let mut from: Option<((LaneIndex, f32), [f32; 4])> = None;
    for (number, place) in places.iter().enumerate() {
        let refused = |reason| Error::Course {
            place: number,
            at: [place[0], place[1]],
            reason,
        };
        let [x, y, z, yaw_rad] = *place;
        let at = map
            .locate(x, y, z, Some(yaw_rad))
            .ok_or(refused("isn't on a driving lane"))?;
        let to = (at.lane, at.s_m);
        let Some((start, [from_x, from_y, ..])) = from else {
            from = Some((to, *place));
            continue;
        };
        let is_last = number + 1 == places.len();
        let away_m = libm::hypotf(x - from_x, y - from_y);
        let planned = map.plan_route(start, to);
        let Some(planned) =
            planned.filter(|planned| is_last || planned.length_m <= 2.0 * away_m + SHORTEST_M)
        else {
            if is_last {
                return Err(refused("can't be reached from the place before it"));
            }
            continue;
        };
        pieces.extend_from_slice(Route::from_plan(&planned).segments());
        from = Some((to, *place));
    }
    let pieces: Vec<_> = pieces
        .iter()
        .map(|piece| (piece.lane, piece.from_s_m, piece.to_s_m, piece.option))
        .collect();
    let route = Route::from_pieces(&pieces);
    if route.length_m() < SHORTEST_M {
        let at = places
            .first()
            .map_or([0.0; 2], |place| [place[0], place[1]]);
        return Err(Error::Course {
            place: 0,
            at,
            reason: "begins a route shorter than 10 m",
        });
    }
    Ok(route)
}

/// The place that is reached by random turns over about a distance: one of the network's, so that a route
/// never ends in a junction.
fn wander<'a>(
    network: &'a Network,
    start: &SpawnPoint,
    distance_m: f32,
    stream: &mut Stream,
) -> Option<&'a SpawnPoint> {
    let map = &*network.map;
    let (mut lane, mut at_m) = (start.lane, -start.s_m);
    let mut last = None;
    for _ in 0..MOST_LANES {
        let first = network.places.partition_point(|place| place.lane < lane);
        let here = network.places[first..].iter();
        for place in here.take_while(|place| place.lane == lane) {
            if at_m + place.s_m > 0.0 && at_m + place.s_m <= distance_m {
                last = Some(place);
            }
        }
        at_m += map.lanes()[lane as usize].length_m;
        if at_m >= distance_m {
            break;
        }
        let Some(next) = any_successor(map, lane, stream) else {
            break;
        };
        lane = next;
    }
    last
}

/// A random lane that a lane leads to.
pub(crate) fn any_successor(
    map: &RoadMap,
    lane: LaneIndex,
    stream: &mut Stream,
) -> Option<LaneIndex> {
    let lanes = &map.lanes()[lane as usize].successors;
    let driving = || {
        let is_driving = |lane: &&LaneIndex| map.lanes()[**lane as usize].kind == LaneKind::Driving;
        lanes.iter().filter(is_driving)
    };
    let chosen = stream.below(driving().count() as u32) as usize;
    driving().nth(chosen).copied()
}
