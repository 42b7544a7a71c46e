//! Lane changes for gain, and who breaks which rule.

use super::{Idm, Slot, Vehicle};
use crate::config::{AdversaryConfig, MobilConfig};
use crate::rng::{Purpose, Stream};

/// A vehicle thinks about changing lanes once in so many steps.
const EVERY_STEPS: u32 = 10;
/// After a change for gain or a cut-in a vehicle stays so long, seconds.
const CALM_S: f32 = 6.0;
/// Cutting in: the gap between the own rear and the ego's front, metres.
const CUT_IN_M: (f32, f32) = (2.5, 10.0);
/// Nobody cuts in more slowly than this, m/s, or on an ego slower than this.
const CUT_IN_MPS: f32 = 3.0;

/// The MOBIL rule with its parameters.
#[derive(Debug, Clone, Copy)]
pub struct Mobil {
    share: f64,
    politeness: f32,
    gain_mps2: f32,
    safe_mps2: f32,
}

/// Accelerations that a lane change would change, m/s2.
#[derive(Debug, Clone, Copy)]
pub struct Prospect {
    /// The own one now.
    pub own_now: f32,
    /// The own one on the other lane.
    pub own_there: f32,
    /// Now and then that of the vehicle which would be behind; `None` where nobody is.
    pub follower: Option<(f32, f32)>,
}

impl Mobil {
    /// From a validated configuration.
    pub fn new(config: &MobilConfig) -> Self {
        Self {
            share: config.share,
            politeness: config.politeness as f32,
            gain_mps2: config.gain_mps2 as f32,
            safe_mps2: config.safe_mps2 as f32,
        }
    }

    /// Gain of a change, m/s2 beyond the one that makes it worth it; `None` if it would be unsafe or not worth it.
    ///
    /// Source: Kesting et al. 2007, equations 1 and 2, without the follower that is left behind.
    pub fn gain(&self, prospect: &Prospect) -> Option<f32> {
        let own = prospect.own_there - prospect.own_now;
        let loss = match prospect.follower {
            Some((_, then)) if then < -self.safe_mps2 => return None,
            Some((now, then)) => (now - then).max(0.0),
            None => 0.0,
        };
        let gain = own - self.politeness * loss - self.gain_mps2;
        (gain > 0.0).then_some(gain)
    }

    /// Whether a vehicle thinks about a change in this step.
    pub fn is_due(
        &self,
        seed: u64,
        who: usize,
        vehicle: &Vehicle,
        now_s: f32,
        step_s: f32,
    ) -> bool {
        self.share > 0.0
            && vehicle.wish == 0
            && vehicle.change_done >= 1.0
            && now_s >= vehicle.calm_until_s
            && now_s >= vehicle.brake_until_s
            && (((now_s / step_s).round() as u32).wrapping_add(who as u32))
                .is_multiple_of(EVERY_STEPS)
            && is_chosen(seed, Manner::Mobil, who, self.share)
    }

    /// Which way a vehicle on a chain wants to change for gain: -1, 1, or 0. `has` tells which sides have a lane.
    pub fn side(
        &self,
        own: &Slot,
        slots: &[Slot],
        who: usize,
        now: &Vehicle,
        idm: &Idm,
        has: [bool; 2],
    ) -> i8 {
        let mut best = (0.0, 0);
        for (side, has_lane) in [-1_i8, 1].into_iter().zip(has) {
            if !has_lane {
                continue;
            }
            let rank = own.ranks.0.saturating_add_signed(side);
            let beside = Slot {
                ranks: (rank, rank),
                ..*own
            };
            let others = || {
                slots
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != who)
                    .map(|(_, slot)| slot)
            };
            let own_there = match beside.leader(others()) {
                Some(leader) => idm.acceleration(
                    own.speed_mps,
                    now.desired_mps,
                    beside.gap_to(leader),
                    leader.speed_mps,
                ),
                None => idm.free_acceleration(own.speed_mps, now.desired_mps),
            };
            let follower = beside.follower(others()).map(|behind| {
                let wanted_mps = behind.speed_mps.max(1.0);
                let then = idm.acceleration(
                    behind.speed_mps,
                    wanted_mps,
                    behind.gap_to(&beside),
                    own.speed_mps,
                );
                (0.0, then)
            });
            let prospect = Prospect {
                own_now: now.acceleration_mps2,
                own_there,
                follower,
            };
            if let Some(gain) = self.gain(&prospect).filter(|gain| *gain > best.0) {
                best = (gain, side);
            }
        }
        best.1
    }
}

/// A way of behaving that some have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Manner {
    /// Changes lanes for gain.
    Mobil = 0,
    /// Cuts in.
    CutIn = 1,
    /// Runs red lights.
    RedLight = 2,
    /// Crosses beside the crosswalk.
    Jaywalk = 3,
    /// Isn't seen before it is on the road.
    Hidden = 4,
}

/// Whether the one of this number behaves so in an episode. No state: the answer is a function of the seed.
pub fn is_chosen(seed: u64, manner: Manner, who: usize, share: f64) -> bool {
    share > 0.0 && Stream::new(seed, Purpose::Manner, who as u64, manner as u64).unit() < share
}

/// Who makes it hard for the ego.
#[derive(Debug, Clone, Copy)]
pub struct Adversaries {
    cut_in: f64,
    red_light: f64,
    jaywalk: f64,
    hidden: f64,
}

impl Adversaries {
    /// From a validated configuration.
    pub const fn new(config: &AdversaryConfig) -> Self {
        Self {
            cut_in: config.cut_in_share,
            red_light: config.red_light_share,
            jaywalk: config.jaywalk_share,
            hidden: config.hidden_share,
        }
    }

    /// Whether a vehicle cuts in now: it is one of those, and near enough ahead of the ego on the lane beside.
    pub fn cuts_in(
        &self,
        seed: u64,
        who: usize,
        vehicle: &Vehicle,
        now_s: f32,
        ahead_m: f32,
        ego_mps: f32,
    ) -> bool {
        self.cut_in > 0.0
            && vehicle.change_done >= 1.0
            && now_s >= vehicle.calm_until_s
            && vehicle.speed_mps >= CUT_IN_MPS
            && ego_mps >= CUT_IN_MPS
            && (CUT_IN_M.0..=CUT_IN_M.1).contains(&ahead_m)
            && is_chosen(seed, Manner::CutIn, who, self.cut_in)
    }

    /// Whether a vehicle runs red lights.
    pub fn runs_lights(&self, seed: u64, who: usize) -> bool {
        is_chosen(seed, Manner::RedLight, who, self.red_light)
    }

    /// Whether somebody on foot crosses beside the crosswalk.
    pub fn jaywalks(&self, seed: u64, who: usize) -> bool {
        is_chosen(seed, Manner::Jaywalk, who, self.jaywalk)
    }

    /// Whether somebody on foot isn't seen before they are on the road.
    pub fn is_hidden(&self, seed: u64, who: usize) -> bool {
        is_chosen(seed, Manner::Hidden, who, self.hidden)
    }

    /// Whether anybody may cut in at all.
    pub fn any_cut_in(&self) -> bool {
        self.cut_in > 0.0
    }
}

/// From when on a vehicle that has just changed lanes thinks of it again, seconds.
pub fn calm_until_s(now_s: f32) -> f32 {
    now_s + CALM_S
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_must_pay_and_must_not_make_the_follower_brake_hard() {
        let mobil = Mobil::new(&MobilConfig {
            share: 1.0,
            ..MobilConfig::default()
        });
        let prospect = |own_there, follower| Prospect {
            own_now: -0.5,
            own_there,
            follower,
        };
        // 1.5 gained, 0.2 asked.
        assert!((mobil.gain(&prospect(1.0, None)).unwrap() - 1.3).abs() < 1e-6);
        assert!(mobil.gain(&prospect(-0.4, None)).is_none());
        assert!(mobil.gain(&prospect(1.0, Some((0.0, -3.1)))).is_none());
        // 0.3 of a loss of 2 is 0.6.
        assert!((mobil.gain(&prospect(1.0, Some((0.0, -2.0)))).unwrap() - 0.7).abs() < 1e-6);
    }

    #[test]
    fn shares_choose_about_their_share_and_the_same_every_time() {
        let chosen = |share: f64| {
            (0..2000)
                .filter(|&who| is_chosen(9, Manner::CutIn, who, share))
                .count()
        };
        assert_eq!((chosen(0.0), chosen(1.0)), (0, 2000));
        assert!((500..700).contains(&chosen(0.3)));
        assert_eq!(chosen(0.3), chosen(0.3));
    }
}
