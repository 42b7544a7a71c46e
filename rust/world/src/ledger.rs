//! One episode's account where another program judges the drive too, as `ScenarioRunner`'s criteria do.
//!
//! Where the other watches for an infraction, its count takes the place of the world's, so that nothing is charged
//! twice and scores are the other's. Collisions are the exception: a simulator's collision sensor is known to miss
//! people on foot and some models, so the higher of the two counts, for the world compares the boxes too.

use crate::info::INFO;
use crate::reward::{REWARD_TERMS, RewardTerms};
use crate::score::{Counts, Drive, INFRACTIONS, Scores, infraction, outside_factor};

/// How the other program's story stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// It goes on.
    Running,
    /// It, or its route, has come to its end.
    Succeeded,
    /// A criterion ended it.
    Failed,
    /// Its time was over.
    TimedOut,
    /// Something in it has destroyed the ego.
    EgoGone,
}

/// What the other program has found so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Findings {
    /// Its counts.
    pub counts: Counts,
    /// The infractions for which it watches.
    pub watched: [bool; INFRACTIONS.len()],
    /// Share of the route driven, [0, 1]; `None` where it follows no route.
    pub route_completion: Option<f64>,
    /// Share of the distance outside of the route's lanes, [0, 1]; `None` where it doesn't look.
    pub outside_lanes_share: Option<f64>,
}

/// What the world says of a decision, and after [`Ledger::enter`] what both say.
#[derive(Debug)]
pub struct Judged<'a> {
    /// Infractions so far.
    pub counts: &'a mut Counts,
    /// Of this decision.
    pub terms: &'a mut RewardTerms,
    /// The info row.
    pub info: &'a mut [f64; INFO.len()],
    /// The episode has ended.
    pub terminated: bool,
    /// The episode was cut off.
    pub truncated: bool,
}

const COLLISIONS: [usize; 3] = [
    infraction::COLLISION_VEHICLE,
    infraction::COLLISION_STATIC,
    infraction::COLLISION_WALKER,
];

/// Where a name is; names that aren't there don't compile.
const fn place(names: &[&str], name: &str) -> usize {
    let mut at = 0;
    while at < names.len() {
        let (one, other) = (names[at].as_bytes(), name.as_bytes());
        let mut same = 0;
        while same < one.len() && same < other.len() && one[same] == other[same] {
            same += 1;
        }
        if same == one.len() && same == other.len() {
            return at;
        }
        at += 1;
    }
    panic!("no such name")
}

macro_rules! places {
    ($names:expr; $($constant:ident = $name:literal,)*) => {
        $(const $constant: usize = place(&$names, $name);)*
    };
}

places! { INFO;
    ROUTE_COMPLETION = "route_completion",
    OUTSIDE_SHARE = "outside_lanes_share",
    REFERENCE_S = "reference_time_s",
    SIM_TIME_S = "sim_time_s",
    MIN_SPEED_SHARE = "min_speed_share",
    INFRACTION_SCORE = "infraction_score",
    DRIVING_SCORE = "driving_score",
    TIMED_SCORE = "timed_driving_score",
    SCORE_1_0 = "driving_score_1_0",
    SCORE_2_0 = "driving_score_2_0",
    COLLISION = "collision",
    FINISHED = "finished",
    BLOCKED = "blocked",
    TIMED_OUT = "timed_out",
    DEVIATED = "deviated",
    ENDED_BY_INFRACTION = "infraction",
}
places! { REWARD_TERMS;
    COLLISION_TERM = "collision",
    RED_LIGHT_TERM = "red_light",
    STOP_SIGN_TERM = "stop_sign",
    BLOCKED_TERM = "blocked",
    FINISHED_TERM = "route_finished",
    COMPLETION_TERM = "completion",
}

/// The account.
#[derive(Debug, Clone)]
pub struct Ledger {
    reference_time_s: Option<f64>,
    counts: Counts,
    completion: f64,
}

impl Ledger {
    /// An account with nothing in it; without a reference time the route's own holds.
    pub const fn new(reference_time_s: Option<f64>) -> Self {
        Self {
            reference_time_s,
            counts: [0; INFRACTIONS.len()],
            completion: 0.0,
        }
    }

    /// Adds a decision: makes the world's judgement the one of both.
    pub fn enter(&mut self, judged: &mut Judged<'_>, findings: &Findings, story: Story) {
        let info = &mut *judged.info;
        let is_finished = story == Story::Succeeded || info[FINISHED] > 0.0;
        let is_late = story == Story::TimedOut || info[TIMED_OUT] > 0.0;
        let mut counts = self.merge(judged.counts, findings);
        if story == Story::TimedOut {
            counts[infraction::TIMED_OUT] = counts[infraction::TIMED_OUT].max(1);
        }
        let driven = findings
            .route_completion
            .unwrap_or(info[ROUTE_COMPLETION])
            .min(1.0);
        let completion = if is_finished {
            1.0
        } else {
            driven.max(self.completion)
        };
        let new = |places: &[usize]| -> i64 {
            let counted = |counts: &Counts, place: usize| i64::from(counts[place]);
            let more = places
                .iter()
                .map(|&place| counted(&counts, place) - counted(&self.counts, place));
            more.sum()
        };
        let flag = |holds: bool| f32::from(u8::from(holds));
        judged.terms[COLLISION_TERM] = new(&COLLISIONS) as f32;
        judged.terms[RED_LIGHT_TERM] = new(&[infraction::RED_LIGHT]) as f32;
        judged.terms[STOP_SIGN_TERM] = new(&[infraction::STOP_SIGN]) as f32;
        judged.terms[BLOCKED_TERM] = flag(new(&[infraction::BLOCKED]) > 0);
        judged.terms[FINISHED_TERM] = flag(is_finished);
        judged.terms[COMPLETION_TERM] = (100.0 * (completion - self.completion)) as f32;
        judged.terminated |= matches!(story, Story::Succeeded | Story::Failed);
        judged.truncated |= matches!(story, Story::TimedOut | Story::EgoGone);
        judged.truncated &= !judged.terminated;

        info[ROUTE_COMPLETION] = completion;
        info[OUTSIDE_SHARE] = findings.outside_lanes_share.unwrap_or(info[OUTSIDE_SHARE]);
        info[REFERENCE_S] = self.reference_time_s.unwrap_or(info[REFERENCE_S]);
        score(info, &counts);
        let told = |holds: bool| f64::from(u8::from(holds));
        info[FINISHED] = told(is_finished);
        info[TIMED_OUT] = told(is_late && !is_finished);
        info[COLLISION] = told(COLLISIONS.iter().any(|&place| counts[place] > 0));
        info[BLOCKED] = told(counts[infraction::BLOCKED] > 0);
        info[DEVIATED] = told(counts[infraction::ROUTE_DEVIATION] > 0);
        info[ENDED_BY_INFRACTION] = told(info[ENDED_BY_INFRACTION] > 0.0 || story == Story::Failed);
        *judged.counts = counts;
        (self.counts, self.completion) = (counts, completion);
    }

    fn merge(&self, world: &Counts, findings: &Findings) -> Counts {
        let mut counts = *world;
        for (place, count) in counts.iter_mut().enumerate() {
            if findings.watched[place] && !COLLISIONS.contains(&place) {
                *count = 0;
            }
            // A criterion's event may come a tick after the world's: what was once counted stays.
            *count = (*count).max(findings.counts[place]).max(self.counts[place]);
        }
        counts
    }
}

fn score(info: &mut [f64; INFO.len()], counts: &Counts) {
    let drive = Drive {
        completion: info[ROUTE_COMPLETION],
        min_speed_share: Some(info[MIN_SPEED_SHARE]),
        outside_factor: outside_factor(info[OUTSIDE_SHARE], 1.0),
        reference_time_s: info[REFERENCE_S],
        time_s: info[SIM_TIME_S],
    };
    let scores = Scores::new(counts, &drive);
    info[INFRACTION_SCORE] = scores.infraction_score;
    info[DRIVING_SCORE] = scores.driving_score;
    info[TIMED_SCORE] = scores.timed_driving_score;
    info[SCORE_1_0] = scores.driving_score_1_0;
    info[SCORE_2_0] = scores.driving_score_2_0;
}
