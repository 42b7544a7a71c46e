//! What a world tells: the observation and the info row.

use carla_online_roads::LanePoint;

use crate::dynamics::HALF_EXTENTS_M;
use crate::error::Error;
use crate::info::{INFO, Info};
use crate::observe::{ActorKind, ActorPose, ActorView, EgoPose, Observation, Signals, observe};
use crate::raster::{Birdseye, BirdseyeKind};
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
            signals: Signals::default(),
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
        let view = Birdseye {
            kind,
            raster: self.course().raster()?,
            map: &self.course().map,
            route: &self.course().route,
            station_m: self.state().ego.station_m,
            ego,
            actors,
            stops: &[],
        };
        view.draw(out);
        Ok(())
    }

    /// Puts everybody in sight into `actors` and returns the ego.
    fn look(&self, actors: &mut Vec<ActorPose>) -> EgoPose {
        let state = self.state();
        actors.clear();
        let present = state.vehicles.iter().filter(|vehicle| !vehicle.is_gone);
        actors.extend(present.map(actor_pose));
        let ego = ego_pose(&state.ego);
        self.haze_over(&ego, actors);
        ego
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
        let infraction_score = score::infraction_score(&tally.counts, tally.min_speed_share());
        let driving_score = score::driving_score(completion, infraction_score);
        let reference_s = self.reference_time_s();
        let near = f64::from(tally.near_steps.max(1));
        let flag = |value: bool| f64::from(u8::from(value));
        let info = Info {
            progress_m: f64::from(progress_m),
            route_completion: completion,
            driving_score,
            timed_driving_score: score::timed_driving_score(
                driving_score,
                completion,
                reference_s,
                self.time_s(),
            ),
            infraction_score,
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
        };
        info.row()
    }
}

pub(crate) fn actor_pose(vehicle: &Vehicle) -> ActorPose {
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
