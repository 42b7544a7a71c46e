//! The gearbox: ratios, and when it shifts.

use super::Vehicle;
use crate::stage::physics::Gear;

const RPM_PER_RADPS: f32 = 9.549_297;
/// The gearbox's own shift time, as recordings have it.
const SHIFT_S: f32 = 0.3;
/// Gear of a box that has never been asked for power.
pub(super) const NEUTRAL: i32 = 0;

impl Vehicle {
    pub(super) fn rpm(&self, ratio: f32, speed_mps: f32) -> f32 {
        speed_mps.abs() / self.drive.wheel_radius_m * ratio * RPM_PER_RADPS
    }

    /// Engine turns per turn of a wheel; 0 in neutral. Reverse has the first gear's.
    pub(super) fn ratio(&self) -> f32 {
        if self.gear == NEUTRAL {
            return 0.0;
        }
        let index =
            (self.gear.unsigned_abs() as usize - 1).min(self.physics.gears.len().saturating_sub(1));
        self.physics
            .gears
            .get(index)
            .map_or(0.0, |gear| gear.ratio.max(0.0))
            * self.physics.final_ratio.max(0.0)
    }

    /// 1 in a forward gear and in neutral, -1 in reverse.
    pub(super) fn direction(&self) -> f32 {
        if self.gear < NEUTRAL { -1.0 } else { 1.0 }
    }

    pub(super) fn change_gear(&mut self, forward: f32, dt_s: f32) {
        if self.shift_left_s > 0.0 {
            self.shift_left_s = (self.shift_left_s - dt_s).max(0.0);
            return;
        }
        let top = self.physics.gears.len() as i32;
        if self.control.manual_gear_shift {
            self.gear = self.control.gear.clamp(-1, top);
            return;
        }
        if self.control.reverse {
            self.gear = -1;
        } else if self.gear <= NEUTRAL {
            // The box leaves neutral only for power, so a car that was pushed coasts freely.
            if self.control.throttle > 0.0 {
                self.gear = self.gear_for(forward);
            } else if self.gear < NEUTRAL {
                self.gear = NEUTRAL;
            }
        } else if self.physics.use_gear_autobox {
            self.shift(forward, top);
        }
    }

    fn shift(&mut self, forward: f32, top: i32) {
        let Some(gear) = self.physics.gears.get(self.gear as usize - 1) else {
            self.gear = top;
            return;
        };
        let share = self.rpm(self.ratio(), forward) / self.physics.max_rpm.max(1.0);
        if self.gear < top && share > gear.up_ratio {
            self.gear += 1;
            self.shift_left_s = SHIFT_S;
        } else if self.gear > 1 && share < gear.down_ratio {
            self.gear -= 1;
            self.shift_left_s = SHIFT_S;
        }
    }

    /// The gear in which the box drives steadily at this speed.
    fn gear_for(&self, forward: f32) -> i32 {
        let final_ratio = self.physics.final_ratio;
        let is_steady = |gear: &Gear| {
            self.rpm(gear.ratio * final_ratio, forward) < gear.up_ratio * self.physics.max_rpm
        };
        let gears = &self.physics.gears;
        gears
            .iter()
            .position(is_steady)
            .unwrap_or(gears.len().saturating_sub(1)) as i32
            + 1
    }
}
