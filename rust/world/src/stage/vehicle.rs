//! A vehicle: what its driver asks for, what its powertrain and tyres make of it.
//!
//! The model is that of [`dynamics`](crate::dynamics) with every constant taken from [`VehiclePhysics`], and
//! with what a simulator's client may do besides driving forward: reverse, hand brake, manual gears, velocities and
//! impulses set from outside (the car then slides until its tyres have caught it), tyres without grip, no gravity.

mod ackermann;
mod gearbox;

use crate::geometry::wrap_angle;
use crate::stage::physics::{Drive, VehiclePhysics, interpolate};
use crate::stage::pose::{Rotation, Transform, Vector, wrap_degrees};

pub use ackermann::AckermannControl;
use gearbox::NEUTRAL;

/// Longest step of the integration, seconds: two per 50 ms.
const LONGEST_SUBSTEP_S: f32 = 0.025;
/// Grip of a dry road, m/s2.
const GRIP_MPS2: f32 = 11.0;
const STEER_GAIN: f32 = 1.09;
const UNDERSTEER_S2PM2: f32 = 9.4e-4;
/// Below this, without throttle, the vehicle stands.
const STANDSTILL_MPS: f32 = 0.02;

/// What the driver asks for: CARLA's `VehicleControl`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct VehicleControl {
    /// 0 to 1.
    pub throttle: f32,
    /// -1 (left) to 1 (right).
    pub steer: f32,
    /// 0 to 1.
    pub brake: f32,
    /// Brakes the rear wheels.
    pub hand_brake: bool,
    /// Drives backwards.
    pub reverse: bool,
    /// The gear is the driver's business.
    pub manual_gear_shift: bool,
    /// The gear: asked for with `manual_gear_shift`, else reported.
    pub gear: i32,
}

/// Motor, gearbox and pedals of one vehicle.
#[derive(Debug, Clone, PartialEq)]
pub struct Vehicle {
    /// The control in force.
    pub control: VehicleControl,
    /// Whether a control stays in force until the next one comes (CARLA's `sticky_control`).
    pub is_sticky: bool,
    /// A control of the other kind, in force instead.
    pub ackermann: Option<AckermannControl>,
    /// Kept as they were set.
    pub ackermann_gains: [f32; 6],
    /// Velocity in the vehicle's frame that is held whatever the pedals say.
    pub constant_velocity: Option<Vector>,
    /// Bits of CARLA's `VehicleLightState`.
    pub lights: u32,
    /// The traffic light whose stop volume the vehicle is in.
    pub traffic_light: Option<u32>,
    /// Whether that light has been green since the vehicle came to it.
    pub(super) has_seen_green: bool,
    /// Limit of the lane, km/h.
    pub speed_limit_kmh: f32,
    /// Friction of the volume that the vehicle is in.
    pub volume_friction: Option<f32>,
    pub(super) physics: VehiclePhysics,
    pub(super) drive: Drive,
    /// Width and height, metres.
    chassis_m: [f32; 2],
    pub(super) throttle: f32,
    pub(super) brake: f32,
    written: Written,
    rolled: Option<Rolled>,
    gear: i32,
    shift_left_s: f32,
}

/// Angles that the last step wrote into the actor, degrees, and what they were in radians.
///
/// Turned into degrees and back at every step they would wander off, by millimetres at the end of a road.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Written {
    yaw_deg: f32,
    yaw_rad: f32,
    turn_degps: f32,
    yaw_rate_radps: f32,
}

/// A motion that the tyres made, and its parts: taken apart again it would lose their last bits.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rolled {
    motion: Motion,
    forward: f32,
    sliding: f32,
}

/// How much of the way to its target each lagged quantity goes in one substep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    substeps: u32,
    dt_s: f32,
    throttle: f32,
    brake: f32,
    yaw_rate: f32,
}

impl Pace {
    pub fn new(step_s: f32) -> Self {
        let substeps = ((step_s / LONGEST_SUBSTEP_S) - 1e-3).ceil().max(1.0) as u32;
        let dt_s = step_s / substeps as f32;
        let share = |lag_s: f32| 1.0 - libm::expf(-dt_s / lag_s);
        Self {
            substeps,
            dt_s,
            throttle: share(0.2),
            brake: share(0.1),
            yaw_rate: share(0.12),
        }
    }
}

/// The part of an actor that the tyres act on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Motion {
    pub x: f32,
    pub y: f32,
    pub yaw_rad: f32,
    pub vx: f32,
    pub vy: f32,
    pub yaw_rate_radps: f32,
}

impl Vehicle {
    /// A vehicle at rest. `width_m` and `height_m` give the cross-section that the air meets.
    pub fn new(physics: VehiclePhysics, width_m: f32, height_m: f32, is_sticky: bool) -> Self {
        let chassis_m = [width_m, height_m];
        Self {
            control: VehicleControl::default(),
            is_sticky,
            ackermann: None,
            ackermann_gains: [0.15, 0.0, 0.25, 0.01, 0.0, 0.01],
            constant_velocity: None,
            lights: 0,
            traffic_light: None,
            has_seen_green: false,
            speed_limit_kmh: 30.0,
            volume_friction: None,
            drive: Drive::new(&physics, chassis_m),
            physics,
            chassis_m,
            throttle: 0.0,
            brake: 0.0,
            written: Written::default(),
            rolled: None,
            gear: NEUTRAL,
            shift_left_s: 0.0,
        }
    }

    /// The physics control in force; inside a friction volume its wheels report the volume's friction.
    pub fn physics(&self) -> VehiclePhysics {
        let mut physics = self.physics.clone();
        if let Some(friction) = self.volume_friction {
            physics
                .wheels
                .iter_mut()
                .for_each(|wheel| wheel.tire_friction = friction);
        }
        physics
    }

    /// Replaces the physics control. Wheels stay where they are; missing ones keep their numbers.
    pub fn set_physics(&mut self, mut physics: VehiclePhysics) {
        for (new, old) in physics.wheels.iter_mut().zip(&self.physics.wheels) {
            new.position_m = old.position_m;
        }
        let known = physics.wheels.len().min(self.physics.wheels.len());
        physics
            .wheels
            .extend_from_slice(&self.physics.wheels[known..]);
        self.drive = Drive::new(&physics, self.chassis_m);
        self.physics = physics;
    }

    /// The gear in use: -1 reverse, 0 neutral.
    pub fn gear(&self) -> i32 {
        self.gear
    }

    /// Turns of the engine per minute at a forward speed.
    pub fn engine_rpm(&self, speed_mps: f32) -> f32 {
        let idle = self
            .physics
            .torque_curve
            .first()
            .map_or(0.0, |point| point[0]);
        match self.ratio() {
            // Out of gear the engine follows the pedal.
            0.0 => idle + self.throttle * (self.physics.max_rpm - idle).max(0.0),
            ratio => self.rpm(ratio, speed_mps).max(idle),
        }
    }

    /// Angle of a wheel, degrees, to the right; rear wheels give 0.
    pub fn wheel_angle_deg(&self, wheel: usize, speed_mps: f32) -> f32 {
        let lock = self
            .physics
            .wheels
            .get(wheel)
            .map_or(0.0, |wheel| wheel.max_steer_angle_deg);
        lock * self.control.steer * interpolate(&self.physics.steering_curve, speed_mps.abs() * 3.6)
    }

    /// One step of standing still: pedals and gearbox go on.
    pub(super) fn rest(&mut self, pace: &Pace) {
        for _ in 0..pace.substeps {
            self.follow_pedals(pace);
            self.change_gear(0.0, pace.dt_s);
        }
        if !self.is_sticky {
            self.control = VehicleControl::default();
        }
    }

    fn follow_pedals(&mut self, pace: &Pace) {
        self.throttle += (self.control.throttle - self.throttle) * pace.throttle;
        self.brake += (self.control.brake - self.brake) * pace.brake;
    }

    /// Whether the vehicle stands and would go on standing.
    pub(super) fn is_idle(&self, motion: &Motion) -> bool {
        motion.vx == 0.0
            && motion.vy == 0.0
            && motion.yaw_rate_radps == 0.0
            && self.control.throttle == 0.0
            && self.ackermann.is_none()
            && self.constant_velocity.is_none()
            && !(self.control.manual_gear_shift && self.control.gear != self.gear)
    }

    /// Heading, radians, and yaw rate, rad/s, of an actor; those that the last step wrote keep their bits.
    pub(super) fn angles(&self, rotation: &Rotation, turn_degps: f32) -> (f32, f32) {
        let written = &self.written;
        let yaw_rad = if rotation.yaw_deg == written.yaw_deg {
            written.yaw_rad
        } else {
            rotation.yaw_rad()
        };
        let yaw_rate_radps = if turn_degps == written.turn_degps {
            written.yaw_rate_radps
        } else {
            turn_degps.to_radians()
        };
        (yaw_rad, yaw_rate_radps)
    }

    /// Writes a heading, and returns the yaw rate in degrees per second.
    pub(super) fn turn_to(&mut self, motion: &Motion, rotation: &mut Rotation) -> f32 {
        // A heading that didn't turn keeps its bits.
        if motion.yaw_rad != self.angles(rotation, 0.0).0 {
            rotation.yaw_deg = wrap_degrees(motion.yaw_rad.to_degrees());
        }
        self.written = Written {
            yaw_deg: rotation.yaw_deg,
            yaw_rad: motion.yaw_rad,
            turn_degps: motion.yaw_rate_radps.to_degrees(),
            yaw_rate_radps: motion.yaw_rate_radps,
        };
        self.written.turn_degps
    }

    /// Forward speed and sliding of a motion. The centre swings outwards behind the steered axle; what is left of the
    /// sideways speed is sliding.
    fn parts(&self, motion: &Motion) -> (f32, f32) {
        if let Some(rolled) = self.rolled.filter(|rolled| rolled.motion == *motion) {
            return (rolled.forward, rolled.sliding);
        }
        let (sin, cos) = (libm::sinf(motion.yaw_rad), libm::cosf(motion.yaw_rad));
        let sideways = motion.vy * cos - motion.vx * sin;
        let swing = 0.5 * self.drive.wheelbase_m * motion.yaw_rate_radps;
        (motion.vx * cos + motion.vy * sin, sideways - swing)
    }

    /// One step on the ground. `surface` scales all tyre forces; 1 is dry.
    pub(super) fn advance(&mut self, motion: &mut Motion, surface: f32, pace: &Pace) {
        self.apply_ackermann(motion);
        let grip_mps2 = GRIP_MPS2
            * surface
            * self
                .volume_friction
                .map_or(self.drive.grip, |friction| friction / 3.5);
        for _ in 0..pace.substeps {
            self.follow_pedals(pace);
            let (forward, sliding) = self.parts(motion);
            self.change_gear(forward, pace.dt_s);
            if grip_mps2 == 0.0 {
                self.coast(motion, forward, pace.dt_s);
            } else {
                let pivot_m = 0.5 * self.drive.wheelbase_m;
                let forward = self.turn_and_push(motion, forward, grip_mps2, pace);
                let caught = grip_mps2 * pace.dt_s;
                let sliding = sliding - sliding.clamp(-caught, caught);
                // Half of the turn before, half after: the chord of the arc.
                let half_turn = 0.5 * motion.yaw_rate_radps * pace.dt_s;
                motion.yaw_rad += half_turn;
                let (sin, cos) = (libm::sinf(motion.yaw_rad), libm::cosf(motion.yaw_rad));
                let across = sliding + pivot_m * motion.yaw_rate_radps;
                motion.x += (forward * cos - across * sin) * pace.dt_s;
                motion.y += (forward * sin + across * cos) * pace.dt_s;
                motion.yaw_rad = wrap_angle(motion.yaw_rad + half_turn);
                let (sin, cos) = (libm::sinf(motion.yaw_rad), libm::cosf(motion.yaw_rad));
                (motion.vx, motion.vy) =
                    (forward * cos - across * sin, forward * sin + across * cos);
                self.rolled = Some(Rolled {
                    motion: *motion,
                    forward,
                    sliding,
                });
            }
        }
        if !self.is_sticky {
            self.control = VehicleControl::default();
        }
    }

    /// No tyre force: only the air acts.
    fn coast(&self, motion: &mut Motion, forward: f32, dt_s: f32) {
        let drag = self.drive.drag_n_per_mps2 * forward.abs() / self.drive.mass_kg;
        let keep = (1.0 - drag * dt_s).max(0.0);
        (motion.vx, motion.vy) = (motion.vx * keep, motion.vy * keep);
        motion.x += motion.vx * dt_s;
        motion.y += motion.vy * dt_s;
        motion.yaw_rad = wrap_angle(motion.yaw_rad + motion.yaw_rate_radps * dt_s);
    }

    /// Forward speed and yaw rate after one substep.
    fn turn_and_push(&self, motion: &mut Motion, forward: f32, grip_mps2: f32, pace: &Pace) -> f32 {
        let driven = self.drive_acceleration(forward);
        let hand = if self.control.hand_brake {
            self.drive.hand_brake_mps2
        } else {
            0.0
        };
        let rolling = if forward == 0.0 {
            self.direction()
        } else {
            forward.signum()
        };
        let braked = self.drive.brake_mps2 * self.brake + hand;
        let push = driven - rolling * braked;
        let yaw_rate_wanted = self.wanted_yaw_rate(forward);
        let sideways = forward * yaw_rate_wanted;
        let asked = (push * push + sideways * sideways).sqrt();
        let share = if asked > grip_mps2 {
            grip_mps2 / asked
        } else {
            1.0
        };

        let mut speed = forward + push * share * pace.dt_s;
        let is_turned_round = speed * rolling < 0.0;
        // Brakes stop; only an engine that drives the other way, and harder than they hold, reverses a motion.
        let is_coasting = self.control.throttle == 0.0;
        let is_held = rolling == self.direction() || braked >= driven.abs();
        let has_stopped = is_turned_round && (is_coasting || is_held);
        if has_stopped || is_coasting && speed.abs() < STANDSTILL_MPS {
            speed = 0.0;
        }
        if speed == 0.0 {
            motion.yaw_rate_radps = 0.0;
        } else {
            motion.yaw_rate_radps +=
                (yaw_rate_wanted * share - motion.yaw_rate_radps) * pace.yaw_rate;
        }
        speed
    }

    fn wanted_yaw_rate(&self, forward: f32) -> f32 {
        let speed = forward.abs();
        let share = interpolate(&self.physics.steering_curve, speed * 3.6);
        let wheel_rad = STEER_GAIN * self.drive.full_lock_rad * self.control.steer * share;
        forward * wheel_rad / (self.drive.wheelbase_m * (1.0 + UNDERSTEER_S2PM2 * speed * speed))
    }

    /// Acceleration by engine, engine braking and drag, m/s2, in the vehicle's forward direction.
    fn drive_acceleration(&self, forward: f32) -> f32 {
        let (physics, drive) = (&self.physics, &self.drive);
        let drag = drive.drag_n_per_mps2 * forward * forward.abs();
        let ratio = self.ratio();
        if ratio == 0.0 {
            return -(drive.rolling_n_per_mps * forward + drag) / drive.mass_kg;
        }
        let geared = ratio * ratio / (drive.wheel_radius_m * drive.wheel_radius_m);
        let resisting = drive.mass_kg + physics.moment_of_inertia.max(0.0) * geared;
        if self.shift_left_s > 0.0 {
            return -(physics.damping_zero_disengaged.max(0.0) * geared * forward + drag)
                / resisting;
        }
        let rpm = self.rpm(ratio, forward);
        // The clutch slips below the lowest speed of the curve; beyond the largest the limiter cuts.
        let torque = if rpm > physics.max_rpm {
            0.0
        } else {
            self.throttle * interpolate(&physics.torque_curve, rpm)
        };
        let (idle, full) = (
            physics.damping_zero_engaged.max(0.0),
            physics.damping_full_throttle.max(0.0),
        );
        let damping = idle + (full - idle) * self.throttle;
        let force = self.direction() * torque * ratio / drive.wheel_radius_m
            - damping * geared * forward
            - drag;
        force / resisting
    }

    /// Where a wheel is in the world, metres.
    pub fn wheel_position(&self, pose: &Transform, wheel: usize) -> Vector {
        let local = self
            .physics
            .wheels
            .get(wheel)
            .map_or([0.0; 3], |wheel| wheel.position_m);
        let moved = pose.rotation.rotate(local);
        std::array::from_fn(|i| pose.location[i] + moved[i])
    }
}

#[cfg(test)]
mod tests;
