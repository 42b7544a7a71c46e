//! The way that one vehicle takes: the lanes ahead of it, and how it stands with the next junction.

use carla_online_roads::{LaneIndex, RoadMap};

use super::trip::any_successor;
use crate::rng::{Purpose, Stream};
use crate::traffic::NEVER_S;

/// Lanes ahead that are kept.
pub const AHEAD: usize = 8;
/// No lane, no junction.
pub const NOWHERE: u32 = u32::MAX;
/// The way is known for this far at least, unless its lanes are very short, metres.
const KNOWN_M: f32 = 90.0;

/// Lanes that follow one another, and the vehicle's standing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Way {
    /// The lane it came from, in which its tail may still be.
    pub last: LaneIndex,
    /// The lanes ahead; those from `count` on mean nothing.
    pub ahead: [LaneIndex; AHEAD],
    /// How many lanes ahead are known.
    pub count: u8,
    /// The junction that it may drive through.
    pub granted: u32,
    /// Since when it has been asking for the next junction, seconds.
    pub asked_s: f32,
    /// It has stopped at the sign that it stands at.
    pub has_stopped: bool,
    /// Turns drawn so far.
    pub turns: u32,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            last: NOWHERE,
            ahead: [NOWHERE; AHEAD],
            count: 0,
            granted: NOWHERE,
            asked_s: NEVER_S,
            has_stopped: false,
            turns: 0,
        }
    }
}

impl Way {
    /// The lanes ahead.
    pub fn lanes(&self) -> &[LaneIndex] {
        &self.ahead[..usize::from(self.count).min(AHEAD)]
    }

    /// Draws random turns until the way is known far enough.
    pub fn extend(&mut self, map: &RoadMap, lane: LaneIndex, s_m: f32, seed: u64, vehicle: usize) {
        let length_m = |lane: LaneIndex| map.lanes()[lane as usize].length_m;
        let ahead_m: f32 = self.lanes().iter().map(|&lane| length_m(lane)).sum();
        let mut known_m = length_m(lane) - s_m + ahead_m;
        while known_m < KNOWN_M && usize::from(self.count) < AHEAD {
            let end = self.lanes().last().copied().unwrap_or(lane);
            let mut stream = Stream::new(seed, Purpose::Way, vehicle as u64, u64::from(self.turns));
            let Some(next) = any_successor(map, end, &mut stream) else {
                return;
            };
            self.turns = self.turns.wrapping_add(1);
            self.ahead[usize::from(self.count)] = next;
            self.count += 1;
            known_m += length_m(next);
        }
    }

    /// Moves on to the next lane; `None` where the way ends.
    pub fn next(&mut self, lane: LaneIndex) -> Option<LaneIndex> {
        let next = *self.lanes().first()?;
        self.ahead.copy_within(1.., 0);
        self.count -= 1;
        self.last = lane;
        Some(next)
    }

    /// Forgets the way, after a lane change.
    pub fn forget(&mut self) {
        *self = Self {
            turns: self.turns,
            ..Self::default()
        };
    }
}
