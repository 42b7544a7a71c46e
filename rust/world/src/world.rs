//! One environment: a course, a state, and the step from one decision to the next.

mod locate;
mod moving;

use std::sync::Arc;

use crate::config::WorldConfig;
use crate::course::{Course, CourseBook};
use crate::dynamics::{CarState, Command, HALF_EXTENTS_M, Model};
use crate::error::Error;
use crate::events::{self, Limits};
use crate::geometry::as_sent_in_degrees;
use crate::lights::Clock;
use crate::network::users::User;
use crate::observe::{LightState, Signals};
use crate::reward::{Gathered, RewardTerms};
use crate::rng::mix;
use crate::rules;
use crate::score::{Counts, infraction};
use crate::signals::signals_ahead;
use crate::start;
use crate::state::{Ego, Ending, State, Tally};
use crate::traffic::{Slot, Tuning};
use crate::weather::Conditions;

use locate::locate_ego;

/// What all environments of one configuration share.
#[derive(Debug)]
pub struct Setup {
    /// The configuration.
    pub config: WorldConfig,
    /// Its hash; a snapshot belongs to it.
    pub config_hash: u64,
    /// The courses.
    pub courses: CourseBook,
    pub(crate) tuning: Tuning,
    pub(crate) limits: Limits,
    pub(crate) step_s: f32,
    allowed_m: f32,
}

impl Setup {
    /// Validates a configuration and computes its constants.
    ///
    /// # Errors
    /// [`Error::Config`] with every value out of range; [`Error::MapFile`] or [`Error::MapText`] for a map
    /// from a file.
    pub fn new(config: WorldConfig) -> Result<Self, Error> {
        config.validate()?;
        let step_s = config.simulation_step_s as f32;
        Ok(Self {
            config_hash: crate::hash::hash_bytes(config.to_json().as_bytes()),
            courses: CourseBook::new(&config)?,
            tuning: Tuning::new(&config.traffic),
            limits: Limits::new(&config),
            step_s,
            allowed_m: (config.map.speed_limit_mps * config.decision_s()) as f32,
            config,
        })
    }
}

/// What one decision led to.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Unweighted reward terms.
    pub reward_terms: RewardTerms,
    /// The driving ended.
    pub terminated: bool,
    /// The time was over.
    pub truncated: bool,
    /// Infractions since the start of the episode.
    pub infractions: Counts,
    /// Progress in this decision, metres.
    pub progress_m: f32,
}

/// Traffic that isn't this world's own, as those on a chain and those on a network see it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Foreign<'a> {
    pub slots: &'a [Slot],
    pub users: &'a [User],
}

/// How the ego has got on in one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved {
    /// The lane that it was in.
    pub before: u32,
    /// The distance, metres.
    pub driven_m: f32,
}

/// A decision under way: the action that is held, and what its steps have gathered so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decision {
    /// What the driver asks for.
    pub command: Command,
    /// What the steps have gathered.
    pub gathered: Gathered,
    changes: [f32; 2],
    start_m: f32,
}

/// An environment in the middle of an episode. Cloning it is the fast way to branch.
#[derive(Debug, Clone)]
pub struct World {
    setup: Arc<Setup>,
    course: Arc<Course>,
    conditions: Conditions,
    model: Model,
    /// What a simulator has the lights show, by signal; `None` where the clock decides.
    shown_lights: Option<Arc<[LightState]>>,
    pub(crate) state: State,
}

impl World {
    /// Starts the episode of a seed.
    ///
    /// # Errors
    /// [`Error::Map`] or [`Error::Lanes`] if no road comes out of the seed.
    pub fn reset(setup: Arc<Setup>, seed: u64) -> Result<Self, Error> {
        let course = setup.courses.course(&setup.config, seed)?;
        Ok(Self::on_course(setup, course, seed))
    }

    /// Starts the episode of a seed on a given course.
    pub(crate) fn on_course(setup: Arc<Setup>, course: Arc<Course>, seed: u64) -> Self {
        let conditions = Conditions::draw(&setup.config, seed);
        let start = start::draw(&setup.config, &conditions, &course, &setup.tuning, seed);
        let (lane, s_m) = start.place;
        let sample = course.map.sample(lane, s_m);
        let car = CarState::moving(
            sample.pose.x,
            sample.pose.y,
            as_sent_in_degrees(sample.pose.yaw_rad),
            start.ego_speed_mps,
        );
        let ego = Ego {
            car,
            z: sample.pose.z,
            lane,
            s_m,
            lateral_m: 0.0,
            heading_error_rad: 0.0,
            station_m: 0.0,
            action: [0.0; 2],
        };
        let rank = events::rank(&course, lane);
        let corners = events::corner_ranks(rank, 0.0, 0.0, sample.width_m);
        let tally = Tally {
            corners,
            ..Tally::default()
        };
        let state = State {
            seed,
            stream: seed,
            frame: 0,
            ego,
            vehicles: start.vehicles,
            ways: start.ways,
            walkers: start.walkers,
            tally,
            ending: Ending::default(),
        };
        Self::from_parts(setup, course, state)
    }

    /// A world around a state that was checked against the course.
    pub(crate) fn from_parts(setup: Arc<Setup>, course: Arc<Course>, state: State) -> Self {
        let conditions = Conditions::draw(&setup.config, state.seed);
        let model = Model::new(setup.config.ego.dynamics, setup.step_s, &conditions.traits);
        Self {
            setup,
            course,
            conditions,
            model,
            shown_lights: None,
            state,
        }
    }

    /// Whether it belongs to a batch with this set-up.
    pub(crate) fn is_of(&self, setup: &Arc<Setup>) -> bool {
        Arc::ptr_eq(&self.setup, setup)
    }

    /// Becomes a copy of another world; what was allocated is used again.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        let Self {
            setup,
            course,
            conditions,
            model,
            state,
            shown_lights,
        } = self;
        if !Arc::ptr_eq(setup, &other.setup) {
            *setup = Arc::clone(&other.setup);
        }
        if !Arc::ptr_eq(course, &other.course) {
            *course = Arc::clone(&other.course);
        }
        (*conditions, *model) = (other.conditions, other.model);
        state.copy_from(&other.state);
        shown_lights.clone_from(&other.shown_lights);
    }

    /// Lets everything that is still to be drawn come out differently from here on: by number, so that branches of
    /// one state differ from each other, and the same number gives the same future.
    pub fn fork(&mut self, number: u64) {
        self.state.stream = mix(self.state.stream ^ mix(number.wrapping_add(1)));
    }

    /// Weather, traits and density that were drawn for this episode.
    pub const fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// The state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The road.
    pub fn course(&self) -> &Course {
        &self.course
    }

    /// The road, to be shared.
    pub(crate) fn shared_course(&self) -> Arc<Course> {
        Arc::clone(&self.course)
    }

    /// What it shares with others.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Whether the episode has ended.
    pub const fn has_ended(&self) -> bool {
        self.state.ending.is_terminated() || self.state.ending.timed_out
    }

    /// Simulated time since the start, seconds.
    pub fn time_s(&self) -> f64 {
        f64::from(self.state.frame) * self.setup.config.simulation_step_s
    }

    /// Reference time of the route, seconds.
    pub fn reference_time_s(&self) -> f64 {
        self.course.reference_time_s
    }

    /// Holds an action (steer, signed pedal; clipped to [-1, 1]) for one decision.
    ///
    /// The caller has checked that the action is finite and the episode still runs; otherwise the
    /// outcome is that of standing still in an ended episode.
    pub fn step(&mut self, action: [f32; 2]) -> Outcome {
        let mut decision = self.begin(action);
        for _ in 0..self.setup.config.decision_steps {
            if self.has_ended() {
                break;
            }
            self.simulate(&mut decision);
        }
        self.conclude(decision)
    }

    /// Takes an action, clipped, as the one that is held from now on.
    pub(crate) fn begin(&mut self, action: [f32; 2]) -> Decision {
        let action = action.map(|value| {
            if value.is_nan() {
                0.0
            } else {
                value.clamp(-1.0, 1.0)
            }
        });
        let changes = [0, 1].map(|axis| (action[axis] - self.state.ego.action[axis]).abs());
        self.state.ego.action = action;
        Decision {
            command: Command::from_action(action),
            changes,
            start_m: self.state.ego.station_m,
            gathered: Gathered::default(),
        }
    }

    /// What a decision has led to.
    pub(crate) fn conclude(&self, decision: Decision) -> Outcome {
        let Decision {
            changes,
            start_m,
            mut gathered,
            ..
        } = decision;
        let length_m = self.course.route.length_m();
        gathered.progress_m = self.state.ego.station_m.min(length_m) - start_m.min(length_m);
        gathered.completion = 100.0 * gathered.progress_m / length_m;
        let allowed_m = self.allowed_m();
        Outcome {
            reward_terms: gathered.terms(allowed_m, changes),
            terminated: self.state.ending.is_terminated(),
            truncated: self.state.ending.is_truncated(),
            infractions: self.state.tally.counts,
            progress_m: gathered.progress_m,
        }
    }

    /// The distance that the limit allows in one decision, metres.
    fn allowed_m(&self) -> f32 {
        if self.course.network.is_none() {
            return self.setup.allowed_m;
        }
        let ego = &self.state.ego;
        let limit_mps = self.course.map.speed_limit_mps(ego.lane, ego.s_m);
        limit_mps.max(0.5) * self.setup.config.decision_s() as f32
    }

    /// What the lights show now.
    pub fn clock(&self) -> Clock<'_> {
        let times_s = self.setup.config.map.lights_s;
        Clock::new(&self.course.map, times_s, self.state.seed, self.time_s())
            .showing(self.shown_lights.as_deref())
    }

    /// Has the lights show what somebody else says, by signal; `None` gives them back to the clock.
    pub(crate) fn show_lights(&mut self, shown: Option<Arc<[LightState]>>) {
        self.shown_lights = shown;
    }

    /// Finds the ego on the road without counting a step.
    pub(crate) fn find_ego(&mut self) {
        let course = Arc::clone(&self.course);
        locate_ego(&mut self.state, &course);
        let (ego, changes) = (&self.state.ego, &mut self.state.tally);
        let width_m = course.map.sample(ego.lane, ego.s_m).width_m;
        let rank = events::rank(&course, ego.lane);
        changes.corners = events::corner_ranks(rank, ego.lateral_m, ego.heading_error_rad, width_m);
        changes.lane_changes = 0;
    }

    /// The light and the stop sign ahead of the ego. A sign that it has stopped at is no longer told.
    pub fn signals(&self) -> Signals {
        if self.course.network.is_none() {
            return Signals::default();
        }
        let (ego, clock) = (&self.state.ego, self.clock());
        let mut signals = signals_ahead(
            &self.course.map,
            &self.course.route,
            &ego.place(),
            ego.station_m,
            HALF_EXTENTS_M.0,
            |light| clock.shows(light),
        );
        if self.state.tally.rules.has_stopped {
            signals.stop_sign_m = None;
        }
        signals
    }

    /// One step of the simulation.
    fn simulate(&mut self, decision: &mut Decision) {
        self.move_traffic(&Foreign::default(), &mut decision.gathered);
        self.model.advance(
            &mut self.state.ego.car,
            decision.command,
            self.conditions.weather.friction,
        );
        let moved = self.note_motion();
        self.judge_rules(moved, &mut decision.gathered);
        if self.course.network.is_some() {
            rules::meet_walkers(&mut self.state, &mut decision.gathered);
        }
        events::judge(
            &mut self.state,
            &self.course,
            &self.setup.limits,
            &mut decision.gathered,
        );
        self.note_time();
    }

    /// Finds the ego on the road after it has moved, and counts the step.
    pub(crate) fn note_motion(&mut self) -> Moved {
        let before = self.state.ego.lane;
        locate_ego(&mut self.state, &self.course);
        let driven_m = self.state.ego.car.speed_mps * self.setup.step_s;
        self.state.tally.distance_m += f64::from(driven_m);
        self.state.frame += 1;
        Moved { before, driven_m }
    }

    /// Looks at the state by the rules of a network, where there is one.
    pub(crate) fn judge_rules(&mut self, moved: Moved, gathered: &mut Gathered) {
        if self.course.network.is_none() {
            return;
        }
        let course = Arc::clone(&self.course);
        let times_s = self.setup.config.map.lights_s;
        let shown = self.shown_lights.clone();
        let clock = Clock::new(&course.map, times_s, self.state.seed, self.time_s())
            .showing(shown.as_deref());
        rules::judge(&mut self.state, &course, &clock, moved, gathered);
    }

    /// Ends the episode when its time is over.
    pub(crate) fn note_time(&mut self) {
        let limit_s = self.reference_time_s() * self.setup.config.time_limit_factor;
        if self.time_s() >= limit_s && !self.has_ended() {
            self.state.ending.timed_out = true;
            self.state.tally.counts[infraction::TIMED_OUT] += 1;
        }
    }

    /// The ego's model, of this episode's traits.
    pub(crate) const fn model(&self) -> &Model {
        &self.model
    }
}
