//! Driving by speed and wheel angle.

use super::{Motion, Vehicle, VehicleControl};
use crate::stage::physics::interpolate;

/// A speed asked for instead of pedals: CARLA's `VehicleAckermannControl`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AckermannControl {
    /// Angle of the front wheels, radians, to the right.
    pub steer_rad: f32,
    /// Limit of its change, rad/s; 0 for none.
    pub steer_speed_radps: f32,
    /// Speed, m/s.
    pub speed_mps: f32,
    /// Limit of the acceleration, m/s2; 0 for none.
    pub acceleration_mps2: f32,
    /// Kept; this model doesn't limit jerk.
    pub jerk_mps3: f32,
}

impl Vehicle {
    /// Turns a wanted speed and wheel angle into pedals: proportional, limited by the wanted acceleration.
    pub(super) fn apply_ackermann(&mut self, motion: &Motion) {
        let Some(wanted) = self.ackermann else {
            return;
        };
        let forward =
            motion.vx * libm::cosf(motion.yaw_rad) + motion.vy * libm::sinf(motion.yaw_rad);
        let limit = if wanted.acceleration_mps2 == 0.0 {
            8.0
        } else {
            wanted.acceleration_mps2.abs()
        };
        let acceleration = (2.0 * (wanted.speed_mps - forward)).clamp(-limit, limit);
        let is_reverse = wanted.speed_mps < 0.0;
        let along = if is_reverse {
            -acceleration
        } else {
            acceleration
        };
        let curve = interpolate(&self.physics.steering_curve, forward.abs() * 3.6).max(0.1);
        self.control = VehicleControl {
            throttle: (along / 6.0).clamp(0.0, 1.0),
            brake: (-along / self.drive.brake_mps2.max(0.1)).clamp(0.0, 1.0),
            steer: (wanted.steer_rad / (self.drive.full_lock_rad.max(0.1) * curve))
                .clamp(-1.0, 1.0),
            reverse: is_reverse,
            gear: self.gear,
            ..VehicleControl::default()
        };
    }
}
