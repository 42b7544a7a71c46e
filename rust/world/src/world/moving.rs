//! One step of the traffic around the ego, on a single carriageway or on a network.

use std::sync::Arc;

use super::{Foreign, World};
use crate::config::MAX_VEHICLES;
use crate::course::Course;
use crate::dynamics::HALF_EXTENTS_M;
use crate::events;
use crate::lights::Clock;
use crate::network::users::{User, Users};
use crate::network::{Network, drive};
use crate::reward::Gathered;
use crate::rules;
use crate::start;
use crate::state::State;
use crate::traffic::{self, InLane, Slot};

impl World {
    /// Compares the ego with the traffic, then moves the traffic. `foreign` is traffic that isn't this world's.
    pub(crate) fn move_traffic(&mut self, foreign: &Foreign, gathered: &mut Gathered) {
        if let Some((network, _)) = &self.course.network {
            let network = Arc::clone(network);
            self.move_on_network(&network, foreign.users, gathered);
        } else {
            self.move_on_chain(foreign.slots, gathered);
        }
    }

    fn move_on_chain(&mut self, foreign: &[Slot], gathered: &mut Gathered) {
        let (setup, course) = (&*self.setup, &*self.course);
        let now_s = self.time_s() as f32;
        let mut slots = [Slot::default(); MAX_VEHICLES + 1];
        let count = fill_slots(&self.state, course, foreign, &mut slots);
        let limit_mps = course.map.lanes()[self.state.ego.lane as usize].speed_limit_mps;
        events::compare_with_traffic(
            &mut self.state,
            &slots[count].clone(),
            &slots[..count],
            limit_mps,
            gathered,
        );
        let seeds = traffic::Seeds {
            episode: self.state.seed,
            stream: self.state.stream,
        };
        traffic::advance(
            &mut self.state.vehicles,
            &mut slots[..=count],
            course,
            &setup.tuning,
            seeds,
            now_s,
            setup.step_s,
        );
    }

    fn move_on_network(&mut self, network: &Network, foreign: &[User], gathered: &mut Gathered) {
        let signals = self.signals();
        let clock = Clock::new(
            &network.map,
            self.setup.config.map.lights_s,
            self.state.seed,
            self.time_s(),
        )
        .showing(self.shown_lights.as_deref());
        let now_s = self.time_s() as f32;
        let ego = start::ego_user(&self.course, &self.state.ego);
        let State {
            seed,
            stream,
            vehicles,
            ways,
            walkers,
            ..
        } = &mut self.state;
        let mut users = Users::new(&network.map, vehicles, ways, foreign, Some(ego));
        let step = drive::Step {
            network,
            tuning: &self.setup.tuning,
            clock,
            seed: *seed,
            stream: *stream,
            now_s,
            step_s: self.setup.step_s,
            walker_pause_s: self.setup.config.traffic.walker_pause_s,
        };
        drive::advance(&step, &mut users, vehicles, ways, walkers);
        rules::compare_with_traffic(&mut self.state, &network.map, &users, &signals, gathered);
    }
}

/// Fills the slots of all vehicles, of `foreign` ones and, behind them, of the ego; returns the number before the ego's.
fn fill_slots(
    state: &State,
    course: &Course,
    foreign: &[Slot],
    slots: &mut [Slot; MAX_VEHICLES + 1],
) -> usize {
    let own = state.vehicles.len().min(MAX_VEHICLES);
    let count = (own + foreign.len()).min(MAX_VEHICLES);
    for (slot, vehicle) in slots.iter_mut().zip(&state.vehicles) {
        *slot = if vehicle.is_gone {
            Slot::nowhere()
        } else {
            let place = InLane {
                rank: course.rank(vehicle.lane).unwrap_or_default(),
                lateral_m: vehicle.lateral_m,
                width_m: vehicle.lane_width_m,
                curvature_per_m: vehicle.lane_curvature_per_m,
            };
            Slot::new(
                vehicle.station_m,
                vehicle.speed_mps,
                vehicle.half_extents_m(),
                place,
            )
        };
    }
    slots[own..count].copy_from_slice(&foreign[..count - own]);
    let ego = &state.ego;
    let sample = course.map.sample(ego.lane, ego.s_m);
    let place = InLane {
        rank: course.rank(ego.lane).unwrap_or_default(),
        lateral_m: ego.lateral_m,
        width_m: sample.width_m,
        curvature_per_m: sample.curvature_per_m,
    };
    let station_m = course.map.station(ego.lane, ego.s_m);
    slots[count] = Slot::new(station_m, ego.car.speed_mps, HALF_EXTENTS_M, place);
    count
}
