//! Places where vehicles may appear.

use crate::lane::{LaneIndex, Pose};
use crate::map::RoadMap;

/// How high above the road CARLA's server puts the spawn points of an OpenDRIVE world.
const ENTRY_HEIGHT_M: f32 = 3.0;
/// How high the denser list lies: a vehicle drops this far.
const HEIGHT_M: f32 = 0.5;
/// Distance from both ends of a lane, so that no vehicle reaches into the next one.
const MARGIN_M: f32 = 6.0;
/// Narrower lanes hold no car.
const LEAST_WIDTH_M: f32 = 2.0;
const MAX_POINTS: usize = 1_000_000;

/// A place on a lane, and the pose above it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpawnPoint {
    /// The lane.
    pub lane: LaneIndex,
    /// Metres along the lane.
    pub s_m: f32,
    /// Above the lane's centre, along its driving direction.
    pub pose: Pose,
}

impl RoadMap {
    /// The spawn points of CARLA's server for a world made from OpenDRIVE text: one for each
    /// driving lane at which a road can be entered, connecting roads included, 3 m above it.
    ///
    /// The order is that of the file; CARLA's is that of a hash table.
    pub fn entry_spawn_points(&self) -> Vec<SpawnPoint> {
        let lanes = self.lanes();
        let is_last_section = |index: LaneIndex| {
            let lane = &lanes[index as usize];
            lanes[index as usize..]
                .iter()
                .take_while(|other| other.road_id == lane.road_id)
                .all(|other| other.section == lane.section)
        };
        self.driving_lanes()
            .filter(|index| {
                let lane = &lanes[*index as usize];
                if lane.runs_with_road() {
                    lane.section == 0
                } else {
                    is_last_section(*index)
                }
            })
            .map(|lane| self.spawn_point(lane, 0.0, ENTRY_HEIGHT_M))
            .collect()
    }

    /// Spawn points on all driving lanes outside of junctions and off crosswalks, `spacing_m`
    /// apart along a lane (at least 5 m), 6 m from its ends, half a metre above it.
    pub fn spawn_points(&self, spacing_m: f32) -> Vec<SpawnPoint> {
        // NaN becomes the least spacing too.
        let spacing_m = spacing_m.max(5.0);
        let mut points = Vec::new();
        for index in self.driving_lanes() {
            let lane = &self.lanes()[index as usize];
            let room_m = lane.length_m - 2.0 * MARGIN_M;
            if lane.junction.is_some() || room_m < 0.0 {
                continue;
            }
            for step in 0..=(room_m / spacing_m) as usize {
                let s_m = MARGIN_M + step as f32 * spacing_m;
                let is_clear = self.crossings(index).iter().all(|crossing| {
                    s_m + MARGIN_M <= crossing.from_m || s_m >= crossing.to_m + MARGIN_M
                });
                if is_clear
                    && self.sample(index, s_m).width_m >= LEAST_WIDTH_M
                    && points.len() < MAX_POINTS
                {
                    points.push(self.spawn_point(index, s_m, HEIGHT_M));
                }
            }
        }
        points
    }

    fn spawn_point(&self, lane: LaneIndex, s_m: f32, height_m: f32) -> SpawnPoint {
        let mut pose = self.sample(lane, s_m).pose;
        pose.z += height_m;
        SpawnPoint { lane, s_m, pose }
    }
}
