//! The stage: actors that somebody else puts there and drives.
//!
//! Where [`World`](crate::World) runs episodes of its own, a [`Stage`] holds what a simulator's client asks
//! for: vehicles, pedestrians, props, sensors and traffic lights on a map, each spawned, driven, pushed, moved and
//! destroyed from outside, in CARLA's terms (metres, degrees, its control structures) but without any
//! protocol. A step is a function of the stage alone, bit for bit: actors live in a list ordered by id, nothing is
//! hashed, nothing is random but the noise that a sensor was asked to have, which its seed determines.
//!
//! There is ground everywhere: the height of the nearest road. Off the road the same tyres grip.

pub mod actor;
pub mod contact;
mod ground;
pub mod lights;
pub mod physics;
pub mod population;
pub mod pose;
pub mod rays;
pub mod sensor;
mod step;
pub mod vehicle;

use std::sync::Arc;

use carla_online_roads::RoadMap;

use actor::{Actor, Body, Bounds, WalkerControl};
use contact::{Collider, Contact, Other, Solid};
use lights::{Colour, Cycle};
use pose::{Transform, Vector, add, scale};
use sensor::{GeoLocation, Reading, SensorKind};

pub use ground::{GRAVITY_MPS2, tilt};

/// Actors that a stage holds at most.
pub const MAX_ACTORS: usize = 10_000;
/// Coordinates further out are refused, metres: positions would lose their millimetres.
pub const MAX_COORDINATE_M: f32 = 1e6;

/// Why the stage refused something.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StageError {
    /// Something solid is there already.
    #[error("the place is taken by {0:?}")]
    Blocked(Other),
    /// No actor has this id.
    #[error("there is no actor {0}")]
    NoSuchActor(u32),
    /// The actor can't do that.
    #[error("actor {id} is not a {expected}")]
    WrongKind {
        /// The actor.
        id: u32,
        /// What it would have to be.
        expected: &'static str,
    },
    /// A coordinate beyond [`MAX_COORDINATE_M`].
    #[error("a coordinate lies beyond {MAX_COORDINATE_M} m")]
    FarOut,
    /// More than [`MAX_ACTORS`].
    #[error("there are {MAX_ACTORS} actors already")]
    Full,
}

/// How a new actor is fixed to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mount {
    /// The other actor's id; the new one's pose is relative to it.
    pub parent: u32,
}

/// Actors on a map. See the module's introduction.
#[derive(Debug, Clone)]
pub struct Stage {
    map: Arc<RoadMap>,
    origin: GeoLocation,
    actors: Vec<Actor>,
    solids: Arc<[Solid]>,
    cycle: Cycle,
    collider: Collider,
    contacts: Vec<Contact>,
    next_id: u32,
    /// Kept between steps only to save work.
    light_indices: Vec<usize>,
    has_volumes: bool,
}

type Result<T> = std::result::Result<T, StageError>;

impl Stage {
    /// An empty stage. Ids are given from `first_id` on.
    pub fn new(map: Arc<RoadMap>, solids: Arc<[Solid]>, first_id: u32) -> Self {
        let origin = GeoLocation::of_map(map.xodr());
        Self {
            map,
            origin,
            actors: Vec::new(),
            solids,
            cycle: Cycle::default(),
            collider: Collider::default(),
            contacts: Vec::new(),
            next_id: first_id.max(1),
            light_indices: Vec::new(),
            has_volumes: false,
        }
    }

    /// The roads.
    pub fn map(&self) -> &Arc<RoadMap> {
        &self.map
    }

    /// Everything on the stage, by ascending id.
    pub fn actors(&self) -> &[Actor] {
        &self.actors
    }

    /// Boxes that never move.
    pub fn solids(&self) -> &[Solid] {
        &self.solids
    }

    /// The id that the next actor will get.
    pub fn next_id(&self) -> u32 {
        self.next_id
    }

    /// Contacts of the last step.
    pub fn contacts(&self) -> &[Contact] {
        &self.contacts
    }

    fn index(&self, id: u32) -> Result<usize> {
        self.actors
            .binary_search_by_key(&id, |actor| actor.id)
            .map_err(|_| StageError::NoSuchActor(id))
    }

    /// An actor.
    pub fn actor(&self, id: u32) -> Result<&Actor> {
        Ok(&self.actors[self.index(id)?])
    }

    /// An actor, to change what only its kind has. Poses are changed by [`Stage::place`].
    pub fn actor_mut(&mut self, id: u32) -> Result<&mut Actor> {
        let index = self.index(id)?;
        Ok(&mut self.actors[index])
    }

    /// A vehicle.
    pub fn vehicle_mut(&mut self, id: u32) -> Result<&mut vehicle::Vehicle> {
        self.actor_mut(id)?
            .vehicle_mut()
            .ok_or(StageError::WrongKind {
                id,
                expected: "vehicle",
            })
    }

    /// A traffic light.
    pub fn light_mut(&mut self, id: u32) -> Result<&mut lights::Light> {
        match &mut self.actor_mut(id)?.body {
            Body::Light(light) => Ok(light),
            _ => Err(StageError::WrongKind {
                id,
                expected: "traffic light",
            }),
        }
    }

    /// Puts a new actor on the stage and returns its id.
    ///
    /// # Errors
    ///
    /// [`StageError::Blocked`] if it is an obstacle and overlaps another, heights included; an unknown parent; a
    /// coordinate out of range; too many actors.
    pub fn spawn(
        &mut self,
        pose: Transform,
        mount: Option<Mount>,
        bounds: Bounds,
        body: Body,
    ) -> Result<u32> {
        if self.actors.len() >= MAX_ACTORS {
            return Err(StageError::Full);
        }
        in_range(pose.location)?;
        let world = match mount {
            Some(mount) => self.actor(mount.parent)?.pose.then(&pose),
            None => pose,
        };
        let mut actor = Actor::new(self.next_id, world, bounds, body);
        if let Some(mount) = mount {
            (actor.parent, actor.mount) = (mount.parent, pose);
        } else if actor.is_solid()
            && let Some(other) = contact::blocker(&self.actors, &self.solids, &actor)
        {
            return Err(StageError::Blocked(other));
        }
        if let Body::Light(light) = &mut actor.body {
            self.cycle.join(light);
        }
        self.next_id += 1;
        self.actors.push(actor);
        Ok(self.next_id - 1)
    }

    /// Takes an actor away. Those fixed to it stay where they are.
    pub fn destroy(&mut self, id: u32) -> Result<()> {
        let index = self.index(id)?;
        self.actors.remove(index);
        for actor in self.actors.iter_mut().filter(|actor| actor.parent == id) {
            actor.parent = 0;
        }
        Ok(())
    }

    /// Moves an actor to a pose, at once and exactly; its velocity stays. Actors fixed to it follow with the next step.
    pub fn place(&mut self, id: u32, pose: Transform) -> Result<()> {
        in_range(pose.location)?;
        let actor = self.actor_mut(id)?;
        let pose = Transform {
            rotation: pose.rotation.wrapped(),
            ..pose
        };
        if actor.parent == 0 {
            actor.pose = pose;
            actor.footing.lift();
        } else {
            actor.mount = pose;
        }
        Ok(())
    }

    /// Sets the velocity, in the world's frame, at once.
    pub fn set_velocity(&mut self, id: u32, velocity: Vector) -> Result<()> {
        let actor = self.actor_mut(id)?;
        actor.velocity = velocity;
        if velocity[2] != 0.0 {
            actor.footing.is_grounded = false;
        }
        Ok(())
    }

    /// Adds an impulse, N s, at once.
    pub fn push(&mut self, id: u32, impulse: Vector) -> Result<()> {
        let actor = self.actor_mut(id)?;
        let mass_kg = actor.mass_kg();
        if mass_kg > 0.0 && actor.simulates_physics {
            let velocity = add(actor.velocity, scale(impulse, 1.0 / mass_kg));
            return self.set_velocity(id, velocity);
        }
        Ok(())
    }

    /// Lets a force, N, act for the coming step.
    pub fn add_force(&mut self, id: u32, force: Vector) -> Result<()> {
        let actor = self.actor_mut(id)?;
        let mass_kg = actor.mass_kg();
        if mass_kg > 0.0 {
            actor.pending_acceleration =
                add(actor.pending_acceleration, scale(force, 1.0 / mass_kg));
        }
        Ok(())
    }

    /// Turns physics on or off. Without it an actor stands still wherever it is put.
    pub fn set_physics_on(&mut self, id: u32, is_on: bool) -> Result<()> {
        let actor = self.actor_mut(id)?;
        if !is_on {
            actor.velocity = [0.0; 3];
            actor.angular_velocity_degps = [0.0; 3];
        }
        actor.simulates_physics = is_on;
        actor.footing.lift();
        Ok(())
    }

    /// Asks a pedestrian to walk.
    pub fn walk(&mut self, id: u32, control: WalkerControl) -> Result<()> {
        match &mut self.actor_mut(id)?.body {
            Body::Walker(walker) => {
                walker.control = control;
                Ok(())
            }
            _ => Err(StageError::WrongKind {
                id,
                expected: "walker",
            }),
        }
    }

    /// Starts the cycle of one light's group anew, or of all groups.
    pub fn reset_lights(&mut self, light: Option<u32>) -> Result<()> {
        let group = light
            .map(|id| self.light_mut(id).map(|light| light.group))
            .transpose()?;
        self.cycle.reset(&mut self.actors, group);
        Ok(())
    }

    /// Stops all lights where they are, or lets them go on.
    pub fn freeze_lights(&mut self, is_frozen: bool) {
        self.cycle.is_frozen = is_frozen;
    }

    /// Whether the lights are frozen.
    pub fn are_lights_frozen(&self) -> bool {
        self.cycle.is_frozen
    }

    /// What the light shows that an actor stands at, if it stands at one.
    pub fn light_at(&self, actor: &Actor) -> Option<(u32, Colour)> {
        let id = actor.vehicle()?.traffic_light?;
        Some((id, self.actor(id).ok()?.light()?.state))
    }

    /// Moves a sensor's clock by `dt_s` and hands over what it measures in this step, if somebody listens.
    pub fn measure(&mut self, id: u32, dt_s: f64, mut give: impl FnMut(Reading)) -> Result<()> {
        let index = self.index(id)?;
        let Body::Sensor(sensor) = &mut self.actors[index].body else {
            return Err(StageError::WrongKind {
                id,
                expected: "sensor",
            });
        };
        if !sensor.is_heard || !sensor.is_due(dt_s) {
            return Ok(());
        }
        let kind = sensor.kind;
        match kind {
            SensorKind::Collision => {
                let actor = &self.actors[index];
                let mine = self
                    .contacts
                    .iter()
                    .filter(|contact| contact.actor == actor.parent);
                mine.for_each(|contact| give(Reading::Collision(*contact)));
            }
            SensorKind::Gnss(noise) => {
                let [latitude, longitude, altitude] = sensor.shake(&noise);
                let mut place = self.origin.at(self.actors[index].pose.location);
                place.latitude_deg += latitude;
                place.longitude_deg += longitude;
                place.altitude_m += altitude;
                give(Reading::Gnss(place));
            }
            SensorKind::Imu(noise) => {
                let errors = noise.map(|noise| sensor.shake(&noise).map(|error| error as f32));
                give(inertia(&self.actors[index], errors));
            }
            SensorKind::Obstacle {
                distance_m,
                hit_radius_m,
                only_dynamics,
            } => {
                let actor = &self.actors[index];
                let (cos, sin) = actor.pose.rotation.heading();
                let ray = (actor.pose.location, [cos, sin, 0.0]);
                let solids: &[Solid] = if only_dynamics { &[] } else { &self.solids };
                let is_wanted = |other: &Actor| {
                    other.id != actor.parent
                        && !(only_dynamics && matches!(other.body, Body::Prop { .. }))
                };
                let seen = contact::nearest(&self.actors, solids, ray, hit_radius_m, is_wanted);
                if let Some((other, distance_m)) = seen.filter(|seen| seen.1 <= distance_m) {
                    give(Reading::Obstacle {
                        carrier: actor.parent,
                        other,
                        distance_m,
                    });
                }
            }
            SensorKind::Silent => {}
        }
        Ok(())
    }
}

fn in_range(location: Vector) -> Result<()> {
    let is_in_range = location.iter().all(|value| value.abs() <= MAX_COORDINATE_M);
    if is_in_range {
        Ok(())
    } else {
        Err(StageError::FarOut)
    }
}

/// The velocity of a mounted sensor is its carrier's. Errors are those of the accelerometer and of the gyroscope.
fn inertia(actor: &Actor, [felt_error, turn_error]: [Vector; 2]) -> Reading {
    let felt = add(actor.acceleration, [0.0, 0.0, GRAVITY_MPS2]);
    let turn = actor.angular_velocity_degps.map(f32::to_radians);
    let compass_rad = actor.pose.rotation.yaw_rad() + std::f32::consts::FRAC_PI_2;
    Reading::Imu {
        accelerometer: add(actor.pose.rotation.unrotate(felt), felt_error),
        gyroscope: add(actor.pose.rotation.unrotate(turn), turn_error),
        compass_rad: if compass_rad < 0.0 {
            compass_rad + std::f32::consts::TAU
        } else {
            compass_rad
        },
    }
}

#[cfg(test)]
mod tests;
