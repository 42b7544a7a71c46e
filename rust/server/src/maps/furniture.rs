//! The lights and signs of a map, as actors.

use carla_online_roads::{LaneIndex, RightOfWay, RoadMap, Signal, SignalIndex, SignalKind};
use carla_online_world::stage::actor::{Body, Bounds};
use carla_online_world::stage::lights::{Light, StopBox};
use carla_online_world::stage::pose::{Rotation, Transform};

/// Half the length of a place where a light stops vehicles; it ends at the stop line.
const HALF_STOP_M: f32 = 2.5;
/// The same for a sign: whoever halts in it has obeyed.
const HALF_SIGN_M: f32 = 1.5;
/// A sign's line is no further from it than this, metres.
const SIGN_REACH_M: f32 = 25.0;
const M_PER_S_TO_KM_PER_H: f32 = 3.6;

/// A light or sign, ready to be put on the stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixture {
    /// Blueprint id.
    pub id: String,
    /// Where it stands.
    pub pose: Transform,
    /// Of a light, a stop or a yield sign: where it stops vehicles, in its own frame.
    pub trigger: Bounds,
    /// What it is.
    pub body: Body,
}

/// Lights in the order of their groups and phases, then signs in the order of the file.
pub fn find(roads: &RoadMap) -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for (group, members) in (0..).zip(roads.light_groups()) {
        let lights = (0..)
            .zip(&members.phases)
            .flat_map(|(phase, part)| part.lights.iter().map(move |light| (phase, *light)));
        for (pole, (phase, signal)) in (0..).zip(lights) {
            fixtures.push(light(roads, signal, group, phase, pole));
        }
    }
    fixtures.extend(
        roads
            .signals()
            .iter()
            .filter_map(|signal| sign(roads, signal)),
    );
    fixtures
}

fn light(roads: &RoadMap, index: SignalIndex, group: u32, phase: u32, pole: u32) -> Fixture {
    let signal = &roads.signals()[index as usize];
    let boxes = stop_boxes(roads, index);
    // Scripts walk along a light's own x axis to find its lanes, so it looks across them.
    let yaw_deg = boxes
        .first()
        .map_or(signal.pose.yaw_rad.to_degrees(), |stop| {
            stop.pose.rotation.yaw_deg
        })
        + 90.0;
    let pose = Transform {
        location: [signal.pose.x, signal.pose.y, signal.pose.z],
        rotation: Rotation::level(yaw_deg),
    };
    let mut light = Light::new(signal.id.to_string(), group, phase, boxes);
    light.pole_index = pole;
    Fixture {
        id: "traffic.traffic_light".into(),
        pose,
        trigger: light.trigger(&pose),
        body: Body::Light(Box::new(light)),
    }
}

/// One box on every lane that the light stops, however many ways lead on from it.
fn stop_boxes(roads: &RoadMap, signal: SignalIndex) -> Vec<StopBox> {
    let mut boxes = Vec::new();
    for lane in roads.driving_lanes() {
        let is_mine = |line: &&carla_online_roads::StopLine| {
            line.light.is_some_and(|light| light.signal == signal)
        };
        let Some(line) = roads.stop_lines(lane).iter().find(is_mine) else {
            continue;
        };
        boxes.push(stop_box(roads, lane, line.s_m, HALF_STOP_M));
    }
    boxes
}

/// A box on a lane that ends at a line.
fn stop_box(roads: &RoadMap, lane: LaneIndex, line_m: f32, half_m: f32) -> StopBox {
    let sample = roads.sample(lane, (line_m - half_m).max(0.0));
    StopBox {
        pose: Transform {
            location: [sample.pose.x, sample.pose.y, sample.pose.z],
            rotation: Rotation::level(sample.pose.yaw_rad.to_degrees()),
        },
        half_m: (half_m, 0.5 * sample.width_m),
    }
}

/// One box on every lane of the approach at whose line a sign stands. Which sign has made a line, the map doesn't say:
/// it is the nearest of its kind.
fn sign_boxes(roads: &RoadMap, signal: &Signal, rule: RightOfWay) -> Vec<StopBox> {
    let lines: Vec<(LaneIndex, f32, f32)> = roads
        .driving_lanes()
        .filter_map(|lane| {
            let line = roads
                .stop_lines(lane)
                .iter()
                .find(|line| line.rule == rule)?;
            let at = roads.sample(lane, line.s_m).pose;
            let squared = (at.x - signal.pose.x).powi(2) + (at.y - signal.pose.y).powi(2);
            (squared <= SIGN_REACH_M * SIGN_REACH_M).then_some((lane, line.s_m, squared))
        })
        .collect();
    let nearest = lines.iter().min_by(|one, two| one.2.total_cmp(&two.2));
    let Some(&(nearest, ..)) = nearest else {
        return Vec::new();
    };
    let lanes = roads.lanes();
    let approach = |lane: LaneIndex| {
        let lane = &lanes[lane as usize];
        (lane.road_id, lane.section, lane.runs_with_road())
    };
    lines
        .iter()
        .filter(|(lane, ..)| approach(*lane) == approach(nearest))
        .map(|(lane, line_m, _)| stop_box(roads, *lane, *line_m, HALF_SIGN_M))
        .collect()
}

fn sign(roads: &RoadMap, signal: &Signal) -> Option<Fixture> {
    let mut boxes = Vec::new();
    let id = match (signal.kind, signal.speed_limit_mps) {
        (SignalKind::Stop, _) => {
            boxes = sign_boxes(roads, signal, RightOfWay::Stop);
            "traffic.stop".into()
        }
        (SignalKind::Yield, _) => {
            boxes = sign_boxes(roads, signal, RightOfWay::Yield);
            "traffic.yield".into()
        }
        (SignalKind::SpeedLimit, Some(limit_mps)) => {
            format!(
                "traffic.speed_limit.{}",
                (limit_mps * M_PER_S_TO_KM_PER_H).round()
            )
        }
        _ => return None,
    };
    let pose = Transform {
        location: [signal.pose.x, signal.pose.y, signal.pose.z],
        rotation: Rotation::level(signal.pose.yaw_rad.to_degrees()),
    };
    Some(Fixture {
        id,
        pose,
        trigger: StopBox::around(&boxes, &pose),
        body: Body::Sign {
            sign_id: signal.id.to_string(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::Source;

    #[test]
    fn every_light_of_a_junction_stops_its_lane_before_the_junction() {
        let map = Source::Own("FourWay").load("FourWay").unwrap();
        let lights: Vec<&Fixture> = map
            .fixtures
            .iter()
            .filter(|fixture| fixture.id == "traffic.traffic_light")
            .collect();
        assert_eq!(lights.len(), 4);
        for fixture in lights {
            let Body::Light(light) = &fixture.body else {
                panic!("a light")
            };
            assert_eq!(light.stop_boxes.len(), 1);
            let [x, y, z] = light.stop_boxes[0].pose.location;
            let place = map.roads.locate(x, y, z, None).unwrap();
            assert!(map.roads.lanes()[place.lane as usize].junction.is_none());
            assert!(fixture.trigger.half[0] > 1.0, "{:?}", fixture.trigger);
        }
    }
}
