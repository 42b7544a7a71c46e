//! What a picture of a world needs.

use carla_online_roads::{MarkKind, PolylineKind, RightOfWay};

use crate::dynamics::HALF_EXTENTS_M;
use crate::network::walkers::WALKER_HALF_M;
use crate::observe::LightState;
use crate::world::World;

/// One road user's box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SceneBox {
    /// Centre, metres.
    pub x: f32,
    /// Centre, metres.
    pub y: f32,
    /// Heading, radians.
    pub yaw_rad: f32,
    /// Half length and half width, metres.
    pub half_extents_m: (f32, f32),
    /// Speed, m/s.
    pub speed_mps: f32,
}

/// One line of the road.
#[derive(Debug, Clone, PartialEq)]
pub struct SceneLine {
    /// `route`, `edge` (a solid line or the end of the road) or `lane` (a line that may be crossed).
    pub kind: &'static str,
    /// Points, metres.
    pub points: Vec<[f32; 2]>,
}

/// One stop line with what holds there now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SceneStop {
    /// Both ends, metres.
    pub ends: [[f32; 2]; 2],
    /// `red`, `yellow`, `green`, `stop` (a sign) or `yield`.
    pub state: &'static str,
}

impl World {
    /// The stop lines within a distance of the ego, with what their lights show now; none on a chain.
    pub fn stops(&self, within_m: f32) -> Vec<SceneStop> {
        if self.course().network.is_none() {
            return Vec::new();
        }
        let (map, clock, car) = (&self.course().map, self.clock(), &self.state().ego.car);
        let mut stops: Vec<SceneStop> = Vec::new();
        for lane in map.driving_lanes() {
            for line in map.stop_lines(lane) {
                let sample = map.sample(lane, line.s_m);
                let (x, y) = (sample.pose.x, sample.pose.y);
                let (dx, dy) = (x - car.x, y - car.y);
                let state = match (line.rule, &line.light) {
                    (RightOfWay::Light, Some(light)) => match clock.shows(light) {
                        LightState::Red => "red",
                        LightState::Yellow => "yellow",
                        LightState::Green => "green",
                    },
                    (RightOfWay::Stop, _) => "stop",
                    (RightOfWay::Yield, _) => "yield",
                    _ => continue,
                };
                if dx * dx + dy * dy > within_m * within_m {
                    continue;
                }
                let (sin, cos) = libm::sincosf(sample.pose.yaw_rad);
                let half_m = 0.5 * sample.width_m;
                let ends = [
                    [x + half_m * sin, y - half_m * cos],
                    [x - half_m * sin, y + half_m * cos],
                ];
                // A lane has one line for each way on; where they show the same, one is enough.
                let stop = SceneStop { ends, state };
                if !stops.contains(&stop) {
                    stops.push(stop);
                }
            }
        }
        stops
    }

    /// The ego's box and everybody else's: vehicles first, then people on foot.
    pub fn scene(&self) -> (SceneBox, Vec<SceneBox>) {
        let car = &self.state().ego.car;
        let ego = SceneBox {
            x: car.x,
            y: car.y,
            yaw_rad: car.yaw_rad,
            half_extents_m: HALF_EXTENTS_M,
            speed_mps: car.speed_mps,
        };
        let present = self
            .state()
            .vehicles
            .iter()
            .filter(|vehicle| !vehicle.is_gone);
        let actors = present.map(|vehicle| SceneBox {
            x: vehicle.x,
            y: vehicle.y,
            yaw_rad: vehicle.yaw_rad,
            half_extents_m: vehicle.half_extents_m(),
            speed_mps: vehicle.speed_mps,
        });
        let walkers = self.state().walkers.iter().map(|walker| SceneBox {
            x: walker.x,
            y: walker.y,
            yaw_rad: walker.yaw_rad,
            half_extents_m: WALKER_HALF_M,
            speed_mps: walker.speed_mps,
        });
        (ego, actors.chain(walkers).collect())
    }

    /// The lines of the road and the route, with points `step_m` apart at most.
    pub fn drawing(&self, step_m: f32) -> Vec<SceneLine> {
        let map = &self.course().map;
        let mut lines: Vec<SceneLine> = map
            .polylines(step_m)
            .into_iter()
            .filter(|line| line.kind != PolylineKind::Centre)
            .map(|line| {
                let may_cross = matches!(line.mark, MarkKind::Broken);
                let points = line
                    .points
                    .iter()
                    .map(|point| [point[0], point[1]])
                    .collect();
                SceneLine {
                    kind: if may_cross { "lane" } else { "edge" },
                    points,
                }
            })
            .collect();
        lines.push(SceneLine {
            kind: "route",
            points: self.route_points(step_m.max(0.1)),
        });
        lines
    }

    fn route_points(&self, step_m: f32) -> Vec<[f32; 2]> {
        let map = &self.course().map;
        let mut points = Vec::new();
        for segment in self.course().route.segments() {
            let length_m = segment.to_s_m - segment.from_s_m;
            let steps = (length_m / step_m).ceil().clamp(1.0, 1e6) as u32;
            points.extend((0..=steps).map(|step| {
                let s_m = segment.from_s_m + length_m * step as f32 / steps as f32;
                let pose = map.sample(segment.lane, s_m).pose;
                [pose.x, pose.y]
            }));
        }
        points
    }
}
