//! The lights and signs of a map, as actors.

use carla_online_roads::{RoadMap, Signal, SignalIndex, SignalKind};
use carla_online_world::stage::actor::{Body, Bounds};
use carla_online_world::stage::lights::{Light, StopBox};
use carla_online_world::stage::pose::{Rotation, Transform};

/// Half the length of a place where a light stops vehicles; it ends at the stop line.
const HALF_STOP_M: f32 = 2.5;
const M_PER_S_TO_KM_PER_H: f32 = 3.6;

/// A light or sign, ready to be put on the stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixture {
    /// Blueprint id.
    pub id: String,
    /// Where it stands.
    pub pose: Transform,
    /// Of a light: where it stops vehicles, in its own frame.
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
    fixtures.extend(roads.signals().iter().filter_map(sign));
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
        let sample = roads.sample(lane, (line.s_m - HALF_STOP_M).max(0.0));
        boxes.push(StopBox {
            pose: Transform {
                location: [sample.pose.x, sample.pose.y, sample.pose.z],
                rotation: Rotation::level(sample.pose.yaw_rad.to_degrees()),
            },
            half_m: (HALF_STOP_M, 0.5 * sample.width_m),
        });
    }
    boxes
}

fn sign(signal: &Signal) -> Option<Fixture> {
    let id = match (signal.kind, signal.speed_limit_mps) {
        (SignalKind::Stop, _) => "traffic.stop".into(),
        (SignalKind::Yield, _) => "traffic.yield".into(),
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
        trigger: Bounds::default(),
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
