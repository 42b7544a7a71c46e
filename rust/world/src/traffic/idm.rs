//! The intelligent driver model.

use super::Slot;
use crate::config::IdmConfig;

/// The model with its parameters.
///
/// Source: Treiber, Hennecke, Helbing, "Congested traffic states in empirical observations and
/// microscopic simulations", Phys. Rev. E 62, 2000, equations 3 and 4.
#[derive(Debug, Clone, Copy)]
pub struct Idm {
    acceleration_mps2: f32,
    headway_s: f32,
    standstill_gap_m: f32,
    emergency_mps2: f32,
    /// 2 sqrt(a b).
    braking_scale: f32,
    tolerated_mps2: f32,
}

/// Nobody moves into a gap smaller than this, metres.
const SMALLEST_GAP_M: f32 = 2.0;

impl Idm {
    /// From a validated configuration.
    pub fn new(config: &IdmConfig) -> Self {
        let (a, b) = (
            config.acceleration_mps2 as f32,
            config.deceleration_mps2 as f32,
        );
        Self {
            acceleration_mps2: a,
            headway_s: config.headway_s as f32,
            standstill_gap_m: config.standstill_gap_m as f32,
            emergency_mps2: config.emergency_mps2 as f32,
            braking_scale: 2.0 * (a * b).sqrt(),
            tolerated_mps2: b,
        }
    }

    /// Gap at standstill, metres.
    pub const fn standstill_gap_m(&self) -> f32 {
        self.standstill_gap_m
    }

    /// Acceleration on a free road, m/s2.
    pub fn free_acceleration(&self, speed_mps: f32, desired_mps: f32) -> f32 {
        let ratio = speed_mps / desired_mps.max(0.1);
        let square = ratio * ratio;
        (self.acceleration_mps2 * (1.0 - square * square)).max(-self.emergency_mps2)
    }

    /// Acceleration behind a leader, m/s2.
    pub fn acceleration(
        &self,
        speed_mps: f32,
        desired_mps: f32,
        gap_m: f32,
        leader_mps: f32,
    ) -> f32 {
        let free = self.free_acceleration(speed_mps, desired_mps);
        (free - self.interaction(speed_mps, gap_m, leader_mps)).max(-self.emergency_mps2)
    }

    /// Deceleration that a leader asks for, m/s2.
    fn interaction(&self, speed_mps: f32, gap_m: f32, leader_mps: f32) -> f32 {
        let closing = speed_mps * (speed_mps - leader_mps) / self.braking_scale;
        let wanted_m = self.standstill_gap_m + (speed_mps * self.headway_s + closing).max(0.0);
        let ratio = wanted_m / gap_m.max(0.1);
        self.acceleration_mps2 * ratio * ratio
    }

    /// Whether `own` may move beside `other` into its lane: enough room, and whoever is behind needn't
    /// brake harder than comfortably.
    pub fn accepts_gap(&self, own: &Slot, other: &Slot) -> bool {
        let gap_m = own.gap_to(other);
        if gap_m < SMALLEST_GAP_M {
            return false;
        }
        let (rear, front) = if other.station_m > own.station_m {
            (own, other)
        } else {
            (other, own)
        };
        self.interaction(rear.speed_mps, gap_m, front.speed_mps) <= self.tolerated_mps2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty cars, the first brakes from 10 to 4 m/s: nobody hits anybody, and all end at the
    /// equilibrium gap, which has a closed form.
    #[test]
    fn a_platoon_absorbs_a_braking_leader() {
        let idm = Idm::new(&IdmConfig::default());
        let length_m = 4.9;
        let mut cars: Vec<(f32, f32)> = (0..20).map(|car| (-20.0 * car as f32, 10.0)).collect();
        for step in 0..24_000 {
            let leader_target = if step > 400 { 4.0 } else { 10.0 };
            let mut accelerations = vec![(leader_target - cars[0].1).clamp(-4.0, 1.5)];
            for pair in cars.windows(2) {
                let gap = pair[0].0 - pair[1].0 - length_m;
                assert!(gap > 0.5, "step {step}");
                accelerations.push(idm.acceleration(pair[1].1, 15.0, gap, pair[0].1));
            }
            for (car, acceleration) in cars.iter_mut().zip(accelerations) {
                car.1 = (car.1 + 0.05 * acceleration).max(0.0);
                car.0 += 0.05 * car.1;
            }
        }
        let equilibrium = (2.0 + 4.0 * 1.2) / (1.0 - (4.0_f32 / 15.0).powi(4)).sqrt();
        for pair in cars.windows(2) {
            let gap = pair[0].0 - pair[1].0 - length_m;
            assert!(
                (gap - equilibrium).abs() < 0.05,
                "{gap} against {equilibrium}"
            );
        }
    }

    #[test]
    fn a_gap_is_accepted_when_nobody_has_to_brake_hard() {
        let idm = Idm::new(&IdmConfig::default());
        let slot = |station_m, speed_mps| Slot {
            station_m,
            stretch: 1.0,
            half_length_m: 2.45,
            speed_mps,
            ranks: (0, 0),
        };
        assert!(idm.accepts_gap(&slot(0.0, 8.0), &slot(30.0, 8.0)));
        assert!(!idm.accepts_gap(&slot(0.0, 8.0), &slot(6.0, 8.0)));
        assert!(!idm.accepts_gap(&slot(0.0, 6.0), &slot(-20.0, 14.0)));
        assert!(idm.accepts_gap(&slot(0.0, 6.0), &slot(-60.0, 14.0)));
    }
}
