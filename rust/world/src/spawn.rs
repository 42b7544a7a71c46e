//! Where and how everyone starts.
//!
//! The road is cut into cells of [`SPAWN_CELL_M`] in every lane, and each vehicle gets a cell of its
//! own and a place near its middle. Nobody can overlap anybody, whatever the seed, and no draw is
//! ever repeated.

use crate::config::{SPAWN_CELL_M, SPAWN_CLEARANCE_M, WorldConfig};
use crate::course::Course;
use crate::rng::{Purpose, Stream};
use crate::traffic::{Tuning, VEHICLE_MODELS, Vehicle};
use crate::weather::Conditions;

/// How far from the middle of its cell a vehicle may start, metres.
const JITTER_M: f64 = 2.0;
/// Deceleration with which the start speeds reckon, m/s2.
const CAREFUL_MPS2: f32 = 1.5;

/// What an episode starts with.
#[derive(Debug)]
pub struct Start {
    /// Rank of the ego's lane.
    pub ego_rank: usize,
    /// The ego's speed, m/s.
    pub ego_speed_mps: f32,
    /// The traffic.
    pub vehicles: Vec<Vehicle>,
}

/// Draws the start of an episode.
pub fn draw(
    config: &WorldConfig,
    conditions: &Conditions,
    course: &Course,
    tuning: &Tuning,
    seed: u64,
) -> Start {
    let mut stream = Stream::new(seed, Purpose::Spawn, 0, 0);
    let traffic = &config.traffic;
    let ego_rank = stream.below(course.lanes.len() as u32) as usize;
    let ego_speed_mps = stream.between(config.ego.start_speed_mps) as f32;

    let ahead_m = f64::from(course.route.length_m()) + config.map.run_out_m - SPAWN_CLEARANCE_M;
    let mut ahead = cells(course.lanes.len(), traffic.spread_m.min(ahead_m));
    let mut behind = cells(course.lanes.len(), config.map.run_in_m - SPAWN_CLEARANCE_M);
    let mut vehicles = Vec::new();
    for number in 0..conditions.vehicles(traffic.slow_vehicles) {
        let cell = if number == 0 {
            take_in_lane(&mut ahead, ego_rank, &mut stream)
        } else {
            take(&mut ahead, &mut stream)
        };
        let Some((rank, cell)) = cell else { break };
        let station_m =
            SPAWN_CLEARANCE_M + JITTER_M + SPAWN_CELL_M * f64::from(cell) + jitter(&mut stream);
        let mut vehicle = place(course, rank, station_m, traffic.slow_speed_mps, &mut stream);
        if stream.unit() < traffic.hard_brake_share {
            vehicle.next_brake_s =
                tuning.next_brake_s(seed, vehicles.len(), &mut vehicle.draws, 0.0);
        }
        vehicles.push(vehicle);
    }
    for _ in 0..conditions.vehicles(traffic.fast_vehicles) {
        let Some((rank, cell)) = take(&mut behind, &mut stream) else {
            break;
        };
        let station_m =
            -(SPAWN_CLEARANCE_M + JITTER_M + SPAWN_CELL_M * f64::from(cell)) + jitter(&mut stream);
        vehicles.push(place(
            course,
            rank,
            station_m,
            traffic.fast_speed_mps,
            &mut stream,
        ));
    }
    for (index, vehicle) in vehicles.iter_mut().enumerate() {
        if traffic.lane_changes_per_100s > 0.0 {
            vehicle.next_change_s = tuning.next_change_s(seed, index, &mut vehicle.draws, 0.0);
        }
    }
    calm_down(&mut vehicles);
    Start {
        ego_rank,
        ego_speed_mps,
        vehicles,
    }
}

/// All cells of a stretch, (rank, number).
fn cells(lanes: usize, length_m: f64) -> Vec<(usize, u32)> {
    let count = (length_m / SPAWN_CELL_M).floor().max(0.0) as u32;
    (0..lanes)
        .flat_map(|rank| (0..count).map(move |cell| (rank, cell)))
        .collect()
}

fn jitter(stream: &mut Stream) -> f64 {
    stream.between([-JITTER_M, JITTER_M])
}

fn take(cells: &mut Vec<(usize, u32)>, stream: &mut Stream) -> Option<(usize, u32)> {
    let index = stream.below(cells.len() as u32) as usize;
    (index < cells.len()).then(|| cells.swap_remove(index))
}

fn take_in_lane(
    cells: &mut Vec<(usize, u32)>,
    rank: usize,
    stream: &mut Stream,
) -> Option<(usize, u32)> {
    let count = cells.iter().filter(|cell| cell.0 == rank).count();
    let chosen = stream.below(count as u32) as usize;
    let index = cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| cell.0 == rank)
        .nth(chosen)?
        .0;
    Some(cells.swap_remove(index))
}

fn place(
    course: &Course,
    rank: usize,
    station_m: f64,
    speed_mps: [f64; 2],
    stream: &mut Stream,
) -> Vehicle {
    let lane = course.lanes[rank];
    let desired_mps = stream.between(speed_mps) as f32;
    let s_m = course.ahead_of_start(lane, station_m as f32);
    let model = stream.below(VEHICLE_MODELS.len() as u32) as u8;
    let mut vehicle = Vehicle::new(lane, s_m, desired_mps, model);
    vehicle.settle(&course.map, 0.0);
    vehicle
}

/// Nobody starts so fast that it couldn't adapt gently to whoever is ahead.
fn calm_down(vehicles: &mut [Vehicle]) {
    let mut order: Vec<usize> = (0..vehicles.len()).collect();
    order.sort_by(|&a, &b| {
        vehicles[b]
            .station_m
            .total_cmp(&vehicles[a].station_m)
            .then(a.cmp(&b))
    });
    for (position, &index) in order.iter().enumerate() {
        let own = vehicles[index];
        let leader = order[..position]
            .iter()
            .rev()
            .map(|&other| &vehicles[other])
            .find(|other| other.lane == own.lane);
        if let Some(leader) = leader {
            let lengths_m = own.half_extents_m().0 + leader.half_extents_m().0;
            let gap_m = (leader.station_m - own.station_m - lengths_m - 2.0).max(0.0);
            let careful_mps =
                (leader.speed_mps * leader.speed_mps + 2.0 * CAREFUL_MPS2 * gap_m).sqrt();
            vehicles[index].speed_mps = own.speed_mps.min(careful_mps);
        }
    }
}
