//! How a car answers to steer, throttle and brake.
//!
//! Two models. [`Powertrain`](crate::Dynamics::Powertrain) is CARLA's Lincoln MKZ 2017 from its own
//! physics numbers; [`Kinematic`](crate::Dynamics::Kinematic) is a bicycle that obeys at once. Both
//! are planar, never drive backwards, and stay at rest until the throttle moves them.

use crate::config::Dynamics;
use crate::geometry::wrap_angle;

mod powertrain;
pub use powertrain::{
    FULL_BRAKE_MPS2, GEARS, GRIP_MPS2, MASS_KG, THROTTLE_LAG_S, curvature_per_steer,
};

/// Distance between the axles of the MKZ 2017, metres.
pub const WHEELBASE_M: f32 = 2.871;
/// Half the length and half the width of the MKZ 2017, metres.
pub const HALF_EXTENTS_M: (f32, f32) = (2.451, 1.064);
/// Full lock of the front wheels, radians (70 degrees).
const FULL_LOCK_RAD: f32 = 1.221_730_5;
/// CARLA's steering curve: share of the lock against speed in km/h.
const STEERING_CURVE: [(f32, f32); 4] = [(0.0, 1.0), (20.0, 0.9), (60.0, 0.8), (120.0, 0.7)];
/// Longest step of the integration, seconds: two per 50 ms.
const LONGEST_SUBSTEP_S: f32 = 0.025;

/// What the driver asks for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Command {
    /// -1 (left) to 1 (right).
    pub steer: f32,
    /// 0 to 1.
    pub throttle: f32,
    /// 0 to 1.
    pub brake: f32,
}

impl Command {
    /// From an action (steer, signed throttle/brake), clipped to [-1, 1].
    pub const fn from_action(action: [f32; 2]) -> Self {
        let [steer, pedal] = [action[0].clamp(-1.0, 1.0), action[1].clamp(-1.0, 1.0)];
        Self {
            steer,
            throttle: pedal.max(0.0),
            brake: (-pedal).max(0.0),
        }
    }
}

/// The motion of a car.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CarState {
    /// Centre, metres, CARLA's frame (y to the right).
    pub x: f32,
    /// Centre, metres.
    pub y: f32,
    /// Heading, clockwise from above, in (-pi, pi].
    pub yaw_rad: f32,
    /// Forward speed, m/s, never negative.
    pub speed_mps: f32,
    /// Clockwise, rad/s.
    pub yaw_rate_radps: f32,
    /// Mean forward acceleration of the last step, m/s2.
    pub acceleration_mps2: f32,
    /// Throttle as it has reached the engine, 0 to 1.
    pub throttle: f32,
    /// Brake as it has reached the wheels, 0 to 1.
    pub brake: f32,
    /// 1 to 6.
    pub gear: u8,
    /// Time until the gear under way is in, seconds.
    pub shift_left_s: f32,
}

impl CarState {
    /// A car in steady motion.
    pub fn moving(x: f32, y: f32, yaw_rad: f32, speed_mps: f32) -> Self {
        Self {
            x,
            y,
            yaw_rad,
            speed_mps,
            yaw_rate_radps: 0.0,
            acceleration_mps2: 0.0,
            throttle: 0.0,
            brake: 0.0,
            gear: powertrain::gear_for(speed_mps),
            shift_left_s: 0.0,
        }
    }

    /// Acceleration to the right, m/s2.
    pub fn lateral_acceleration_mps2(&self) -> f32 {
        self.speed_mps * self.yaw_rate_radps
    }

    /// Velocity of the centre, m/s: it drifts outwards behind the steered front axle.
    pub fn velocity_mps(&self) -> (f32, f32) {
        let (cos, sin) = (libm::cosf(self.yaw_rad), libm::sinf(self.yaw_rad));
        let across = 0.5 * WHEELBASE_M * self.yaw_rate_radps;
        (
            self.speed_mps * cos - across * sin,
            self.speed_mps * sin + across * cos,
        )
    }
}

/// What differs between two cars of one kind; drawn for each episode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traits {
    /// Lag of the throttle, seconds.
    pub throttle_lag_s: f32,
    /// Full brake on a dry road, m/s2.
    pub full_brake_mps2: f32,
    /// Factor on what the steer does.
    pub steer_gain: f32,
    /// Radius of the friction circle on a dry road, m/s2.
    pub grip_mps2: f32,
}

impl Default for Traits {
    fn default() -> Self {
        Self {
            throttle_lag_s: THROTTLE_LAG_S,
            full_brake_mps2: FULL_BRAKE_MPS2,
            steer_gain: 1.0,
            grip_mps2: GRIP_MPS2,
        }
    }
}

/// Traits as used in stepping.
#[derive(Debug, Clone, Copy)]
struct Handling {
    lags: powertrain::Lags,
    full_brake_mps2: f32,
    steer_gain: f32,
    grip_mps2: f32,
}

/// A dynamics model with the constants of one step length and one car.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    kind: Dynamics,
    substeps: u32,
    substep_s: f32,
    handling: Handling,
}

impl Model {
    /// A model of a car for steps of `step_s` seconds.
    pub fn new(kind: Dynamics, step_s: f32, traits: &Traits) -> Self {
        // Step lengths are validated: the quotient is small and positive. The small excess keeps
        // 50 ms at two substeps whatever the rounding.
        let substeps = ((step_s / LONGEST_SUBSTEP_S) - 1e-3).ceil().max(1.0) as u32;
        let substep_s = step_s / substeps as f32;
        Self {
            kind,
            substeps,
            substep_s,
            handling: Handling {
                lags: powertrain::Lags::new(substep_s, traits.throttle_lag_s),
                full_brake_mps2: traits.full_brake_mps2,
                steer_gain: traits.steer_gain,
                grip_mps2: traits.grip_mps2,
            },
        }
    }

    /// Moves a car by one step. `friction` scales all tyre forces; 1 is dry. The kinematic car ignores it and its traits.
    pub fn advance(&self, car: &mut CarState, command: Command, friction: f32) {
        let before_mps = car.speed_mps;
        for _ in 0..self.substeps {
            match self.kind {
                Dynamics::Powertrain => {
                    powertrain::advance(car, command, friction, self.substep_s, &self.handling);
                }
                Dynamics::Kinematic => kinematic(car, command, self.substep_s),
            }
            move_by(car, self.substep_s);
        }
        car.acceleration_mps2 =
            (car.speed_mps - before_mps) / (self.substep_s * self.substeps as f32);
    }
}

fn move_by(car: &mut CarState, dt_s: f32) {
    // Half of the turn before, half after: the chord of the arc.
    let half_turn = 0.5 * car.yaw_rate_radps * dt_s;
    car.yaw_rad += half_turn;
    let (vx, vy) = car.velocity_mps();
    car.x += vx * dt_s;
    car.y += vy * dt_s;
    car.yaw_rad = wrap_angle(car.yaw_rad + half_turn);
}

/// Full throttle is 4 m/s2, full brake 8 m/s2, full lock 35 degrees.
fn kinematic(car: &mut CarState, command: Command, dt_s: f32) {
    let acceleration = 4.0 * command.throttle - 8.0 * command.brake;
    car.speed_mps = (car.speed_mps + acceleration * dt_s).clamp(0.0, 60.0);
    let wheel_rad = 0.5 * FULL_LOCK_RAD * command.steer * steering_share(car.speed_mps);
    car.yaw_rate_radps = car.speed_mps * libm::tanf(wheel_rad) / WHEELBASE_M;
    car.throttle = command.throttle;
    car.brake = command.brake;
}

/// Share of the full lock that CARLA gives at this speed.
fn steering_share(speed_mps: f32) -> f32 {
    interpolate(&STEERING_CURVE, speed_mps * 3.6)
}

/// Piecewise linear, constant beyond both ends.
fn interpolate(table: &[(f32, f32)], at: f32) -> f32 {
    let mut last = table[0];
    if at <= last.0 {
        return last.1;
    }
    for &point in &table[1..] {
        if at < point.0 {
            return last.1 + (point.1 - last.1) * (at - last.0) / (point.0 - last.0);
        }
        last = point;
    }
    last.1
}

#[cfg(test)]
mod tests;
