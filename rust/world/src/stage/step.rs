//! One step of the stage.

use carla_online_roads::RoadMap;

use crate::geometry::wrap_angle;
use crate::stage::Stage;
use crate::stage::actor::{Actor, Body, Walker, WalkerControl};
use crate::stage::lights::{self, Colour};
use crate::stage::pose::{Vector, add, scale, subtract, wrap_degrees};
use crate::stage::vehicle::{Motion, Pace, Vehicle};

/// Vertical speed of a jump, m/s.
const JUMP_MPS: f32 = 4.2;
/// Slower is standing still.
const STANDING_MPS: f32 = 0.1;
const SLOWEST_LIMIT_KMH: f32 = 5.0;

impl Stage {
    /// Moves everything by `dt_s` seconds.
    pub fn step(&mut self, dt_s: f32) {
        self.cycle.advance(&mut self.actors, dt_s);
        self.enter_volumes();
        let pace = Pace::new(dt_s);
        for actor in &mut self.actors {
            actor.velocity_before = actor.velocity;
            if actor.parent == 0 && actor.simulates_physics {
                let push = scale(std::mem::take(&mut actor.pending_acceleration), dt_s);
                if push != [0.0; 3] {
                    actor.velocity = add(actor.velocity, push);
                    actor.footing.is_grounded &= push[2] <= 0.0;
                }
                advance(actor, &self.map, dt_s, &pace);
            }
        }
        self.collider
            .run(&mut self.actors, &self.solids, &mut self.contacts);
        for actor in &mut self.actors {
            actor.acceleration = scale(subtract(actor.velocity, actor.velocity_before), 1.0 / dt_s);
        }
        self.carry();
        self.watch_lights();
    }

    /// Actors that are fixed to others go where those went. A parent has the smaller id, so one pass is enough.
    pub(super) fn carry(&mut self) {
        for index in 0..self.actors.len() {
            let parent = self.actors[index].parent;
            if parent == 0 {
                continue;
            }
            let Ok(above) = self.index(parent) else {
                continue;
            };
            let above = &self.actors[above];
            let (pose, velocity, turn, acceleration) = (
                above.pose.then(&self.actors[index].mount),
                above.velocity,
                above.angular_velocity_degps,
                above.acceleration,
            );
            let actor = &mut self.actors[index];
            (
                actor.pose,
                actor.velocity,
                actor.angular_velocity_degps,
                actor.acceleration,
            ) = (pose, velocity, turn, acceleration);
        }
    }

    /// Tyres inside a friction volume have its friction.
    fn enter_volumes(&mut self) {
        if !self
            .actors
            .iter()
            .any(|actor| matches!(actor.body, Body::FrictionVolume { .. }))
        {
            if self.has_volumes {
                self.actors
                    .iter_mut()
                    .filter_map(Actor::vehicle_mut)
                    .for_each(|vehicle| vehicle.volume_friction = None);
            }
            self.has_volumes = false;
            return;
        }
        self.has_volumes = true;
        for index in 0..self.actors.len() {
            let location = self.actors[index].pose.location;
            let friction = self.actors.iter().find_map(|volume| match volume.body {
                Body::FrictionVolume { friction } => {
                    let local = volume
                        .pose
                        .rotation
                        .unrotate(subtract(location, volume.pose.location));
                    let is_inside = (0..3).all(|i| local[i].abs() <= volume.bounds.half[i]);
                    is_inside.then_some(friction)
                }
                _ => None,
            });
            if let Some(vehicle) = self.actors[index].vehicle_mut() {
                vehicle.volume_friction = friction;
            }
        }
    }

    /// Which light each vehicle stands at.
    ///
    /// CARLA's Traffic Manager keeps a green that it has seen until the vehicle is away from the light, so that nobody
    /// stops on the line. Who stands before the line for another reason would start at red: it is away for one step.
    fn watch_lights(&mut self) {
        self.light_indices.clear();
        let lights = self
            .actors
            .iter()
            .enumerate()
            .filter(|(_, actor)| actor.light().is_some());
        self.light_indices.extend(lights.map(|(index, _)| index));
        if self.light_indices.is_empty() {
            return;
        }
        for index in 0..self.actors.len() {
            let actor = &self.actors[index];
            let Some(vehicle) = actor.vehicle() else {
                continue;
            };
            let (pose, half_length_m) = (&actor.pose, actor.bounds.half[0]);
            let mut lights = self.light_indices.iter().filter_map(|&light| {
                let light = &self.actors[light];
                Some((light.id, light.light()?))
            });
            let stopping = lights.find(|(_, light)| lights::stops(light, pose, half_length_m));
            let is_green = stopping.is_some_and(|(_, light)| light.state == Colour::Green);
            let stands_before = stopping.is_some_and(|(_, light)| {
                actor
                    .velocity
                    .iter()
                    .all(|speed| speed.abs() < STANDING_MPS)
                    && lights::holds(light, pose, half_length_m)
            });
            let is_let_go = vehicle.has_seen_green && !is_green && stands_before;
            let id = stopping.filter(|_| !is_let_go).map(|(id, _)| id);
            let has_seen_green = id.is_some() && (is_green || vehicle.has_seen_green);
            if let Some(vehicle) = self.actors[index].vehicle_mut() {
                (vehicle.traffic_light, vehicle.has_seen_green) = (id, has_seen_green);
            }
        }
    }
}

fn advance(actor: &mut Actor, map: &RoadMap, dt_s: f32, pace: &Pace) {
    // The body is taken out for the time of the step, so that both can be changed.
    match std::mem::replace(&mut actor.body, Body::Other) {
        Body::Vehicle(mut vehicle) => {
            drive(actor, &mut vehicle, map, dt_s, pace);
            actor.body = Body::Vehicle(vehicle);
        }
        Body::Walker(mut walker) => {
            stroll(actor, &mut walker, map, dt_s);
            actor.body = Body::Walker(walker);
        }
        Body::Prop { is_solid } => {
            actor.body = Body::Prop { is_solid };
            let foot = actor.bounds.center[2] - actor.bounds.half[2];
            fall(actor, foot, map, dt_s);
        }
        body => actor.body = body,
    }
}

fn drive(actor: &mut Actor, vehicle: &mut Vehicle, map: &RoadMap, dt_s: f32, pace: &Pace) {
    if let Some(local) = vehicle.constant_velocity {
        let held = actor.pose.rotation.rotate(local);
        actor.velocity = [held[0], held[1], actor.velocity[2]];
    }
    let [x, y, _] = actor.pose.location;
    let [vx, vy, _] = actor.velocity;
    let (yaw_rad, yaw_rate_radps) =
        vehicle.angles(&actor.pose.rotation, actor.angular_velocity_degps[2]);
    let mut motion = Motion {
        x,
        y,
        yaw_rad,
        vx,
        vy,
        yaw_rate_radps,
    };
    if actor.footing.is_grounded && vehicle.is_idle(&motion) {
        vehicle.rest(pace);
    } else {
        let has_grip = actor.has_gravity && actor.footing.is_grounded;
        if has_grip {
            vehicle.advance(&mut motion, 1.0, pace);
        } else {
            glide(&mut motion, dt_s);
        }
        if let Some(local) = vehicle.constant_velocity {
            let (cos, sin) = (libm::cosf(motion.yaw_rad), libm::sinf(motion.yaw_rad));
            (motion.vx, motion.vy) = (
                local[0] * cos - local[1] * sin,
                local[0] * sin + local[1] * cos,
            );
        }
        (actor.pose.location[0], actor.pose.location[1]) = (motion.x, motion.y);
        let turn_degps = vehicle.turn_to(&motion, &mut actor.pose.rotation);
        (actor.velocity[0], actor.velocity[1]) = (motion.vx, motion.vy);
        actor.angular_velocity_degps = [0.0, 0.0, turn_degps];
    }
    let limit_mps = fall(actor, 0.0, map, dt_s);
    if actor.footing.is_grounded {
        actor.pose.rotation = actor.footing.tilt(map, &actor.pose.rotation);
    }
    vehicle.speed_limit_kmh = (limit_mps * 3.6).max(SLOWEST_LIMIT_KMH);
}

/// Flies on: no force but gravity, which [`fall`] looks after.
fn glide(motion: &mut Motion, dt_s: f32) {
    motion.x += motion.vx * dt_s;
    motion.y += motion.vy * dt_s;
    motion.yaw_rad = wrap_angle(motion.yaw_rad + motion.yaw_rate_radps * dt_s);
}

/// Vertical motion of an actor whose foot lies `foot_m` above its origin. The speed limit of the place, m/s.
fn fall(actor: &mut Actor, foot_m: f32, map: &RoadMap, dt_s: f32) -> f32 {
    let [x, y, z] = actor.pose.location;
    let ground = actor.footing.find(map, [x, y, z + foot_m]);
    if actor.has_gravity {
        let (foot_z, rise) = actor
            .footing
            .settle(z + foot_m, actor.velocity[2], ground.z, dt_s);
        if foot_z != z + foot_m {
            actor.pose.location[2] = foot_z - foot_m;
        }
        actor.velocity[2] = rise;
    } else {
        actor.footing.is_grounded = false;
        actor.pose.location[2] += actor.velocity[2] * dt_s;
    }
    ground.speed_limit_mps
}

fn stroll(actor: &mut Actor, walker: &mut Walker, map: &RoadMap, dt_s: f32) {
    let WalkerControl {
        direction,
        speed_mps,
        jump,
    } = walker.control;
    let length = (direction[0] * direction[0] + direction[1] * direction[1]).sqrt();
    let unit: Vector = if length > 1e-6 {
        [direction[0] / length, direction[1] / length, 0.0]
    } else {
        [0.0; 3]
    };
    if actor.footing.is_grounded {
        (actor.velocity[0], actor.velocity[1]) = (unit[0] * speed_mps, unit[1] * speed_mps);
        if speed_mps > 0.1 && length > 1e-6 {
            actor.pose.rotation.yaw_deg = wrap_degrees(libm::atan2f(unit[1], unit[0]).to_degrees());
        }
        if jump {
            actor.velocity[2] = JUMP_MPS;
            walker.control.jump = false;
        }
    }
    actor.pose.location[0] += actor.velocity[0] * dt_s;
    actor.pose.location[1] += actor.velocity[1] * dt_s;
    let foot = actor.bounds.center[2] - actor.bounds.half[2];
    fall(actor, foot, map, dt_s);
}
