//! Where and how an episode starts, on a chain or on a network.

use carla_online_roads::LaneIndex;

use crate::config::WorldConfig;
use crate::course::Course;
use crate::dynamics::HALF_EXTENTS_M;
use crate::network::users::User;
use crate::network::{Walker, Way, drive, start};
use crate::spawn;
use crate::state::Ego;
use crate::traffic::{Tuning, Vehicle};
use crate::weather::Conditions;

/// What an episode starts with.
#[derive(Debug)]
pub struct Start {
    /// The ego's lane and the place along it.
    pub place: (LaneIndex, f32),
    /// The ego's speed, m/s.
    pub ego_speed_mps: f32,
    /// The traffic.
    pub vehicles: Vec<Vehicle>,
    /// Its ways over a network.
    pub ways: Vec<Way>,
    /// People on foot.
    pub walkers: Vec<Walker>,
}

/// Draws the start of an episode.
pub fn draw(
    config: &WorldConfig,
    conditions: &Conditions,
    course: &Course,
    tuning: &Tuning,
    seed: u64,
) -> Start {
    let Some((network, _)) = &course.network else {
        let drawn = spawn::draw(config, conditions, course, tuning, seed);
        let lane = course.lanes[drawn.ego_rank];
        return Start {
            place: (lane, course.ahead_of_start(lane, 0.0)),
            ego_speed_mps: drawn.ego_speed_mps,
            vehicles: drawn.vehicles,
            ways: Vec::new(),
            walkers: Vec::new(),
        };
    };
    let first = course.route.segments()[0];
    let place = (first.lane, first.from_s_m);
    let sample = course.map.sample(place.0, place.1);
    let ego = User {
        is_present: true,
        lane: place.0,
        s_m: place.1,
        lateral_m: 0.0,
        width_m: sample.width_m,
        speed_mps: 0.0,
        half_m: HALF_EXTENTS_M,
        pose: [sample.pose.x, sample.pose.y, sample.pose.yaw_rad],
        way: drive::ego_way(&course.map, &course.route, place.0, 0.0),
    };
    let drawn = start::draw(config, conditions, course, network, tuning, ego, seed);
    Start {
        place,
        ego_speed_mps: drawn.ego_speed_mps,
        vehicles: drawn.vehicles,
        ways: drawn.ways,
        walkers: drawn.walkers,
    }
}

/// The ego as the traffic of a network sees it.
pub fn ego_user(course: &Course, ego: &Ego) -> User {
    let car = &ego.car;
    User {
        is_present: true,
        lane: ego.lane,
        s_m: ego.s_m,
        lateral_m: ego.lateral_m,
        width_m: course.map.sample(ego.lane, ego.s_m).width_m,
        speed_mps: car.speed_mps,
        half_m: HALF_EXTENTS_M,
        pose: [car.x, car.y, car.yaw_rad],
        way: drive::ego_way(&course.map, &course.route, ego.lane, ego.station_m),
    }
}
