//! The lights' clock: which phase of a group is on, and its colour.
//!
//! A function of the seed and the time, so lights need no place in a snapshot. Phases take turns as CARLA's
//! server has it; each group starts at a point of its cycle that the seed draws.

use carla_online_roads::{Light, RoadMap};

use crate::observe::LightState;
use crate::rng::{Purpose, Stream};

/// The clock of an episode.
#[derive(Debug, Clone, Copy)]
pub struct Clock<'a> {
    map: &'a RoadMap,
    /// Green, yellow, all red, seconds.
    times_s: [f64; 3],
    seed: u64,
    now_s: f64,
    /// What somebody else has the lights show, by signal, in place of the clock.
    shown: Option<&'a [LightState]>,
}

impl<'a> Clock<'a> {
    /// The clock at a time.
    pub const fn new(map: &'a RoadMap, times_s: [f64; 3], seed: u64, now_s: f64) -> Self {
        Self {
            map,
            times_s,
            seed,
            now_s,
            shown: None,
        }
    }

    /// The same, where somebody else says what each signal's light shows; `None` leaves it to the clock.
    #[must_use]
    pub const fn showing(self, shown: Option<&'a [LightState]>) -> Self {
        Self { shown, ..self }
    }

    /// The phase of a group that isn't red all the time, and its colour.
    pub fn phase(&self, group: u32) -> (u32, LightState) {
        let phases = self.map.light_groups()[group as usize].phases.len().max(1);
        let [green_s, yellow_s, red_s] = self.times_s;
        let turn_s = green_s + yellow_s + red_s;
        let cycle_s = turn_s * phases as f64;
        let offset = Stream::new(self.seed, Purpose::Lights, u64::from(group), 0).unit();
        let at_s = (self.now_s + offset * cycle_s) % cycle_s;
        let phase = ((at_s / turn_s) as u32).min(phases as u32 - 1);
        let within_s = at_s - turn_s * f64::from(phase);
        let colour = if within_s < green_s {
            LightState::Green
        } else if within_s < green_s + yellow_s {
            LightState::Yellow
        } else {
            LightState::Red
        };
        (phase, colour)
    }

    /// What the lights of a group's phase show.
    pub fn colour(&self, group: u32, phase: u16) -> LightState {
        let phases = &self.map.light_groups()[group as usize].phases;
        let signal = phases
            .get(usize::from(phase))
            .and_then(|turn| turn.lights.first().copied());
        self.shows(&Light {
            signal: signal.unwrap_or_default(),
            group,
            phase,
        })
    }

    /// What a light shows.
    pub fn shows(&self, light: &Light) -> LightState {
        if let Some(state) = self
            .shown
            .and_then(|shown| shown.get(light.signal as usize))
        {
            return *state;
        }
        let (phase, colour) = self.phase(light.group);
        if phase == u32::from(light.phase) {
            colour
        } else {
            LightState::Red
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carla_online_roads::{MapKind, MapSpec};

    /// Each phase has its green once a cycle, and never two of them at a time: counted second by second.
    #[test]
    fn phases_take_turns_and_never_overlap() {
        let text = MapSpec::new(MapKind::FourWay, 3).to_xodr().unwrap();
        let map = RoadMap::parse(&text).unwrap();
        let groups = map.light_groups();
        assert_eq!(groups.len(), 1);
        let phases = groups[0].phases.len();
        let mut seconds = vec![[0; 3]; phases];
        for second in 0..15 * phases {
            let clock = Clock::new(&map, [10.0, 3.0, 2.0], 9, second as f64 + 0.5);
            let mut open = 0;
            for (phase, counted) in seconds.iter_mut().enumerate() {
                let light = Light {
                    signal: groups[0].phases[phase].lights[0],
                    group: 0,
                    phase: phase as u16,
                };
                let state = clock.shows(&light);
                open += usize::from(state != LightState::Red);
                counted[state as usize] += 1;
            }
            assert!(open <= 1);
        }
        for counted in seconds {
            assert_eq!(counted, [15 * phases - 13, 3, 10]);
        }
    }
}
