//! Reward terms: a vector of natural, unscaled quantities. Weights are applied outside.
//!
//! Events (`collision`, `off_road`, `route_finished`, `blocked`, `lane_invasion`, `red_light`,
//! `stop_sign`) are counts within the decision. Rates (`overspeed`, `ttc_deficit`, `wrong_way`,
//! `comfort`, `off_centre`, `speed_error`, `lateral_offset`, `heading_error`) are means over the
//! decision's simulation steps, so they don't depend on how many there are. `progress` is relative to
//! what the limit allows in a whole decision, `completion` is the share of the route in percent.
//! `steer_change` and `pedal_change` compare the executed action with the one before. Factors are in
//! [0, 1] and those of the decision's last step.

use crate::state::{LONGEST_TTC_S, SoftMemory};

/// Names of the reward terms, in the order of every array of them.
pub const REWARD_TERMS: [&str; 24] = [
    "progress",
    "collision",
    "off_road",
    "route_finished",
    "blocked",
    "overspeed",
    "ttc_deficit",
    "steer_change",
    "pedal_change",
    "lane_invasion",
    "wrong_way",
    "red_light",
    "stop_sign",
    "comfort",
    "off_centre",
    "completion",
    "speed_error",
    "lateral_offset",
    "heading_error",
    "route_factor",
    "speed_factor",
    "ttc_factor",
    "comfort_factor",
    "centre_factor",
];

/// Values in the order of [`REWARD_TERMS`].
pub type RewardTerms = [f32; REWARD_TERMS.len()];

/// Times to collision above this cost nothing, seconds.
pub const TTC_HORIZON_S: f32 = 2.0;
/// A deficit above this is a time to collision below 1 s.
pub const SHORT_TTC_DEFICIT: f32 = 0.5;
/// Comfortable sideways acceleration, m/s2 (Bench2Drive's limit).
const COMFORT_LATERAL_MPS2: f32 = 4.89;
/// Comfortable forward acceleration, m/s2.
const COMFORT_FORWARD_MPS2: f32 = 2.40;
/// Comfortable deceleration, m/s2.
const COMFORT_BRAKE_MPS2: f32 = 4.05;
/// Excess over the limit at which nothing is paid any more, m/s (5 mph).
const SOFT_EXCESS_MPS: f32 = 2.23;
/// How long a short time to collision and discomfort go on counting, seconds (500 ticks at 20 Hz).
const STICKY_S: f32 = 25.0;
/// Off centre by more than this for longer than that costs half, metres and seconds.
const OFF_CENTRE_M: f32 = 0.5;
const OFF_CENTRE_S: f32 = 3.0;
/// Distance before a hazard over which the desired speed falls to zero, metres.
const HAZARD_RAMP_M: f32 = 5.0;

/// What is gathered over the simulation steps of one decision.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gathered {
    /// Simulation steps so far.
    pub steps: u32,
    /// Progress along the route, metres.
    pub progress_m: f32,
    /// Progress along the route, percent of its length.
    pub completion: f32,
    /// Sums over steps.
    pub overspeed: f32,
    /// Sum over steps.
    pub ttc_deficit: f32,
    /// Sum over steps.
    pub wrong_way: f32,
    /// Sum over steps.
    pub comfort: f32,
    /// Sum over steps.
    pub off_centre: f32,
    /// Sum over steps.
    pub speed_error: f32,
    /// Sum over steps, metres.
    pub lateral_offset: f32,
    /// Sum over steps, radians.
    pub heading_error: f32,
    /// Collisions that began.
    pub collisions: u32,
    /// Lines crossed.
    pub lane_invasions: u32,
    /// Red lights run.
    pub red_lights: u32,
    /// Stop signs run.
    pub stop_signs: u32,
    /// The road was left.
    pub off_road: bool,
    /// The route was finished.
    pub finished: bool,
    /// Stood too long.
    pub blocked: bool,
    /// Time to collision with whoever is ahead in this step, seconds; `None` if nobody is, or nobody looked.
    pub ttc_s: Option<f32>,
    /// The time to collision is below 1 s in this step.
    pub is_ttc_short: bool,
    /// Discomfort of this step, see [`discomforts`].
    pub discomforts: [f32; 3],
    /// Route, speed, time to collision, comfort and centre factor after this step.
    pub factors: [f32; 5],
}

impl Gathered {
    /// The terms of the decision.
    ///
    /// `allowed_m` is the distance that the limit allows in one decision; `changes` are the absolute
    /// changes of the executed steer and pedal.
    pub fn terms(&self, allowed_m: f32, changes: [f32; 2]) -> RewardTerms {
        let mean = 1.0 / self.steps.max(1) as f32;
        let [route, speed, ttc, comfort, centre] = self.factors;
        [
            (self.progress_m.min(allowed_m) / allowed_m).max(-1.0),
            self.collisions as f32,
            f32::from(u8::from(self.off_road)),
            f32::from(u8::from(self.finished)),
            f32::from(u8::from(self.blocked)),
            self.overspeed * mean,
            self.ttc_deficit * mean,
            changes[0],
            changes[1],
            self.lane_invasions as f32,
            self.wrong_way * mean,
            self.red_lights as f32,
            self.stop_signs as f32,
            self.comfort * mean,
            self.off_centre * mean,
            self.completion,
            self.speed_error * mean,
            self.lateral_offset * mean,
            self.heading_error * mean,
            route,
            speed,
            ttc,
            comfort,
            centre,
        ]
    }
}

/// The weighted sum of each row of terms, summed in the order of [`REWARD_TERMS`].
pub fn weigh(terms: &[f32], weights: &[f64; REWARD_TERMS.len()], out: &mut [f64]) {
    for (row, sum) in terms.chunks_exact(REWARD_TERMS.len()).zip(out) {
        let weighted = row.iter().zip(weights);
        *sum = weighted
            .map(|(&term, weight)| f64::from(term) * weight)
            .sum();
    }
}

/// Time until a gap that closes at `closing_mps` is gone, seconds, [`LONGEST_TTC_S`] at most.
pub fn time_to_collision_s(gap_m: f32, closing_mps: f32) -> f32 {
    if closing_mps <= 0.0 {
        return LONGEST_TTC_S;
    }
    (gap_m.max(0.0) / closing_mps).min(LONGEST_TTC_S)
}

/// `max(0, 1 - ttc / 2 s)` for a gap that closes at `closing_mps`.
pub fn ttc_deficit(gap_m: f32, closing_mps: f32) -> f32 {
    if closing_mps <= 0.0 {
        return 0.0;
    }
    (1.0 - gap_m.max(0.0) / closing_mps / TTC_HORIZON_S).max(0.0)
}

/// How far forward, backward and sideways acceleration exceed what is comfortable, each relative to its limit.
pub fn discomforts(forward_mps2: f32, lateral_mps2: f32) -> [f32; 3] {
    let excess = |value: f32, limit: f32| ((value - limit) / limit).max(0.0);
    [
        excess(forward_mps2, COMFORT_FORWARD_MPS2),
        excess(-forward_mps2, COMFORT_BRAKE_MPS2),
        excess(lateral_mps2.abs(), COMFORT_LATERAL_MPS2),
    ]
}

/// How far the speed is from the one that limit and hazard ask for, relative to the limit, at most 1 below it.
///
/// Source: the reward that Roach describes, <https://arxiv.org/abs/2108.08265>: the desired speed is the limit, and
/// falls linearly to zero over the last 5 m before a hazard.
pub fn speed_error(speed_mps: f32, limit_mps: f32, hazard_m: f32) -> f32 {
    let desired_mps = limit_mps * (hazard_m / HAZARD_RAMP_M).clamp(0.0, 1.0);
    (speed_mps - desired_mps).abs() / limit_mps.max(0.1)
}

/// One step as the soft factors see it.
#[derive(Debug, Clone, Copy)]
pub struct SoftStep {
    /// Length of the step, seconds.
    pub step_s: f32,
    /// Speed minus limit, m/s.
    pub over_limit_mps: f32,
    /// The time to collision is below 1 s.
    pub is_ttc_short: bool,
    /// See [`discomforts`].
    pub discomforts: [f32; 3],
    /// Offset from the lane's centre, metres.
    pub lateral_m: f32,
    /// The lane doesn't belong to the route, or is driven against.
    pub is_off_route: bool,
}

/// Soft factors of a step: route, speed, time to collision, comfort, centre.
///
/// Source: the description of the reward in `CaRL`, <https://arxiv.org/abs/2504.17838>: progress is multiplied by
/// factors that are 1 for good driving. Off the route pays nothing; speeding costs linearly, all of it at 2.23 m/s; a
/// time to collision below 1 s halves for 500 ticks; discomfort costs up to half, and stays for as long; more than
/// 0.5 m off the centre for more than 3 s halves.
pub fn soft_factors(memory: &mut SoftMemory, step: &SoftStep) -> [f32; 5] {
    let keep = |left_s: f32, is_new: bool| {
        if is_new {
            STICKY_S
        } else {
            (left_s - step.step_s).max(0.0)
        }
    };
    memory.ttc_left_s = keep(memory.ttc_left_s, step.is_ttc_short);
    for (left_s, &excess) in memory.discomfort_left_s.iter_mut().zip(&step.discomforts) {
        *left_s = keep(*left_s, excess > 0.0);
    }
    memory.off_centre_s = if step.lateral_m.abs() > OFF_CENTRE_M {
        memory.off_centre_s + step.step_s
    } else {
        0.0
    };
    let half_if = |is_bad: bool| if is_bad { 0.5 } else { 1.0 };
    let uncomfortable = memory
        .discomfort_left_s
        .iter()
        .filter(|left_s| **left_s > 0.0)
        .count();
    [
        f32::from(u8::from(!step.is_off_route)),
        1.0 - (step.over_limit_mps / SOFT_EXCESS_MPS).clamp(0.0, 1.0),
        half_if(memory.ttc_left_s > 0.0),
        1.0 - 0.5 * uncomfortable as f32 / 3.0,
        half_if(memory.off_centre_s > OFF_CENTRE_S),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_means_counts_and_capped_progress() {
        let gathered = Gathered {
            steps: 2,
            progress_m: 2.0,
            completion: 0.25,
            overspeed: 0.4,
            collisions: 1,
            lane_invasions: 3,
            heading_error: 0.5,
            factors: [1.0, 0.75, 0.5, 1.0, 1.0],
            ..Gathered::default()
        };
        let terms = gathered.terms(1.5, [0.25, 0.5]);
        let value = |name| terms[REWARD_TERMS.iter().position(|&term| term == name).unwrap()];
        assert_eq!(value("progress"), 1.0);
        assert_eq!(value("completion"), 0.25);
        assert_eq!(value("collision"), 1.0);
        assert_eq!(value("overspeed"), 0.2);
        assert_eq!(value("lane_invasion"), 3.0);
        assert_eq!(value("heading_error"), 0.25);
        assert_eq!((value("steer_change"), value("pedal_change")), (0.25, 0.5));
        assert_eq!((value("speed_factor"), value("ttc_factor")), (0.75, 0.5));
        assert_eq!(value("route_finished"), 0.0);
    }

    #[test]
    fn ttc_and_comfort_follow_their_definitions() {
        assert_eq!(ttc_deficit(10.0, -1.0), 0.0);
        assert_eq!(ttc_deficit(10.0, 10.0), 0.5);
        assert_eq!(ttc_deficit(-1.0, 1.0), 1.0);
        assert_eq!(discomforts(0.0, 4.89), [0.0; 3]);
        let [forward, backward, sideways] = discomforts(-8.1, -9.78);
        assert_eq!(forward, 0.0);
        assert!((backward - 1.0).abs() < 1e-6 && (sideways - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_desired_speed_falls_to_zero_before_a_hazard() {
        assert_eq!(speed_error(6.0, 6.0, f32::INFINITY), 0.0);
        assert_eq!(speed_error(0.0, 6.0, 5.0), 1.0);
        assert_eq!(speed_error(3.0, 6.0, 2.5), 0.0);
        assert_eq!(speed_error(3.0, 6.0, -1.0), 0.5);
    }

    const FINE: SoftStep = SoftStep {
        step_s: 0.05,
        over_limit_mps: -1.0,
        is_ttc_short: false,
        discomforts: [0.0; 3],
        lateral_m: 0.4,
        is_off_route: false,
    };

    /// How many further steps a factor stays below 1 after one step of `bad`.
    fn steps_below_one(bad: SoftStep, factor: usize) -> usize {
        let mut memory = SoftMemory::default();
        assert!(soft_factors(&mut memory, &bad)[factor] < 1.0);
        (0..1000)
            .take_while(|_| soft_factors(&mut memory, &FINE)[factor] < 1.0)
            .count()
    }

    #[test]
    fn good_driving_pays_in_full_and_sticky_factors_last_500_ticks() {
        assert_eq!(soft_factors(&mut SoftMemory::default(), &FINE), [1.0; 5]);
        let short = SoftStep {
            is_ttc_short: true,
            ..FINE
        };
        let rough = SoftStep {
            discomforts: [0.0, 0.1, 0.0],
            ..FINE
        };
        // 25 s in steps of 0.05 s, counted in f32.
        assert!((498..=501).contains(&steps_below_one(short, 2)));
        assert!((498..=501).contains(&steps_below_one(rough, 3)));
        let off_route = SoftStep {
            is_off_route: true,
            ..FINE
        };
        assert_eq!(soft_factors(&mut SoftMemory::default(), &off_route)[0], 0.0);
    }

    #[test]
    fn speeding_and_discomfort_cost_their_share() {
        let speed = |over_limit_mps: f32| {
            soft_factors(
                &mut SoftMemory::default(),
                &SoftStep {
                    over_limit_mps,
                    ..FINE
                },
            )[1]
        };
        assert_eq!((speed(0.0), speed(2.23), speed(9.0)), (1.0, 0.0, 0.0));
        assert!((speed(1.115) - 0.5).abs() < 1e-6);
        let all = SoftStep {
            discomforts: [0.1; 3],
            ..FINE
        };
        assert_eq!(soft_factors(&mut SoftMemory::default(), &all)[3], 0.5);
    }

    #[test]
    fn off_centre_counts_after_three_seconds_without_a_break() {
        let off = SoftStep {
            lateral_m: -0.6,
            ..FINE
        };
        let mut memory = SoftMemory::default();
        let first = (1..200)
            .find(|_| soft_factors(&mut memory, &off)[4] < 1.0)
            .unwrap();
        assert!((60..=62).contains(&first), "{first}");
        assert_eq!(soft_factors(&mut memory, &FINE)[4], 1.0);
        assert_eq!(soft_factors(&mut memory, &off)[4], 1.0);
    }
}
