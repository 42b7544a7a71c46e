//! The traffic lights of a drive that happens elsewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use carla_online_roads::{LaneIndex, Light};

use super::Mirror;
use crate::network::NOWHERE;
use crate::observe::{LightState, on_route};

impl Mirror {
    /// What the traffic lights show, by the number of their signal in the OpenDRIVE file.
    pub fn lights(&self) -> Vec<(&str, LightState)> {
        let (map, clock) = (&self.world.course().map, self.world.clock());
        let mut shown = Vec::new();
        for (group, lights) in map.light_groups().iter().enumerate() {
            for (phase, turn) in lights.phases.iter().enumerate() {
                shown.extend(turn.lights.iter().map(|&signal| {
                    let light = Light {
                        signal,
                        group: group as u32,
                        phase: phase as u16,
                    };
                    (&*map.signals()[signal as usize].id, clock.shows(&light))
                }));
            }
        }
        shown
    }

    /// Has each light show what the simulator shows, by the number of its signal; lights that aren't named are red.
    pub fn show_lights(&mut self, lights: &[(String, LightState)]) {
        let shown: BTreeMap<&str, LightState> = lights
            .iter()
            .map(|(id, state)| (id.as_str(), *state))
            .collect();
        let signals = self.world.course().map.signals().iter();
        let states =
            signals.map(|signal| shown.get(&*signal.id).copied().unwrap_or(LightState::Red));
        let states: Arc<[LightState]> = states.collect();
        self.world.show_lights(Some(states));
    }

    /// The lights that say anything to the ego within `reach_m` of its lanes, straight on, over and around the next
    /// corners, on its route or not; by the number of their signal.
    pub fn lights_ahead(&self, reach_m: f32) -> Vec<&str> {
        let course = self.world.course();
        let (map, ego) = (&course.map, &self.world.state.ego);
        let planned = on_route(map, &course.route, ego.station_m);
        let mut open: VecDeque<(LaneIndex, f32)> = VecDeque::from([(ego.lane, -ego.s_m)]);
        open.extend(planned.map(|at| (at.lane, -at.s_m)));
        let mut seen: BTreeSet<LaneIndex> = BTreeSet::new();
        let mut phases: BTreeSet<(u32, u16)> = BTreeSet::new();
        let mut signals: BTreeSet<u32> = BTreeSet::new();
        while let Some((index, from_m)) = open.pop_front() {
            if from_m > reach_m || !seen.insert(index) {
                continue;
            }
            let lights = map.stop_lines(index).iter().filter_map(|line| line.light);
            for light in lights {
                signals.insert(light.signal);
                phases.insert((light.group, light.phase));
            }
            let lane = &map.lanes()[index as usize];
            let beside = lane.left.iter().chain(&lane.right);
            open.extend(beside.map(|&next| (next, from_m)));
            let after = lane.successors.iter();
            open.extend(after.map(|&next| (next, from_m + lane.length_m)));
        }
        // The light that is being passed, until the rear is over the line.
        let rules = &self.world.state.tally.rules;
        if rules.light_group != NOWHERE {
            phases.insert((rules.light_group, rules.light_phase as u16));
        }
        // What a whole phase shows is read off its first light.
        signals.extend(phases.iter().filter_map(|&(group, phase)| {
            let turn = &map.light_groups()[group as usize].phases[usize::from(phase)];
            turn.lights.first().copied()
        }));
        let ids = signals.iter();
        ids.map(|&signal| &*map.signals()[signal as usize].id)
            .collect()
    }
}
