//! What an actor stands on: the nearest road's height, everywhere, and gravity.

use carla_online_roads::{LanePoint, RoadMap};

use crate::stage::pose::Rotation;

/// Acceleration of free fall, m/s2.
pub const GRAVITY_MPS2: f32 = 9.81;
/// Within this of the ground a standing actor follows it, metres.
const FOLLOW_M: f32 = 0.5;
/// An actor deeper than this below the ground was put there on purpose: scripts park cars at z = -500.
const BURIED_M: f32 = 3.0;
/// Half the distance over which a slope is taken: about that between the axles, metres.
const HALF_SPAN_M: f32 = 1.3;
/// Nothing falls deeper.
const DEEPEST_M: f32 = -10_000.0;

/// How an actor stands, and where it was found last.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Footing {
    place: Option<LanePoint>,
    /// Height on which it stood last, metres; none since it was put where it is.
    level_m: Option<f32>,
    /// Whether it stands.
    pub is_grounded: bool,
}

/// The ground under an actor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ground {
    /// Height, metres.
    pub z: f32,
    /// Speed limit of the nearest lane, m/s.
    pub speed_limit_mps: f32,
}

impl Footing {
    /// The ground at a place: the height of the nearest lane, however far.
    pub fn find(&mut self, map: &RoadMap, [x, y, z]: [f32; 3]) -> Ground {
        let place = self
            .place
            .and_then(|place| follow(map, place, x, y))
            .or_else(|| map.locate(x, y, z, None));
        self.place = place;
        place.map_or(
            Ground {
                z: 0.0,
                speed_limit_mps: 30.0 / 3.6,
            },
            |place| Ground {
                z: map.sample(place.lane, place.s_m).pose.z,
                speed_limit_mps: map.speed_limit_mps(place.lane, place.s_m),
            },
        )
    }

    /// How an actor with this heading stands on the ground that was found last.
    pub fn tilt(&self, map: &RoadMap, rotation: &Rotation) -> Rotation {
        match &self.place {
            Some(place) => tilt(map, place, rotation),
            None => *rotation,
        }
    }

    /// Forgets the last place, as after a jump to another.
    pub fn lift(&mut self) {
        *self = Self::default();
    }

    /// Height and vertical speed after one step of `dt_s`.
    ///
    /// Beside the roads the nearest one may pass high above; who has come there on the ground goes on at its level.
    pub fn settle(&mut self, z: f32, rise_mps: f32, ground_z: f32, dt_s: f32) -> (f32, f32) {
        let ground_z = match self.level_m {
            Some(level_m) if z - ground_z < -BURIED_M => level_m.min(z),
            _ => ground_z,
        };
        let settled = self.sink(z, rise_mps, ground_z, dt_s);
        if self.is_grounded {
            self.level_m = Some(ground_z);
        }
        settled
    }

    fn sink(&mut self, z: f32, rise_mps: f32, ground_z: f32, dt_s: f32) -> (f32, f32) {
        let gap = z - ground_z;
        if self.is_grounded && rise_mps <= 0.0 && gap.abs() < FOLLOW_M {
            return (ground_z, 0.0);
        }
        let rise_mps = rise_mps - GRAVITY_MPS2 * dt_s;
        let next = z + rise_mps * dt_s;
        self.is_grounded = gap > -BURIED_M && next <= ground_z;
        if self.is_grounded {
            (ground_z, 0.0)
        } else {
            (next.max(DEEPEST_M), rise_mps)
        }
    }
}

/// The rotation that lies on a lane's slope with the heading of another. Roads are level across.
pub fn tilt(map: &RoadMap, place: &LanePoint, rotation: &Rotation) -> Rotation {
    let length_m = map.lanes()[place.lane as usize].length_m;
    let (behind_m, ahead_m) = (
        (place.s_m - HALF_SPAN_M).max(0.0),
        (place.s_m + HALF_SPAN_M).min(length_m),
    );
    let [behind, ahead] = [behind_m, ahead_m].map(|s_m| map.sample(place.lane, s_m).pose.z);
    let level = Rotation::level(rotation.yaw_deg);
    if ahead == behind {
        return level;
    }
    let slope = (ahead - behind) / (ahead_m - behind_m).max(0.1);
    let turn_rad = rotation.yaw_rad() - map.sample(place.lane, place.s_m).pose.yaw_rad;
    let (sin, cos) = libm::sincosf(turn_rad);
    Rotation {
        pitch_deg: libm::atanf(slope * cos).to_degrees(),
        roll_deg: libm::atanf(slope * sin).to_degrees(),
        ..level
    }
}

/// The place beside a point on the lane of the last step, if the point is still on that lane.
fn follow(map: &RoadMap, last: LanePoint, x: f32, y: f32) -> Option<LanePoint> {
    let place = map.project(last.lane, x, y, last.s_m);
    let is_inside = place.s_m > 0.0 && place.s_m < map.lanes()[last.lane as usize].length_m;
    let half_width = 0.5 * map.sample(last.lane, place.s_m).width_m;
    (is_inside && place.lateral_m.abs() <= half_width).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_S: f32 = 0.05;

    fn standing_at(z: f32) -> Footing {
        let mut footing = Footing::default();
        assert_eq!(footing.settle(z, 0.0, z, STEP_S), (z, 0.0));
        footing
    }

    #[test]
    fn whoever_drives_off_the_road_under_another_stays_on_the_ground() {
        let mut footing = standing_at(0.2);
        for _ in 0..100 {
            assert_eq!(footing.settle(0.2, 0.0, 9.0, STEP_S), (0.2, 0.0));
        }
        assert_eq!(footing.settle(0.2, 0.0, 0.1, STEP_S), (0.1, 0.0));
    }

    #[test]
    fn a_jump_under_a_bridge_ends_where_it_began() {
        let mut footing = standing_at(0.0);
        let (mut z, mut rise) = (0.0, 4.0);
        for _ in 0..40 {
            (z, rise) = footing.settle(z, rise, 9.0, STEP_S);
            assert!((0.0..1.0).contains(&z), "{z}");
        }
        assert_eq!((z, rise, footing.is_grounded), (0.0, 0.0, true));
    }

    #[test]
    fn who_was_put_deep_below_falls_and_who_is_put_there_later_does_too() {
        let mut footing = Footing::default();
        assert!(footing.settle(-500.0, 0.0, 0.0, STEP_S).0 < -500.0);
        let mut footing = standing_at(0.0);
        footing.lift();
        assert!(footing.settle(-500.0, 0.0, 0.0, STEP_S).0 < -500.0);
    }
}
