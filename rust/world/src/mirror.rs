//! The world's judgement of a drive that happens elsewhere.
//!
//! A [`Mirror`] has the course, the traffic and the counters of a [`World`], and an ego that somebody else moves: a
//! CARLA server, behind its client. Everything that is said about the drive (observation, reward terms, infractions,
//! ends, scores, info) comes from the functions of [`World`], so the same motion gives the same numbers on both ways.
//!
//! One step of the simulation is [`Mirror::plan`] (traffic of our own moves; whoever drives the simulator puts it
//! there), the simulator's own step, and [`Mirror::look`] at what came of it.
//!
//! What a simulator doesn't tell is made here: the pedals' lag, from the same model; the forward acceleration, as the
//! change of the forward speed over the step, which is what the world means by it.

mod contacts;
mod lights;
mod sighting;

use std::collections::BTreeMap;
use std::sync::Arc;

use carla_online_roads::LanePoint;

use crate::course::Course;
use crate::dynamics::{CarState, GEARS, HALF_EXTENTS_M};
use crate::error::Error;
use crate::events;
use crate::geometry::{OrientedBox, wrap_angle};
use crate::info::INFO;
use crate::network::users::User;
use crate::network::walkers::Walker;
use crate::network::{Way, route_through};
use crate::observe::{ActorKind, ActorPose, EgoPose, Observation};
use crate::raster::BirdseyeKind;
use crate::report::ego_pose;
use crate::scene::SceneBox;
use crate::state::Ego;
use crate::track::track;
use crate::traffic::{InLane, Slot, Vehicle};
use crate::world::{Decision, Foreign, Outcome, Setup, World};

use contacts::{boxed, other_box, scripted_box, walker_box};
pub use sighting::{EgoSighting, Felt, Obstacle, Sighting};

/// Slower than foreseen by more than this after one step, the ego has run into something, m/s.
const STOPPED_MPS: f32 = 0.5;

/// An episode that is driven elsewhere.
#[derive(Debug, Clone)]
pub struct Mirror {
    world: World,
    decision: Option<Decision>,
    ego: EgoPose,
    /// Ids of the traffic of our own, in its order.
    scripted_ids: Vec<u32>,
    /// Ids of the people on foot of our own, in their order.
    walker_ids: Vec<u32>,
    others: Vec<Sighting>,
    /// Where each of the others was last found.
    hints: BTreeMap<u32, LanePoint>,
    touching: Vec<Felt>,
}

impl Mirror {
    /// Starts the episode of a seed: the same start as [`World::reset`]'s.
    ///
    /// # Errors
    /// As [`World::reset`].
    pub fn reset(setup: Arc<Setup>, seed: u64) -> Result<Self, Error> {
        World::reset(setup, seed).map(Self::around)
    }

    fn around(world: World) -> Self {
        let ego = ego_pose(&world.state.ego);
        Self {
            world,
            decision: None,
            ego,
            scripted_ids: Vec::new(),
            walker_ids: Vec::new(),
            others: Vec::new(),
            hints: BTreeMap::new(),
            touching: Vec::new(),
        }
    }

    /// Starts an episode of a seed along a given route over the map of a file; see [`route_through`] for the places.
    ///
    /// # Errors
    /// [`Error::Course`] for places that make no route, and where the map isn't a file's.
    pub fn enter(setup: Arc<Setup>, seed: u64, places: &[[f32; 4]]) -> Result<Self, Error> {
        let refused = Error::Course {
            place: 0,
            at: [0.0; 2],
            reason: "belongs to a map of kind xodr",
        };
        let network = Arc::clone(setup.courses.file().ok_or(refused)?);
        let route = route_through(&network.map, places)?;
        let course = Arc::new(Course::along(&network, &setup.config.map, route, seed));
        let world = World::on_course(setup, course, seed);
        Ok(Self::around(world))
    }

    /// The world that judges. Its ego is the one that was seen last.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// The ego.
    pub const fn ego(&self) -> &Ego {
        &self.world.state.ego
    }

    /// The velocity to give the ego at its start, m/s: one that projected onto its heading is its speed to the bit.
    ///
    /// The product of speed and heading is so only up to a rounding, which a drive makes into tenths of a
    /// millimetre.
    pub fn start_velocity_mps(&self) -> (f32, f32) {
        let car = &self.ego().car;
        let (sin, cos) = (libm::sinf(car.yaw_rad), libm::cosf(car.yaw_rad));
        let plain = (car.speed_mps * cos, car.speed_mps * sin);
        let near = |value: f32| {
            let up = std::iter::successors(Some(value), |v| Some(v.next_up()));
            let down = std::iter::successors(Some(value), |v| Some(v.next_down()));
            up.take(6).chain(down.take(6))
        };
        near(plain.0)
            .flat_map(|vx| near(plain.1).map(move |vy| (vx, vy)))
            .find(|(vx, vy)| vx * cos + vy * sin == car.speed_mps)
            .unwrap_or(plain)
    }

    /// The traffic of our own; the simulator has to show it where it is.
    pub fn scripted(&self) -> &[Vehicle] {
        &self.world.state.vehicles
    }

    /// The people on foot of our own; the simulator has to show them where they are.
    pub fn scripted_walkers(&self) -> &[Walker] {
        &self.world.state.walkers
    }

    /// Takes the ids under which the simulator knows the traffic of our own and the people on foot, in their order.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of them.
    pub fn name_scripted(&mut self, ids: Vec<u32>, walker_ids: Vec<u32>) -> Result<(), Error> {
        let (vehicles, walkers) = (self.scripted().len(), self.scripted_walkers().len());
        for (name, seen, expected) in [
            ("ids", ids.len(), vehicles),
            ("walker_ids", walker_ids.len(), walkers),
        ] {
            if seen != expected {
                return Err(Error::Length {
                    name,
                    seen,
                    expected,
                });
            }
        }
        (self.scripted_ids, self.walker_ids) = (ids, walker_ids);
        Ok(())
    }

    /// Gives the traffic of our own away: from now on it is among the others.
    pub fn release_scripted(&mut self) {
        self.world.state.vehicles.clear();
        self.world.state.ways.clear();
        self.scripted_ids.clear();
    }

    /// Shows the ego before the first step: where the simulator has put it.
    pub fn place(&mut self, ego: &EgoSighting) {
        let yaw_rad = wrap_angle(ego.yaw_rad);
        let (sin, cos) = libm::sincosf(yaw_rad);
        let speed_mps = (ego.velocity_mps.0 * cos + ego.velocity_mps.1 * sin).max(0.0);
        self.world.state.ego.car = CarState::moving(ego.x, ego.y, yaw_rad, speed_mps);
        self.world.state.ego.z = ego.z;
        self.world.find_ego();
        self.ego = self.seen_as(ego);
    }

    /// Shows others before the first step.
    pub fn meet(&mut self, others: &[Sighting]) {
        self.others.clear();
        self.others.extend_from_slice(others);
        self.follow_others();
    }

    /// Holds an action from now on, clipped to [-1, 1].
    pub fn decide(&mut self, action: [f32; 2]) {
        self.decision = Some(self.world.begin(action));
    }

    /// Compares the ego with everybody's state before a step, and moves the traffic of our own.
    pub fn plan(&mut self) {
        let (mut slots, mut users) = (Vec::new(), Vec::new());
        if self.world.course().network.is_some() {
            users.extend(self.others.iter().filter_map(|other| self.user(other)));
        } else {
            slots.extend(self.others.iter().filter_map(|other| self.slot(other)));
        }
        if let Some(decision) = &mut self.decision {
            let foreign = Foreign {
                slots: &slots,
                users: &users,
            };
            self.world.move_traffic(&foreign, &mut decision.gathered);
        }
    }

    /// Whether a box is so near to the ego's that a contact is likely: within `margin_m`.
    pub fn is_close(&self, ego: &EgoSighting, others: &[Sighting], margin_m: f32) -> bool {
        let own = boxed(ego.x, ego.y, ego.yaw_rad, HALF_EXTENTS_M, margin_m);
        self.present()
            .map(|(_, vehicle)| scripted_box(vehicle))
            .chain(self.scripted_walkers().iter().map(walker_box))
            .chain(others.iter().map(other_box))
            .any(|other| own.overlaps(&other))
    }

    /// Looks at what a step of the simulator has led to, and judges it.
    ///
    /// Does nothing before [`Mirror::decide`], or after the episode has ended.
    pub fn look(&mut self, ego: &EgoSighting, others: &[Sighting], felt: &[Felt]) {
        let Some(mut decision) = self.decision.filter(|_| !self.world.has_ended()) else {
            return;
        };
        let foreseen = self.take_over(ego, &decision);
        let moved = self.world.note_motion();
        self.world.judge_rules(moved, &mut decision.gathered);
        self.meet(others);
        self.collide(felt, foreseen.as_ref(), &mut decision);
        let course = self.world.shared_course();
        let limits = self.world.setup().limits;
        events::judge_driving(
            &mut self.world.state,
            &course,
            &limits,
            &mut decision.gathered,
        );
        self.world.note_time();
        self.ego = self.seen_as(ego);
        self.decision = Some(decision);
    }

    /// What the decision has led to; `None` before [`Mirror::decide`].
    pub fn conclude(&self) -> Option<Outcome> {
        self.decision.map(|decision| self.world.conclude(decision))
    }

    /// Writes the observation.
    pub fn observe(&self, out: &mut Observation) {
        let actors = self.actors();
        self.world.describe(self.ego, &actors, out);
    }

    /// Draws the bird's-eye view; `out` holds `kind.len()` bytes.
    ///
    /// # Errors
    /// [`Error::RasterSize`] for a map that covers too large an area.
    pub fn birdseye(&self, kind: BirdseyeKind, out: &mut [u8]) -> Result<(), Error> {
        self.world.paint(kind, &self.ego, &self.actors(), out)
    }

    /// The info row.
    pub fn info(&self) -> [f64; INFO.len()] {
        let progress_m = self.conclude().map_or(0.0, |outcome| outcome.progress_m);
        self.world.info(progress_m)
    }

    /// The ego's box and everybody else's.
    pub fn scene(&self) -> (SceneBox, Vec<SceneBox>) {
        let (ego, mut actors) = self.world.scene();
        actors.extend(self.others.iter().map(|other| SceneBox {
            x: other.x,
            y: other.y,
            yaw_rad: other.yaw_rad,
            half_extents_m: other.half_extents_m,
            speed_mps: libm::hypotf(other.velocity_mps.0, other.velocity_mps.1),
        }));
        (ego, actors)
    }

    /// Everybody else, as the weather lets them be seen.
    fn actors(&self) -> Vec<ActorPose> {
        let mut actors = Vec::new();
        self.world.own_actors(&mut actors);
        actors.extend(self.others.iter().map(|other| ActorPose {
            kind: other.kind,
            x: other.x,
            y: other.y,
            z: other.z,
            yaw_rad: other.yaw_rad,
            velocity_mps: other.velocity_mps,
            half_extents_m: other.half_extents_m,
            lane_hint: self.hints.get(&other.id).copied(),
        }));
        self.world.haze_over(&self.ego, &mut actors);
        actors
    }

    fn present(&self) -> impl Iterator<Item = (usize, &Vehicle)> {
        let vehicles = self.world.state.vehicles.iter().enumerate();
        vehicles.filter(|(_, vehicle)| !vehicle.is_gone)
    }

    /// Makes the ego's motion the one that was seen. Where something has stopped it short, returns its box where the
    /// model had foreseen it.
    fn take_over(&mut self, ego: &EgoSighting, decision: &Decision) -> Option<OrientedBox> {
        let step_s = self.world.setup().step_s;
        let friction = self.world.conditions().weather.friction;
        let before = self.world.state.ego.car;
        // Pedals follow the driver with a lag that no simulator shows; the model has the same.
        let mut modelled = before;
        self.world
            .model()
            .advance(&mut modelled, decision.command, friction);
        let yaw_rad = wrap_angle(ego.yaw_rad);
        let (cos, sin) = (libm::cosf(yaw_rad), libm::sinf(yaw_rad));
        // Rolling back counts as standing: the world knows no other.
        let speed_mps = (ego.velocity_mps.0 * cos + ego.velocity_mps.1 * sin).max(0.0);
        self.world.state.ego.car = CarState {
            x: ego.x,
            y: ego.y,
            yaw_rad,
            speed_mps,
            yaw_rate_radps: ego.yaw_rate_radps,
            acceleration_mps2: (speed_mps - before.speed_mps) / step_s,
            throttle: modelled.throttle,
            brake: modelled.brake,
            // The model knows neither neutral nor reverse: it takes a car at rest for one in first gear.
            gear: ego.gear.clamp(1, i32::from(GEARS)) as u8,
            shift_left_s: 0.0,
        };
        self.world.state.ego.z = ego.z;
        let is_stopped = modelled.speed_mps - speed_mps > STOPPED_MPS;
        let CarState { x, y, yaw_rad, .. } = modelled;
        is_stopped.then(|| boxed(x, y, yaw_rad, HALF_EXTENTS_M, 0.0))
    }

    /// The ego for the observation: the world's, with what only the simulator knows.
    fn seen_as(&self, ego: &EgoSighting) -> EgoPose {
        EgoPose {
            velocity_mps: ego.velocity_mps,
            gear: ego.gear,
            ..ego_pose(&self.world.state.ego)
        }
    }

    /// Finds the others on the road.
    fn follow_others(&mut self) {
        let course = self.world.shared_course();
        let mut hints = BTreeMap::new();
        for other in &self.others {
            let hint = self.hints.get(&other.id).copied();
            let at = track(&course.map, hint, other.x, other.y, other.z, other.yaw_rad);
            hints.extend(at.map(|at| (other.id, at)));
        }
        self.hints = hints;
    }

    /// The stretch of the course that another vehicle fills; `None` for walkers and off the course.
    fn slot(&self, other: &Sighting) -> Option<Slot> {
        let course = self.world.course();
        let at = self.hints.get(&other.id)?;
        let rank = course.rank(at.lane)?;
        let sample = course.map.sample(at.lane, at.s_m);
        let place = InLane {
            rank,
            lateral_m: at.lateral_m,
            width_m: sample.width_m,
            curvature_per_m: sample.curvature_per_m,
        };
        let (cos, sin) = (
            libm::cosf(sample.pose.yaw_rad),
            libm::sinf(sample.pose.yaw_rad),
        );
        let along_mps = other.velocity_mps.0 * cos + other.velocity_mps.1 * sin;
        let station_m = course.map.station(at.lane, at.s_m);
        let is_vehicle = other.kind == ActorKind::Vehicle;
        is_vehicle.then(|| Slot::new(station_m, along_mps, other.half_extents_m, place))
    }

    /// Another vehicle as the traffic of a network sees it; where it will turn is guessed.
    fn user(&self, other: &Sighting) -> Option<User> {
        let at = self
            .hints
            .get(&other.id)
            .filter(|_| other.kind == ActorKind::Vehicle)?;
        let map = &self.world.course().map;
        let sample = map.sample(at.lane, at.s_m);
        let mut way = Way::default();
        way.extend(map, at.lane, at.s_m, 0, other.id as usize);
        let (sin, cos) = libm::sincosf(sample.pose.yaw_rad);
        Some(User {
            is_present: true,
            lane: at.lane,
            s_m: at.s_m,
            lateral_m: at.lateral_m,
            width_m: sample.width_m,
            speed_mps: (other.velocity_mps.0 * cos + other.velocity_mps.1 * sin).max(0.0),
            half_m: other.half_extents_m,
            pose: [other.x, other.y, other.yaw_rad],
            way,
        })
    }
}
