//! Infractions and the driving scores, by CARLA Leaderboard 2.1's arithmetic, and by those of 1.0 and 2.0.
//!
//! Leaderboard 2.1 multiplies the share of the route driven with `1 / (1 + sum of c)`, one
//! coefficient `c` for each infraction. What this world can commit:
//!
//! | infraction | c | here |
//! |---|---|---|
//! | collision with a walker | 1.0 | each |
//! | collision with a vehicle | 0.7 | each |
//! | collision with the layout | 0.6 | each |
//! | leaving the road | 0.6 | each; in CARLA's generated worlds the road ends at a wall, hence the same |
//! | red light | 0.4 | each |
//! | stop sign | 0.25 | each |
//! | blocked, time limit | 0.4 | each, as Leaderboard's scenario time-out |
//! | slower than the traffic | 0.4 (1 - p) | p = own mean speed / mean speed of the traffic within 60 m, at most 1 |
//!
//! Driving outside of the route's lanes (off every lane, or on one of the other direction) multiplies the score with
//! 1 - q, q its share of the distance driven; a route deviation ends the episode and costs what is left of the
//! route. Both as in Leaderboard 2.1.
//!
//! Lane invasions, wrong way and speeding are counted and not charged, as in Leaderboard. The
//! time-out costs nothing that the timed score doesn't take too; it is there so that the plain
//! driving score can't be had by waiting.

/// Names of the infraction counters, in the order of every array of them.
pub const INFRACTIONS: [&str; 13] = [
    "collision_vehicle",
    "collision_static",
    "collision_walker",
    "off_road",
    "lane_invasion",
    "wrong_way",
    "red_light",
    "stop_sign",
    "blocked",
    "timed_out",
    "speeding",
    "route_deviation",
    "outside_route_lanes",
];

/// Positions in [`INFRACTIONS`].
pub mod infraction {
    /// Collision with a vehicle.
    pub const COLLISION_VEHICLE: usize = 0;
    /// Collision with the layout.
    pub const COLLISION_STATIC: usize = 1;
    /// Collision with a walker.
    pub const COLLISION_WALKER: usize = 2;
    /// The road was left.
    pub const OFF_ROAD: usize = 3;
    /// A line was crossed.
    pub const LANE_INVASION: usize = 4;
    /// Driving against the lane's direction.
    pub const WRONG_WAY: usize = 5;
    /// A red light was run.
    pub const RED_LIGHT: usize = 6;
    /// A stop sign was run.
    pub const STOP_SIGN: usize = 7;
    /// Stood too long.
    pub const BLOCKED: usize = 8;
    /// The time was over.
    pub const TIMED_OUT: usize = 9;
    /// The limit was exceeded.
    pub const SPEEDING: usize = 10;
    /// The route was left too far.
    pub const ROUTE_DEVIATION: usize = 11;
    /// The lanes that lead along the route were left.
    pub const OUTSIDE_LANES: usize = 12;
}

/// Counts in the order of [`INFRACTIONS`].
pub type Counts = [i32; INFRACTIONS.len()];

/// Coefficients in the order of [`INFRACTIONS`].
pub const COEFFICIENTS: [f64; INFRACTIONS.len()] = [
    0.7, 0.6, 1.0, 0.6, 0.0, 0.0, 0.4, 0.25, 0.4, 0.4, 0.0, 0.0, 0.0,
];
/// Coefficient of being slower than the traffic, times the shortfall.
pub const MIN_SPEED_COEFFICIENT: f64 = 0.4;

/// The factor by which infractions lower the score, in (0, 1].
///
/// `min_speed_share` is p of the module's table, `None` when there was never traffic near.
pub fn infraction_score(counts: &Counts, min_speed_share: Option<f64>) -> f64 {
    let counted: f64 = counts
        .iter()
        .zip(COEFFICIENTS)
        .map(|(&count, c)| f64::from(count) * c)
        .sum();
    let shortfall = 1.0 - min_speed_share.unwrap_or(1.0).clamp(0.0, 1.0);
    1.0 / (1.0 + counted + MIN_SPEED_COEFFICIENT * shortfall)
}

/// Factors of Leaderboard 1.0 and 2.0 in the order of [`INFRACTIONS`]; `off_road` counts as the layout's collision.
pub const FACTORS: [f64; INFRACTIONS.len()] = [
    0.60, 0.65, 0.50, 0.65, 1.0, 1.0, 0.70, 0.80, 1.0, 1.0, 1.0, 1.0, 1.0,
];
/// Leaderboard 2.0: a scenario that timed out, as being blocked and the time limit are here.
const TIMEOUT_FACTOR: f64 = 0.70;
/// Leaderboard 2.0: being slower than the traffic costs up to this share.
const MIN_SPEED_COST: f64 = 0.30;

/// The factor by which infractions lower the score in Leaderboard 1.0: a product, no time-outs, no minimum speed.
pub fn infraction_score_1_0(counts: &Counts) -> f64 {
    let charged = counts.iter().zip(FACTORS);
    charged
        .map(|(&count, factor)| factor.powi(count.max(0)))
        .product()
}

/// The same in Leaderboard 2.0, whose one check of the minimum speed is the route's mean here, not one of four.
pub fn infraction_score_2_0(counts: &Counts, min_speed_share: Option<f64>) -> f64 {
    let timeouts = counts[infraction::BLOCKED] + counts[infraction::TIMED_OUT];
    let shortfall = 1.0 - min_speed_share.unwrap_or(1.0).clamp(0.0, 1.0);
    infraction_score_1_0(counts)
        * TIMEOUT_FACTOR.powi(timeouts.max(0))
        * (1.0 - MIN_SPEED_COST * shortfall)
}

/// The factor for driving outside of the route's lanes.
pub fn outside_factor(outside_m: f64, distance_m: f64) -> f64 {
    if distance_m > 0.0 {
        1.0 - (outside_m / distance_m).clamp(0.0, 1.0)
    } else {
        1.0
    }
}

/// Leaderboard 2.1's score of one route, 0 to 100.
pub fn driving_score(route_completion: f64, infraction_score: f64) -> f64 {
    100.0 * route_completion * infraction_score
}

/// The driving score times `min(1, reference_time_s x route_completion / time_s)`.
///
/// The factor holds for every route, finished or not: were it for finished routes only, stopping
/// before the line would pay.
pub fn timed_driving_score(
    driving_score: f64,
    route_completion: f64,
    reference_time_s: f64,
    time_s: f64,
) -> f64 {
    if time_s <= 0.0 {
        return driving_score;
    }
    driving_score * (reference_time_s * route_completion / time_s).min(1.0)
}

/// How far and how fast a route was driven.
#[derive(Debug, Clone, Copy)]
pub struct Drive {
    /// Share of the route, [0, 1].
    pub completion: f64,
    /// p of the module's table; `None` when there was never traffic near.
    pub min_speed_share: Option<f64>,
    /// See [`outside_factor`].
    pub outside_factor: f64,
    /// Reference time of the route, seconds.
    pub reference_time_s: f64,
    /// Time taken, seconds.
    pub time_s: f64,
}

/// All scores of a route.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// The factor by which infractions lower Leaderboard 2.1's score.
    pub infraction_score: f64,
    /// Leaderboard 2.1's, 0 to 100.
    pub driving_score: f64,
    /// The same with the time factor.
    pub timed_driving_score: f64,
    /// Leaderboard 1.0's.
    pub driving_score_1_0: f64,
    /// Leaderboard 2.0's.
    pub driving_score_2_0: f64,
}

impl Scores {
    /// The scores of a route driven with these infractions.
    pub fn new(counts: &Counts, drive: &Drive) -> Self {
        let (completion, factor) = (drive.completion, drive.outside_factor);
        let infraction_score = infraction_score(counts, drive.min_speed_share) * factor;
        let score = driving_score(completion, infraction_score);
        let earlier = |penalty: f64| driving_score(completion, penalty * factor);
        Self {
            infraction_score,
            driving_score: score,
            timed_driving_score: timed_driving_score(
                score,
                completion,
                drive.reference_time_s,
                drive.time_s,
            ),
            driving_score_1_0: earlier(infraction_score_1_0(counts)),
            driving_score_2_0: earlier(infraction_score_2_0(counts, drive.min_speed_share)),
        }
    }
}

/// Reference time of a route: its length at the limit, and a quarter more.
pub fn reference_time_s(length_m: f64, speed_limit_mps: f64) -> f64 {
    1.25 * length_m / speed_limit_mps
}

#[cfg(test)]
mod tests {
    use super::infraction as i;
    use super::*;

    #[test]
    fn a_clean_route_at_the_limit_scores_100() {
        let score = infraction_score(&Counts::default(), Some(1.7));
        assert_eq!(driving_score(1.0, score), 100.0);
        assert_eq!(timed_driving_score(100.0, 1.0, 50.0, 50.0), 100.0);
        assert_eq!(infraction_score(&Counts::default(), None), 1.0);
    }

    #[test]
    fn given_events_score_as_computed_by_hand() {
        let mut counts = Counts::default();
        counts[i::COLLISION_VEHICLE] = 1;
        assert!((driving_score(0.5, infraction_score(&counts, None)) - 50.0 / 1.7).abs() < 1e-12);
        counts[i::OFF_ROAD] = 1;
        counts[i::LANE_INVASION] = 40;
        counts[i::SPEEDING] = 3;
        // 1 + 0.7 + 0.6 + 0.4 x (1 - 0.75)
        assert!((infraction_score(&counts, Some(0.75)) - 1.0 / 2.4).abs() < 1e-12);
        let mut all = [1; INFRACTIONS.len()];
        all[i::COLLISION_WALKER] = 2;
        // 1 + 0.7 + 0.6 + 2 x 1.0 + 0.6 + 0.4 + 0.25 + 0.4 + 0.4
        assert!((infraction_score(&all, None) - 1.0 / 6.35).abs() < 1e-12);
    }

    #[test]
    fn earlier_leaderboards_multiply() {
        let mut counts = Counts::default();
        counts[i::COLLISION_VEHICLE] = 2;
        counts[i::RED_LIGHT] = 1;
        counts[i::LANE_INVASION] = 40;
        assert!((infraction_score_1_0(&counts) - 0.36 * 0.7).abs() < 1e-12);
        counts[i::TIMED_OUT] = 1;
        assert!((infraction_score_1_0(&counts) - 0.252).abs() < 1e-12);
        // 0.252 x 0.7 x (1 - 0.3 x 0.5)
        assert!((infraction_score_2_0(&counts, Some(0.5)) - 0.252 * 0.7 * 0.85).abs() < 1e-12);
        assert!((infraction_score_2_0(&counts, None) - 0.252 * 0.7).abs() < 1e-12);
    }

    #[test]
    fn driving_outside_of_the_lanes_costs_its_share() {
        assert_eq!(outside_factor(0.0, 0.0), 1.0);
        assert_eq!(outside_factor(25.0, 100.0), 0.75);
        assert_eq!(outside_factor(7.0, 5.0), 0.0);
    }

    #[test]
    fn stopping_before_the_line_never_pays() {
        let reference_s = reference_time_s(800.0, 15.0);
        let late = timed_driving_score(100.0, 1.0, reference_s, 1.5 * reference_s);
        let waiting = timed_driving_score(98.0, 0.98, reference_s, 3.0 * reference_s);
        assert!((late - 100.0 / 1.5).abs() < 1e-9);
        assert!(waiting < 0.5 * late);
    }
}
