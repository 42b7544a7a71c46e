//! The one observation builder.
//!
//! It knows transforms, velocities, boxes, light states and the map, wherever they came from: this
//! world today, a CARLA server through its snapshots later. That the same state gives the same
//! numbers on both ways is what lets a policy carry over, so nothing of this world's internals may
//! enter here. `lane_hint` is a place to start searching from and changes no result.
//!
//! All values are in the ego's frame or relative, divided by the published scale, finite, and
//! clipped to [-10, 10]. The layout is final: see [`layout`].

use carla_online_roads::{LaneIndex, LanePoint, RoadMap};

use crate::place::Whereabouts;
use crate::route::Route;

mod gaps;
mod groups;
pub(crate) mod layout;
pub(crate) use groups::on_route;
pub use layout::{Field, GROUPS, OBSERVATION_DIM, layout};

/// One observation.
pub type Observation = [f32; OBSERVATION_DIM];

/// How far vehicles are seen, metres.
pub const SIGHT_M: f32 = 80.0;
/// Largest magnitude of any value.
pub const CLIP: f32 = 10.0;
/// Lanes along the route that one look ahead crosses at most.
const MOST_HOPS: u32 = 16;

/// What kind of thing an actor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// Anything that drives.
    Vehicle,
    /// Anybody on foot.
    Walker,
}

/// Another road user.
#[derive(Debug, Clone, Copy)]
pub struct ActorPose {
    /// Its kind.
    pub kind: ActorKind,
    /// Centre, metres, CARLA's frame.
    pub x: f32,
    /// Centre, metres.
    pub y: f32,
    /// Height, metres.
    pub z: f32,
    /// Heading, radians.
    pub yaw_rad: f32,
    /// Velocity, m/s, world frame.
    pub velocity_mps: (f32, f32),
    /// Half length and half width, metres.
    pub half_extents_m: (f32, f32),
    /// Where to start looking for its lane.
    pub lane_hint: Option<LanePoint>,
}

/// The ego.
#[derive(Debug, Clone, Copy)]
pub struct EgoPose {
    /// Centre, metres, CARLA's frame.
    pub x: f32,
    /// Centre, metres.
    pub y: f32,
    /// Height, metres.
    pub z: f32,
    /// Heading, radians.
    pub yaw_rad: f32,
    /// Velocity, m/s, world frame.
    pub velocity_mps: (f32, f32),
    /// Forward speed, m/s.
    pub speed_mps: f32,
    /// Clockwise, rad/s.
    pub yaw_rate_radps: f32,
    /// Forward acceleration, m/s2.
    pub forward_mps2: f32,
    /// Acceleration to the right, m/s2.
    pub lateral_mps2: f32,
    /// Throttle as it has reached the engine, 0 to 1.
    pub throttle: f32,
    /// Brake as it has reached the wheels, 0 to 1.
    pub brake: f32,
    /// The steer of the last action, -1 to 1.
    pub steer: f32,
    /// Gear; 0 is neutral, -1 reverse.
    pub gear: i32,
    /// Half length and half width, metres.
    pub half_extents_m: (f32, f32),
    /// Where to start looking for its lane.
    pub lane_hint: Option<LanePoint>,
}

/// The state of a traffic light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LightState {
    /// Stop.
    Red,
    /// Stop if you can.
    Yellow,
    /// Go.
    Green,
}

/// What holds for the ego at the next junction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signals {
    /// The light ahead and the distance to its stop line, metres.
    pub light: Option<(LightState, f32)>,
    /// Distance to the stop sign ahead, metres.
    pub stop_sign_m: Option<f32>,
}

/// Weather, as far as it acts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// How much rain and fog take of the sight, 0 to 1.
    pub haze: f32,
    /// Wetness of the road, 0 to 1.
    pub wetness: f32,
    /// Tyre friction, 1 is dry.
    pub friction: f32,
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            haze: 0.0,
            wetness: 0.0,
            friction: 1.0,
        }
    }
}

/// Everything an observation is made of.
#[derive(Debug, Clone, Copy)]
pub struct ActorView<'a> {
    /// The map.
    pub map: &'a RoadMap,
    /// The ego's route.
    pub route: &'a Route,
    /// Station on the route where the ego was last, metres; where a route crosses itself it decides.
    pub station_hint_m: f32,
    /// The ego.
    pub ego: EgoPose,
    /// Everybody else, in any order.
    pub actors: &'a [ActorPose],
    /// Lights and signs.
    pub signals: Signals,
    /// Weather.
    pub weather: Weather,
}

/// The ego's place, found once and used by every group.
struct Place {
    at: LanePoint,
    lane_yaw_rad: f32,
    width_m: f32,
    heading: (f32, f32),
    /// Station on the route and the piece it belongs to; `None` off the route.
    on_route: Option<(f32, usize)>,
}

impl Place {
    /// A point in the ego's frame: forward and to the right, metres.
    fn to_ego(&self, dx: f32, dy: f32) -> (f32, f32) {
        (
            dx * self.heading.0 + dy * self.heading.1,
            dy * self.heading.0 - dx * self.heading.1,
        )
    }
}

/// Writes the observation of a view. An ego that is nowhere near a road sees zeros.
pub fn observe(view: &ActorView, out: &mut Observation) {
    out.fill(0.0);
    let ego = &view.ego;
    let pose = Whereabouts {
        x: ego.x,
        y: ego.y,
        z: ego.z,
        yaw_rad: ego.yaw_rad,
    };
    let Some(at) = crate::place::place(
        view.map,
        view.route,
        view.station_hint_m,
        ego.lane_hint,
        &pose,
    ) else {
        return;
    };
    let sample = view.map.sample(at.lane, at.s_m);
    let place = Place {
        at,
        lane_yaw_rad: sample.pose.yaw_rad,
        width_m: sample.width_m,
        heading: (libm::cosf(ego.yaw_rad), libm::sinf(ego.yaw_rad)),
        on_route: view.route.station(view.map, &at, view.station_hint_m),
    };
    groups::ego(view, &place, out);
    gaps::lane_gaps(view, &place, out);
    groups::route(view, &place, out);
    groups::lights(view, &place, out);
    groups::actors(view, &place, out);
    groups::weather(view, out);
    for value in out.iter_mut() {
        *value = if value.is_finite() {
            value.clamp(-CLIP, CLIP)
        } else {
            0.0
        };
    }
}

/// The place `distance_m` ahead on the same lane, then along the route where it goes on there, else along
/// the first successors.
fn ahead(view: &ActorView, at: (LaneIndex, f32), distance_m: f32) -> Option<LanePoint> {
    let map = view.map;
    let (mut lane, mut s_m) = at;
    if view.route.is_planned() {
        for _ in 0..MOST_HOPS {
            let length_m = map.lanes()[lane as usize].length_m;
            if s_m + distance_m <= length_m {
                break;
            }
            let Some(next) = view.route.takes(map, lane, view.station_hint_m) else {
                break;
            };
            s_m -= length_m;
            lane = next;
        }
    }
    straight_on(map, lane, s_m, distance_m)
}

/// The place `distance_m` ahead on the same lane or its first successors.
fn straight_on(map: &RoadMap, lane: LaneIndex, s_m: f32, distance_m: f32) -> Option<LanePoint> {
    if s_m + distance_m <= map.lanes()[lane as usize].length_m {
        return Some(LanePoint {
            lane,
            s_m: s_m + distance_m,
            lateral_m: 0.0,
        });
    }
    map.advance(lane, s_m, distance_m)
}
