//! Reward terms: a vector of natural, unscaled quantities. Weights are applied outside.
//!
//! Events (`collision`, `off_road`, `route_finished`, `blocked`, `lane_invasion`, `red_light`,
//! `stop_sign`) are counts within the decision. Rates (`overspeed`, `ttc_deficit`, `wrong_way`,
//! `comfort`, `off_centre`) are means over the decision's simulation steps, so they don't depend on how
//! many there are. `progress` is relative to what the limit allows in a whole decision. `steer_change`
//! and `pedal_change` compare the executed action with the one before.

/// Names of the reward terms, in the order of every array of them.
pub const REWARD_TERMS: [&str; 15] = [
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
];

/// Values in the order of [`REWARD_TERMS`].
pub type RewardTerms = [f32; REWARD_TERMS.len()];

/// Times to collision above this cost nothing, seconds.
pub const TTC_HORIZON_S: f32 = 2.0;
/// Comfortable sideways acceleration, m/s2 (Bench2Drive's limit).
const COMFORT_LATERAL_MPS2: f32 = 4.89;
/// Comfortable forward acceleration, m/s2.
const COMFORT_FORWARD_MPS2: f32 = 2.40;
/// Comfortable deceleration, m/s2.
const COMFORT_BRAKE_MPS2: f32 = 4.05;

/// What is gathered over the simulation steps of one decision.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gathered {
    /// Simulation steps so far.
    pub steps: u32,
    /// Progress along the route, metres.
    pub progress_m: f32,
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
    /// Collisions that began.
    pub collisions: u32,
    /// Lines crossed.
    pub lane_invasions: u32,
    /// The road was left.
    pub off_road: bool,
    /// The route was finished.
    pub finished: bool,
    /// Stood too long.
    pub blocked: bool,
}

impl Gathered {
    /// The terms of the decision.
    ///
    /// `allowed_m` is the distance that the limit allows in one decision; `changes` are the absolute
    /// changes of the executed steer and pedal.
    pub fn terms(&self, allowed_m: f32, changes: [f32; 2]) -> RewardTerms {
        let mean = 1.0 / self.steps.max(1) as f32;
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
            0.0,
            0.0,
            self.comfort * mean,
            self.off_centre * mean,
        ]
    }
}

/// `max(0, 1 - ttc / 2 s)` for a gap that closes at `closing_mps`.
pub fn ttc_deficit(gap_m: f32, closing_mps: f32) -> f32 {
    if closing_mps <= 0.0 {
        return 0.0;
    }
    (1.0 - gap_m.max(0.0) / closing_mps / TTC_HORIZON_S).max(0.0)
}

/// How far the accelerations exceed what is comfortable, each relative to its limit.
pub fn discomfort(forward_mps2: f32, lateral_mps2: f32) -> f32 {
    let excess = |value: f32, limit: f32| ((value - limit) / limit).max(0.0);
    excess(lateral_mps2.abs(), COMFORT_LATERAL_MPS2)
        + excess(forward_mps2, COMFORT_FORWARD_MPS2)
        + excess(-forward_mps2, COMFORT_BRAKE_MPS2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_means_counts_and_capped_progress() {
        let gathered = Gathered {
            steps: 2,
            progress_m: 2.0,
            overspeed: 0.4,
            collisions: 1,
            lane_invasions: 3,
            ..Gathered::default()
        };
        let terms = gathered.terms(1.5, [0.25, 0.5]);
        let value = |name| terms[REWARD_TERMS.iter().position(|&term| term == name).unwrap()];
        assert_eq!(value("progress"), 1.0);
        assert_eq!(value("collision"), 1.0);
        assert_eq!(value("overspeed"), 0.2);
        assert_eq!(value("lane_invasion"), 3.0);
        assert_eq!((value("steer_change"), value("pedal_change")), (0.25, 0.5));
        assert_eq!(value("route_finished"), 0.0);
    }

    #[test]
    fn ttc_and_comfort_follow_their_definitions() {
        assert_eq!(ttc_deficit(10.0, -1.0), 0.0);
        assert_eq!(ttc_deficit(10.0, 10.0), 0.5);
        assert_eq!(ttc_deficit(-1.0, 1.0), 1.0);
        assert_eq!(discomfort(0.0, 4.89), 0.0);
        assert!((discomfort(-8.1, -9.78) - 2.0).abs() < 1e-6);
    }
}
