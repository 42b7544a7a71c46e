//! What a world tells: the observation and the info row.

use carla_online_roads::{LanePoint, RightOfWay, RoadMap, StopLine as RoadStopLine};

use crate::dynamics::HALF_EXTENTS_M;
use crate::error::Error;
use crate::info::{INFO, Info};
use crate::lights::Clock;
use crate::network::Walker;
use crate::network::walkers::WALKER_HALF_M;
use crate::observe::{ActorKind, ActorPose, ActorView, EgoPose, LightState, Observation, observe};
use crate::raster::{Birdseye, BirdseyeKind, StopLine};
use crate::score;
use crate::state::Ego;
use crate::traffic::Vehicle;
use crate::weather::obscure;
use crate::world::World;

impl World {
    /// Writes the observation. `actors` is scratch space.
    pub fn observe(&self, actors: &mut Vec<ActorPose>, out: &mut Observation) {
        let ego = self.look(actors);
        self.describe(ego, actors, out);
    }

    /// Writes the observation of an ego and of others as they are seen.
    pub(crate) fn describe(&self, ego: EgoPose, actors: &[ActorPose], out: &mut Observation) {
        let (state, weather) = (self.state(), self.conditions().weather);
        let view = ActorView {
            map: &self.course().map,
            route: &self.course().route,
            station_hint_m: state.ego.station_m,
            ego,
            actors,
            signals: self.signals(),
            weather,
        };
        observe(&view, out);
    }

    /// Draws the bird's-eye view. `actors` is scratch space; `out` holds `kind.len()` bytes.
    ///
    /// # Errors
    /// [`Error::RasterSize`] for a map that covers too large an area.
    pub fn birdseye(
        &self,
        kind: BirdseyeKind,
        actors: &mut Vec<ActorPose>,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let ego = self.look(actors);
        self.paint(kind, &ego, actors, out)
    }

    /// Draws the bird's-eye view of an ego and of others as they are seen.
    pub(crate) fn paint(
        &self,
        kind: BirdseyeKind,
        ego: &EgoPose,
        actors: &[ActorPose],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let stops = self.stop_lines_near();
        let view = Birdseye {
            kind,
            raster: self.course().raster()?,
            map: &self.course().map,
            route: &self.course().route,
            station_m: self.state().ego.station_m,
            ego,
            actors,
            stops: &stops,
        };
        view.draw(out);
        Ok(())
    }

    /// The stop lines of the lanes that lead into the next junction, with what their lights show.
    fn stop_lines_near(&self) -> Vec<StopLine> {
        let (course, ego) = (self.course(), &self.state().ego);
        if course.network.is_none() {
            return Vec::new();
        }
        let (map, clock) = (&course.map, self.clock());
        let mut lane = ego.lane;
        for _ in 0..8 {
            let lines = map.stop_lines(lane);
            if !lines.is_empty() {
                return lines
                    .iter()
                    .map(|line| painted(map, lane, line, &clock))
                    .collect();
            }
            let Some(next) = course.route.takes(map, lane, ego.station_m) else {
                break;
            };
            lane = next;
        }
        Vec::new()
    }

    /// Puts everybody in sight into `actors` and returns the ego.
    fn look(&self, actors: &mut Vec<ActorPose>) -> EgoPose {
        let state = self.state();
        actors.clear();
        self.own_actors(actors);
        let ego = ego_pose(&state.ego);
        self.haze_over(&ego, actors);
        ego
    }

    /// Adds the traffic and everybody on foot.
    pub(crate) fn own_actors(&self, actors: &mut Vec<ActorPose>) {
        let state = self.state();
        let present = state.vehicles.iter().filter(|vehicle| !vehicle.is_gone);
        actors.extend(present.map(actor_pose));
        let adversaries = &self.setup().tuning.adversaries;
        let walkers = state.walkers.iter().enumerate();
        let is_seen = |(index, walker): &(usize, &Walker)| {
            walker.is_crossing(walker.crosswalk) || !adversaries.is_hidden(state.seed, *index)
        };
        actors.extend(
            walkers
                .filter(is_seen)
                .map(|(_, walker)| walker_pose(walker)),
        );
    }

    /// Takes from `actors` what the weather takes.
    pub(crate) fn haze_over(&self, ego: &EgoPose, actors: &mut Vec<ActorPose>) {
        let (state, haze) = (self.state(), self.conditions().weather.haze);
        obscure(actors, ego, haze, state.seed, state.frame);
    }

    /// The info row; `progress_m` is that of the last decision, 0 after a reset.
    pub fn info(&self, progress_m: f32) -> [f64; INFO.len()] {
        let (ego, tally, ending) = (&self.state().ego, &self.state().tally, &self.state().ending);
        let length_m = f64::from(self.course().route.length_m());
        let completion = if ending.finished {
            1.0
        } else {
            (f64::from(ego.station_m) / length_m).clamp(0.0, 1.0)
        };
        let outside_factor = score::outside_factor(tally.rules.outside_m, tally.distance_m);
        let reference_s = self.reference_time_s();
        let drive = score::Drive {
            completion,
            min_speed_share: tally.min_speed_share(),
            outside_factor,
            reference_time_s: reference_s,
            time_s: self.time_s(),
        };
        let scores = score::Scores::new(&tally.counts, &drive);
        let near = f64::from(tally.near_steps.max(1));
        let flag = |value: bool| f64::from(u8::from(value));
        let info = Info {
            progress_m: f64::from(progress_m),
            route_completion: completion,
            driving_score: scores.driving_score,
            timed_driving_score: scores.timed_driving_score,
            infraction_score: scores.infraction_score,
            sim_time_s: self.time_s(),
            frame: f64::from(self.state().frame),
            reference_time_s: reference_s,
            time_limit_s: reference_s * self.setup().config.time_limit_factor,
            route_length_m: length_m,
            distance_m: tally.distance_m,
            speed_mps: f64::from(ego.car.speed_mps),
            collision: flag(ending.collision),
            finished: flag(ending.finished),
            off_road: flag(ending.off_road),
            blocked: flag(ending.blocked),
            timed_out: flag(ending.timed_out),
            infraction: flag(ending.infraction),
            lane_changes: f64::from(tally.lane_changes),
            near_traffic_speed_mps: tally.traffic_speed_sum / near,
            min_speed_share: tally.min_speed_share().unwrap_or(1.0),
            deviated: flag(ending.deviated),
            outside_lanes_share: 1.0 - outside_factor,
            driving_score_1_0: scores.driving_score_1_0,
            driving_score_2_0: scores.driving_score_2_0,
            least_ttc_s: f64::from(tally.ease.least_ttc_s),
            short_ttc_events: f64::from(tally.ease.short_ttcs),
            discomfort_events: f64::from(tally.ease.discomforts.iter().sum::<i32>()),
        };
        info.row()
    }
}

fn actor_pose(vehicle: &Vehicle) -> ActorPose {
    let (sin, cos) = (libm::sinf(vehicle.yaw_rad), libm::cosf(vehicle.yaw_rad));
    ActorPose {
        kind: ActorKind::Vehicle,
        x: vehicle.x,
        y: vehicle.y,
        z: vehicle.z,
        yaw_rad: vehicle.yaw_rad,
        velocity_mps: (vehicle.speed_mps * cos, vehicle.speed_mps * sin),
        half_extents_m: vehicle.half_extents_m(),
        lane_hint: Some(LanePoint {
            lane: vehicle.lane,
            s_m: vehicle.s_m,
            lateral_m: vehicle.lateral_m,
        }),
    }
}

/// A line across its lane; what must be obeyed without a light counts as red.
fn painted(map: &RoadMap, lane: u32, line: &RoadStopLine, clock: &Clock) -> StopLine {
    let sample = map.sample(lane, line.s_m);
    let (sin, cos) = libm::sincosf(sample.pose.yaw_rad);
    let half_m = 0.5 * sample.width_m;
    let end = |side: f32| {
        [
            sample.pose.x - side * half_m * sin,
            sample.pose.y + side * half_m * cos,
        ]
    };
    let state = match (line.rule, &line.light) {
        (RightOfWay::Light, Some(light)) => clock.shows(light),
        (RightOfWay::Stop, _) => LightState::Red,
        _ => LightState::Green,
    };
    StopLine {
        ends: [end(-1.0), end(1.0)],
        state,
    }
}

fn walker_pose(walker: &Walker) -> ActorPose {
    let (sin, cos) = libm::sincosf(walker.yaw_rad);
    ActorPose {
        kind: ActorKind::Walker,
        x: walker.x,
        y: walker.y,
        z: walker.z,
        yaw_rad: walker.yaw_rad,
        velocity_mps: (walker.speed_mps * cos, walker.speed_mps * sin),
        half_extents_m: WALKER_HALF_M,
        lane_hint: None,
    }
}

pub(crate) fn ego_pose(ego: &Ego) -> EgoPose {
    let car = &ego.car;
    EgoPose {
        x: car.x,
        y: car.y,
        z: ego.z,
        yaw_rad: car.yaw_rad,
        velocity_mps: car.velocity_mps(),
        speed_mps: car.speed_mps,
        yaw_rate_radps: car.yaw_rate_radps,
        forward_mps2: car.acceleration_mps2,
        lateral_mps2: car.lateral_acceleration_mps2(),
        throttle: car.throttle,
        brake: car.brake,
        steer: ego.action[0],
        gear: i32::from(car.gear),
        half_extents_m: HALF_EXTENTS_M,
        lane_hint: Some(ego.place()),
    }
}
