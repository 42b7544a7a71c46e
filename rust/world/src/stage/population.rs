//! Traffic and people of the world's own on a stage, beside whatever a client puts there.
//!
//! They drive and walk by the rules of [`network`](crate::network): the same that an episode of a
//! [`World`](crate::World) has. They obey the lights that the stage shows, and everything solid that others have put
//! on the road is to them a road user. The stage sees them as actors without physics that are where they say.

use std::collections::BTreeMap;
use std::sync::Arc;

use carla_online_roads::{RoadMap, SignalIndex};

use crate::config::{MAX_VEHICLES, MAX_WALKERS, TrafficConfig};
use crate::lights::Clock;
use crate::network::users::{User, Users};
use crate::network::{Network, Walker, Way, drive};
use crate::observe::LightState;
use crate::rng::{Purpose, Stream};
use crate::stage::Stage;
use crate::stage::actor::{Actor, Body};
use crate::stage::lights::Colour;
use crate::stage::pose::{Rotation, Transform, Vector};
use crate::traffic::{Tuning, VEHICLE_MODELS, Vehicle};

/// Desired speeds, m/s; limits and bends hold as well.
const SPEED_MPS: [f64; 2] = [8.0, 14.0];
/// Others further above or below the road than this aren't on it, metres.
const FLOOR_M: f32 = 4.0;
/// Where those wait who have left the map, metres.
const BELOW_M: f32 = -500.0;

/// What a member looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A car: index into [`VEHICLE_MODELS`].
    Car(u8),
    /// Somebody on foot: a number to choose by.
    Person(u32),
}

/// Traffic and people with what they remember.
#[derive(Debug, Clone)]
pub struct Population {
    network: Arc<Network>,
    tuning: Tuning,
    seed: u64,
    now_s: f64,
    vehicles: Vec<Vehicle>,
    ways: Vec<Way>,
    walkers: Vec<Walker>,
    /// Actors of the vehicles, then of the walkers.
    ids: Vec<u32>,
    /// Actors of the lights, with their signals.
    lights: Vec<(u32, SignalIndex)>,
    shown: Vec<LightState>,
}

impl Population {
    /// Draws so many vehicles and people, as far as there is room for them; people need crosswalks.
    pub fn draw(network: Arc<Network>, vehicles: usize, walkers: usize, seed: u64) -> Self {
        let config = TrafficConfig::default();
        let mut stream = Stream::new(seed, Purpose::Spawn, 0, 0);
        let map = Arc::clone(&network.map);
        let mut population = Self {
            tuning: Tuning::new(&config),
            seed,
            now_s: 0.0,
            vehicles: Vec::new(),
            ways: Vec::new(),
            walkers: Vec::new(),
            ids: Vec::new(),
            lights: Vec::new(),
            shown: vec![LightState::Green; map.signals().len()],
            network,
        };
        let mut places: Vec<_> = population.network.places.clone();
        while population.vehicles.len() < vehicles.min(MAX_VEHICLES) && !places.is_empty() {
            let place = places.swap_remove(stream.below(places.len() as u32) as usize);
            let desired_mps = stream.between(SPEED_MPS) as f32;
            let model = stream.below(VEHICLE_MODELS.len() as u32) as u8;
            let index = population.vehicles.len();
            let mut vehicle = Vehicle::new(place.lane, place.s_m, desired_mps, model);
            vehicle.speed_mps = 0.0;
            vehicle.next_change_s =
                population
                    .tuning
                    .next_change_s(seed, index, &mut vehicle.draws, 0.0);
            vehicle.settle(&map, 0.0);
            let way = drive::first_way(&population.network, place.lane, place.s_m, seed, index);
            population.vehicles.push(vehicle);
            population.ways.push(way);
        }
        let crosswalks = map.crosswalks().len() as u32;
        let mut stream = Stream::new(seed, Purpose::Spawn, 1, 0);
        for index in 0..walkers.min(MAX_WALKERS) {
            if crosswalks > 0 {
                population.walkers.push(Walker::start(
                    &map,
                    stream.below(crosswalks),
                    config.walker_speed_mps,
                    config.walker_pause_s,
                    seed,
                    index,
                ));
            }
        }
        population
    }

    /// Puts everybody on the stage. `spawn` makes an actor of a look at a pose and returns its id; whoever finds no room
    /// stays away.
    pub fn enter(
        &mut self,
        stage: &mut Stage,
        mut spawn: impl FnMut(&mut Stage, Look, Transform) -> Option<u32>,
    ) {
        self.lights = lights(stage, &self.network.map);
        self.ids.clear();
        for index in 0..self.vehicles.len() + self.walkers.len() {
            let (look, pose) = self.member(index);
            let id = spawn(stage, look, pose).filter(|id| stage.set_physics_on(*id, false).is_ok());
            self.ids.push(id.unwrap_or(0));
        }
        self.part_from_absent(stage);
    }

    /// Whoever found no room, or was destroyed by a client, doesn't belong to it any more.
    fn part_from_absent(&mut self, stage: &Stage) {
        let is_present: Vec<bool> = self.ids.iter().map(|id| stage.actor(*id).is_ok()).collect();
        if is_present.iter().all(|is_present| *is_present) {
            return;
        }
        let (cars, people) = is_present.split_at(self.vehicles.len());
        keep(&mut self.vehicles, cars);
        keep(&mut self.ways, cars);
        keep(&mut self.walkers, people);
        keep(&mut self.ids, &is_present);
    }

    /// The actors that belong to it.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    fn member(&self, index: usize) -> (Look, Transform) {
        let count = self.vehicles.len();
        let (look, x, y, z, yaw_rad) = if let Some(vehicle) = self.vehicles.get(index) {
            let look = Look::Car(vehicle.model);
            (look, vehicle.x, vehicle.y, vehicle.z, vehicle.yaw_rad)
        } else {
            let walker = &self.walkers[index - count];
            let look = Look::Person((index - count) as u32);
            (look, walker.x, walker.y, walker.z, walker.yaw_rad)
        };
        let pose = Transform {
            location: [x, y, z],
            rotation: Rotation::level(yaw_rad.to_degrees()),
        };
        (look, pose)
    }

    /// Moves everybody by `dt_s` seconds and shows it on the stage.
    pub fn advance(&mut self, stage: &mut Stage, dt_s: f64) {
        self.part_from_absent(stage);
        for (actor, signal) in &self.lights {
            if let Some(light) = stage.actor(*actor).ok().and_then(Actor::light) {
                self.shown[*signal as usize] = colour(light.state);
            }
        }
        let others: Vec<User> = stage
            .actors()
            .iter()
            .filter(|actor| actor.is_solid() && actor.collides && !self.ids.contains(&actor.id))
            .filter_map(|actor| user(&self.network.map, actor))
            .collect();
        let mut users = Users::new(&self.network.map, &self.vehicles, &self.ways, &others, None);
        let step = drive::Step {
            network: &self.network,
            tuning: &self.tuning,
            clock: Clock::new(&self.network.map, [1.0; 3], 0, 0.0).showing(Some(&self.shown)),
            seed: self.seed,
            stream: self.seed,
            now_s: self.now_s as f32,
            step_s: dt_s as f32,
            walker_pause_s: TrafficConfig::default().walker_pause_s,
        };
        drive::advance(
            &step,
            &mut users,
            &mut self.vehicles,
            &mut self.ways,
            &mut self.walkers,
        );
        self.now_s += dt_s;
        for index in 0..self.ids.len() {
            self.show(stage, index);
        }
    }

    fn show(&self, stage: &mut Stage, index: usize) {
        let id = self.ids[index];
        let Ok(half_m) = stage.actor(id).map(|actor| actor.bounds.half[2]) else {
            return;
        };
        let (look, mut pose) = self.member(index);
        let (speed_mps, is_gone) = match self.vehicles.get(index) {
            Some(vehicle) => (vehicle.speed_mps, vehicle.is_gone),
            None => (self.walkers[index - self.vehicles.len()].speed_mps, false),
        };
        if let Look::Person(_) = look {
            pose.location[2] += half_m;
        }
        if is_gone {
            pose.location[2] = BELOW_M;
        }
        let (cos, sin) = pose.rotation.heading();
        let velocity: Vector = [cos * speed_mps, sin * speed_mps, 0.0];
        // The actor was there a moment ago.
        let _ = stage.place(id, pose);
        let _ = stage.set_velocity(id, velocity);
    }
}

fn keep<T>(members: &mut Vec<T>, is_kept: &[bool]) {
    let mut is_kept = is_kept.iter();
    members.retain(|_| is_kept.next() != Some(&false));
}

/// The light actors of a stage with their signals.
fn lights(stage: &Stage, map: &RoadMap) -> Vec<(u32, SignalIndex)> {
    let known: BTreeMap<&str, SignalIndex> = (0..)
        .zip(map.signals())
        .map(|(index, signal)| (&*signal.id, index))
        .collect();
    let lights = stage.actors().iter().filter_map(|actor| {
        let signal = known.get(&*actor.light()?.sign_id)?;
        Some((actor.id, *signal))
    });
    lights.collect()
}

/// A light that is off stops nobody.
fn colour(shown: Colour) -> LightState {
    match shown {
        Colour::Red => LightState::Red,
        Colour::Yellow => LightState::Yellow,
        Colour::Green | Colour::Off | Colour::Unknown => LightState::Green,
    }
}

/// Somebody or something else on a driving lane.
fn user(map: &RoadMap, actor: &Actor) -> Option<User> {
    let [x, y, z] = actor.pose.location;
    let yaw_rad = actor.pose.rotation.yaw_rad();
    let is_vehicle = matches!(actor.body, Body::Vehicle(_));
    let at = map.locate(x, y, z, is_vehicle.then_some(yaw_rad))?;
    let sample = map.sample(at.lane, at.s_m);
    let [half_length_m, half_width_m, _] = actor.bounds.half;
    let is_on_lane = at.lateral_m.abs() < 0.5 * sample.width_m + half_width_m
        && (sample.pose.z - z).abs() < FLOOR_M
        && (sample.pose.x - x).hypot(sample.pose.y - y) < sample.width_m + half_width_m;
    if !is_on_lane {
        return None;
    }
    let mut way = Way::default();
    if is_vehicle {
        way.extend(map, at.lane, at.s_m, 0, actor.id as usize);
    }
    let (sin, cos) = libm::sincosf(sample.pose.yaw_rad);
    Some(User {
        is_present: true,
        lane: at.lane,
        s_m: at.s_m,
        lateral_m: at.lateral_m,
        width_m: sample.width_m,
        speed_mps: (actor.velocity[0] * cos + actor.velocity[1] * sin).max(0.0),
        half_m: (half_length_m, half_width_m),
        pose: [x, y, yaw_rad],
        way,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::actor::Bounds;
    use carla_online_roads::{JunctionControl, MapKind, MapSpec};

    fn car(model: u8) -> Bounds {
        let (half_length_m, half_width_m) = VEHICLE_MODELS[usize::from(model)];
        Bounds {
            center: [0.0, 0.0, 0.7],
            half: [half_length_m, half_width_m, 0.7],
        }
    }

    const PERSON: Bounds = Bounds {
        center: [0.0; 3],
        half: [0.19, 0.19, 0.93],
    };

    fn town(seed: u64) -> (Stage, Population) {
        populated(&MapSpec::new(MapKind::Grid, 0), 20, 10, seed)
    }

    fn populated(spec: &MapSpec, cars: usize, people: usize, seed: u64) -> (Stage, Population) {
        let text = spec.to_xodr().unwrap();
        let map = Arc::new(RoadMap::parse(&text).unwrap());
        let network = Arc::new(Network::new(Arc::clone(&map)));
        let mut stage = Stage::new(map, Arc::from([]), 1);
        let mut population = Population::draw(network, cars, people, seed);
        population.enter(&mut stage, |stage, look, pose| {
            let (bounds, body) = match look {
                Look::Car(model) => (car(model), Body::Prop { is_solid: true }),
                Look::Person(_) => (PERSON, Body::Walker(crate::stage::actor::Walker::default())),
            };
            stage.spawn(pose, None, bounds, body).ok()
        });
        (stage, population)
    }

    fn places(stage: &Stage) -> Vec<Vector> {
        stage
            .actors()
            .iter()
            .map(|actor| actor.pose.location)
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_drive_and_another_another() {
        let drive = |seed| {
            let (mut stage, mut population) = town(seed);
            for _ in 0..400 {
                population.advance(&mut stage, 0.05);
                stage.step(0.05);
            }
            places(&stage)
        };
        assert_eq!(drive(3), drive(3));
        assert_ne!(drive(3), drive(4));
    }

    #[test]
    fn everybody_gets_on_and_nobody_runs_into_anybody() {
        let (mut stage, mut population) = town(1);
        let before = places(&stage);
        assert!(population.ids().len() >= 25);
        for _ in 0..600 {
            population.advance(&mut stage, 0.05);
            stage.step(0.05);
            // People brush past each other; a contact is told of both sides.
            let cars = &population.ids()[..population.vehicles.len()];
            let mut hits = stage.contacts().iter();
            assert!(!hits.any(|hit| cars.contains(&hit.actor)));
        }
        let moved = before
            .iter()
            .zip(places(&stage))
            .filter(|(from, to)| (from[0] - to[0]).hypot(from[1] - to[1]) > 5.0);
        assert!(moved.count() > 15);
    }

    /// Gridlock: nobody stands for three minutes in a town of 5 x 5 blocks that is left to itself.
    #[test]
    fn a_town_left_to_itself_never_locks() {
        let minutes = std::env::var("CARLA_ONLINE_TOWN_MINUTES");
        let minutes: f64 = minutes.map_or(4.0, |minutes| minutes.parse().unwrap());
        for seed in 0..2 {
            let mut spec = MapSpec::new(MapKind::Grid, seed);
            (spec.columns, spec.rows) = (Some(5), Some(5));
            spec.lanes = Some(1 + seed as u8);
            spec.control = Some(JunctionControl::Mixed);
            let (mut stage, mut population) = populated(&spec, 64, 16, seed);
            let mut stands_s = vec![0.0_f32; population.vehicles.len()];
            let (mut longest_s, mut moved_m) = (0.0_f32, 0.0);
            for _ in 0..(minutes * 600.0) as u32 {
                population.advance(&mut stage, 0.1);
                stage.step(0.1);
                for (stand_s, vehicle) in stands_s.iter_mut().zip(&population.vehicles) {
                    let is_standing = !vehicle.is_gone && vehicle.speed_mps < 0.1;
                    *stand_s = if is_standing { *stand_s + 0.1 } else { 0.0 };
                    longest_s = longest_s.max(*stand_s);
                    moved_m += f64::from(vehicle.speed_mps) * 0.1;
                }
            }
            let mean_mps = moved_m / (60.0 * minutes * stands_s.len() as f64);
            eprintln!(
                "5x5, {} lanes, {} cars for {minutes} min at {mean_mps:.1} m/s: longest stand {longest_s:.0} s",
                1 + seed,
                stands_s.len()
            );
            assert!(
                longest_s < 180.0 && mean_mps > 1.0,
                "{longest_s} s, {mean_mps} m/s"
            );
        }
    }

    #[test]
    fn a_thing_on_the_road_is_stopped_for() {
        let (mut stage, mut population) = town(1);
        let (_, pose) = population.member(0);
        let way = pose.rotation.rotate([25.0, 0.0, 0.0]);
        let ahead: Vector = std::array::from_fn(|i| pose.location[i] + way[i]);
        let blocked = Transform {
            location: ahead,
            ..pose
        };
        let wall = Body::Prop { is_solid: true };
        let wall = stage.spawn(blocked, None, car(0), wall);
        for _ in 0..400 {
            population.advance(&mut stage, 0.05);
            stage.step(0.05);
        }
        assert!(wall.is_ok() && population.vehicles[0].speed_mps < 0.2);
    }
}
