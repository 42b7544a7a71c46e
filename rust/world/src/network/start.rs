//! Where and how everyone starts on a network.
//!
//! The network's places lie a cell apart in each lane and off its ends, and each vehicle gets a place of its own, so no
//! seed can make two overlap.

use super::drive::first_way;
use super::junction::Approach;
use super::pace::eased_mps;
use super::users::{User, Users};
use super::walkers::Walker;
use super::way::Way;
use crate::config::{MAX_VEHICLES, MAX_WALKERS, SPAWN_CLEARANCE_M, WorldConfig};
use crate::course::Course;
use crate::network::Network;
use crate::rng::{Purpose, Stream};
use crate::traffic::{Tuning, VEHICLE_MODELS, Vehicle};
use crate::weather::Conditions;

/// The route is looked at in steps of this for what lies near it, metres.
const LOOK_STEP_M: f32 = 25.0;

/// Everyone but the ego.
#[derive(Debug)]
pub struct Start {
    /// The ego's speed, m/s.
    pub ego_speed_mps: f32,
    /// The traffic.
    pub vehicles: Vec<Vehicle>,
    /// Its ways.
    pub ways: Vec<Way>,
    /// People on foot.
    pub walkers: Vec<Walker>,
}

/// Draws the start of an episode.
pub fn draw(
    config: &WorldConfig,
    conditions: &Conditions,
    course: &Course,
    network: &Network,
    tuning: &Tuning,
    ego: User,
    seed: u64,
) -> Start {
    let mut stream = Stream::new(seed, Purpose::Spawn, 0, 0);
    let traffic = &config.traffic;
    let wanted_mps = stream.between(config.ego.start_speed_mps) as f32;
    let points = route_points(course);
    let spread_m = traffic.spread_m as f32;
    let is_near = |x: f32, y: f32| {
        let mut squared = points
            .iter()
            .map(|[px, py]| (px - x).powi(2) + (py - y).powi(2));
        squared.any(|squared| squared <= spread_m * spread_m)
    };
    let clearance_m = SPAWN_CLEARANCE_M as f32;
    let mut places: Vec<_> = network
        .places
        .iter()
        .filter(|place| {
            let (dx, dy) = (place.pose.x - ego.pose[0], place.pose.y - ego.pose[1]);
            dx * dx + dy * dy >= clearance_m * clearance_m && is_near(place.pose.x, place.pose.y)
        })
        .collect();
    let slow = conditions.vehicles(traffic.slow_vehicles);
    let fast = conditions.vehicles(traffic.fast_vehicles);
    let count = (slow.saturating_add(fast) as usize).min(MAX_VEHICLES);
    let (mut vehicles, mut ways) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for number in 0..count as u32 {
        let chosen = stream.below(places.len() as u32) as usize;
        if chosen >= places.len() {
            break;
        }
        let place = places.swap_remove(chosen);
        let speeds = if number < slow {
            traffic.slow_speed_mps
        } else {
            traffic.fast_speed_mps
        };
        let desired_mps = stream.between(speeds) as f32;
        let model = stream.below(VEHICLE_MODELS.len() as u32) as u8;
        let mut vehicle = Vehicle::new(place.lane, place.s_m, desired_mps, model);
        let index = vehicles.len();
        if number < slow && stream.unit() < traffic.hard_brake_share {
            vehicle.next_brake_s = tuning.next_brake_s(seed, index, &mut vehicle.draws, 0.0);
        }
        if traffic.lane_changes_per_100s > 0.0 {
            vehicle.next_change_s = tuning.next_change_s(seed, index, &mut vehicle.draws, 0.0);
        }
        vehicle.settle(&network.map, 0.0);
        vehicles.push(vehicle);
        ways.push(first_way(network, place.lane, place.s_m, seed, index));
    }
    let ego_speed_mps = calm_down(network, &mut vehicles, &ways, ego, wanted_mps);
    let walkers = walkers(config, conditions, network, &is_near, seed);
    Start {
        ego_speed_mps,
        vehicles,
        ways,
        walkers,
    }
}

fn route_points(course: &Course) -> Vec<[f32; 2]> {
    let mut points = Vec::new();
    for piece in course.route.segments() {
        let length_m = (piece.to_s_m - piece.from_s_m).max(0.0);
        let steps = (length_m / LOOK_STEP_M).ceil().max(1.0) as u32;
        points.extend((0..=steps).map(|step| {
            let s_m = piece.from_s_m + length_m * step as f32 / steps as f32;
            let pose = course.map.sample(piece.lane, s_m).pose;
            [pose.x, pose.y]
        }));
    }
    points
}

/// Nobody starts so fast that easing off wouldn't do before a bend, a line or whoever is ahead. Returns the
/// ego's speed.
fn calm_down(
    network: &Network,
    vehicles: &mut [Vehicle],
    ways: &[Way],
    ego: User,
    wanted_mps: f32,
) -> f32 {
    let map = &*network.map;
    let users = Users::new(map, vehicles, ways, &[], Some(ego));
    let careful = |who: usize, wanted_mps: f32| {
        let user = &users.all()[who];
        let pace_mps = network.pace.speed_mps(user.lane, user.s_m);
        let line_mps = eased_mps(0.0, Approach::of(map, user).line_m - 1.0);
        let leader_mps = users
            .leader(map, who)
            .map_or(f32::INFINITY, |leader| eased_mps(0.0, leader.gap_m - 3.0));
        wanted_mps.min(pace_mps).min(line_mps).min(leader_mps)
    };
    for (who, vehicle) in vehicles.iter_mut().enumerate() {
        vehicle.speed_mps = careful(who, vehicle.desired_mps);
    }
    careful(vehicles.len(), wanted_mps)
}

fn walkers(
    config: &WorldConfig,
    conditions: &Conditions,
    network: &Network,
    is_near: &impl Fn(f32, f32) -> bool,
    seed: u64,
) -> Vec<Walker> {
    let traffic = &config.traffic;
    let all = (0..).zip(network.map.crosswalks());
    let near: Vec<u32> = all
        .filter(|(_, crosswalk)| is_near(crosswalk.walk[0][0], crosswalk.walk[0][1]))
        .map(|(index, _)| index)
        .collect();
    let count = (conditions.vehicles(traffic.walkers) as usize).min(MAX_WALKERS);
    let mut stream = Stream::new(seed, Purpose::Spawn, 1, 0);
    (0..count)
        .filter_map(|index| {
            let chosen = stream.below(near.len() as u32) as usize;
            let crosswalk = *near.get(chosen)?;
            let (speeds, pause_s) = (traffic.walker_speed_mps, traffic.walker_pause_s);
            Some(Walker::start(
                &network.map,
                crosswalk,
                speeds,
                pause_s,
                seed,
                index,
            ))
        })
        .collect()
}
