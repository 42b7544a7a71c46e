//! Roads written and read back, against an integration of their curvature that shares no code
//! with the crate: small midpoint steps in CARLA's own frame.

use std::f64::consts::{PI, TAU};

use carla_online_roads::{Error, RoadMap, RoadSpec, Segment};
use proptest::prelude::*;

fn segment() -> impl Strategy<Value = Segment> {
    let length = 2.0..60.0_f64;
    let curvature = -0.03..0.03_f64;
    prop_oneof![
        length
            .clone()
            .prop_map(|length_m| Segment::Line { length_m }),
        (length.clone(), curvature.clone()).prop_map(|(length_m, curvature_per_m)| Segment::Arc {
            length_m,
            curvature_per_m,
        }),
        (length, curvature.clone(), curvature).prop_map(|(length_m, from, to)| Segment::Spiral {
            length_m,
            curvature_start_per_m: from,
            curvature_end_per_m: to,
        }),
    ]
}

prop_compose! {
    fn road()(
        lanes in prop_oneof![(1..5_u8, 0..4_u8), (0..4_u8, 1..5_u8)],
        lane_width_m in 2.5..4.5_f64,
        shoulder_width_m in prop_oneof![Just(0.0), 0.5..3.0_f64],
        start in (-200.0..200.0_f64, -200.0..200.0_f64, -4.0..4.0_f64),
        segments in prop::collection::vec(segment(), 1..6),
    ) -> RoadSpec {
        RoadSpec {
            lanes_forward: lanes.0,
            lanes_backward: lanes.1,
            lane_width_m,
            shoulder_width_m,
            start,
            segments,
            ..RoadSpec::default()
        }
    }
}

/// Points of the reference line about 1 m apart: x, y, yaw, station.
fn integrate(spec: &RoadSpec) -> Vec<[f64; 4]> {
    let (mut x, mut y, mut yaw) = spec.start;
    let mut station = 0.0;
    let mut points = vec![[x, y, yaw, station]];
    for part in &spec.segments {
        let (length, from, to) = match *part {
            Segment::Line { length_m } => (length_m, 0.0, 0.0),
            Segment::Arc {
                length_m,
                curvature_per_m,
            } => (length_m, curvature_per_m, curvature_per_m),
            Segment::Spiral {
                length_m,
                curvature_start_per_m,
                curvature_end_per_m,
            } => (length_m, curvature_start_per_m, curvature_end_per_m),
        };
        let start_yaw = yaw;
        let pieces = length.ceil() as usize * 100;
        let h = length / pieces as f64;
        let yaw_at = |u: f64| start_yaw + from * u + 0.5 * (to - from) / length * u * u;
        for piece in 0..pieces {
            let middle = yaw_at((piece as f64 + 0.5) * h);
            x += h * middle.cos();
            y += h * middle.sin();
            yaw = yaw_at((piece as f64 + 1.0) * h);
            station += h;
            if piece % 100 == 99 {
                points.push([x, y, yaw, station]);
            }
        }
    }
    points
}

fn angle_between(left: f64, right: f64) -> f64 {
    let turn = (left - right).rem_euclid(TAU);
    turn.min(TAU - turn)
}

/// Signed distance of a lane's centre to the right of the reference line.
fn offset(spec: &RoadSpec, lane_id: i32) -> f64 {
    -f64::from(lane_id.signum()) * (f64::from(lane_id.abs()) - 0.5) * spec.lane_width_m
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lanes_lie_where_the_integral_says(spec in road()) {
        let map = RoadMap::parse(&spec.to_xodr().unwrap()).unwrap();
        let points = integrate(&spec);
        let (first, last) = (points[0], points[points.len() - 1]);
        prop_assert_eq!(
            map.driving_lanes().count(),
            usize::from(spec.lanes_forward) + usize::from(spec.lanes_backward)
        );
        for index in map.driving_lanes() {
            let lane = &map.lanes()[index as usize];
            let right = offset(&spec, lane.lane_id);
            // A parallel at constant offset is shorter by the offset times the turn.
            let length = last[3] - right * (last[2] - first[2]);
            prop_assert!((f64::from(lane.length_m) - length).abs() < 2e-3);
            for [x, y, yaw, station] in &points {
                let along = station - right * (yaw - first[2]);
                let is_forward = lane.lane_id < 0;
                let s_m = if is_forward { along } else { length - along } as f32;
                let sample = map.sample(index, s_m);
                let (x, y) = (x - right * yaw.sin(), y + right * yaw.cos());
                let distance = (f64::from(sample.pose.x) - x).hypot(f64::from(sample.pose.y) - y);
                prop_assert!(distance < 2e-3, "{} m off at {}", distance, station);
                let heading = if is_forward { *yaw } else { yaw + PI };
                prop_assert!(angle_between(f64::from(sample.pose.yaw_rad), heading) < 5e-4);
                prop_assert!(sample.pose.yaw_rad > -std::f32::consts::PI - 1e-6);
                prop_assert!(sample.pose.yaw_rad <= std::f32::consts::PI);
                prop_assert!((f64::from(sample.width_m) - spec.lane_width_m).abs() < 1e-5);
                prop_assert!((f64::from(map.station(index, s_m)) - station).abs() < 2e-3);
            }
        }
    }

    #[test]
    fn projecting_a_point_beside_a_sample_finds_it_again(
        spec in road(), place in 0.0..1.0_f32, lateral in -1.7..1.7_f32, guess in -15.0..15.0_f32,
    ) {
        let map = RoadMap::parse(&spec.to_xodr().unwrap()).unwrap();
        for index in map.driving_lanes() {
            let s_m = place * map.lanes()[index as usize].length_m;
            let pose = map.sample(index, s_m).pose;
            let x = pose.x - lateral * pose.yaw_rad.sin();
            let y = pose.y + lateral * pose.yaw_rad.cos();
            let found = map.project(index, x, y, s_m + guess);
            prop_assert!((found.s_m - s_m).abs() < 3e-3, "{} is not {}", found.s_m, s_m);
            prop_assert!((found.lateral_m - lateral).abs() < 1e-3);
        }
    }

    #[test]
    fn places_abreast_are_mutual_and_on_one_cross_section(spec in road(), place in 0.0..1.0_f32) {
        let map = RoadMap::parse(&spec.to_xodr().unwrap()).unwrap();
        for from in map.driving_lanes() {
            let s_m = place * map.lanes()[from as usize].length_m;
            let here = map.sample(from, s_m).pose;
            for to in map.driving_lanes() {
                let beside = map.abreast(from, s_m, to);
                prop_assert!((map.abreast(to, beside, from) - s_m).abs() < 3e-3);
                let there = map.sample(to, beside).pose;
                let along = (there.x - here.x) * here.yaw_rad.cos()
                    + (there.y - here.y) * here.yaw_rad.sin();
                prop_assert!(along.abs() < 5e-3, "{} m ahead", along);
            }
        }
    }

    #[test]
    fn curvature_is_the_change_of_yaw(spec in road(), place in 0.1..0.9_f32) {
        let map = RoadMap::parse(&spec.to_xodr().unwrap()).unwrap();
        for index in map.driving_lanes() {
            let length = map.lanes()[index as usize].length_m;
            let (s_m, h) = (place * length, 0.25_f32);
            let [behind, here, ahead] = [-h, 0.0, h].map(|d| map.sample(index, s_m + d));
            // Curvature jumps where segments meet: only where the neighbours agree.
            if (behind.curvature_per_m - ahead.curvature_per_m).abs() < 2e-3 {
                let turn = (ahead.pose.yaw_rad - behind.pose.yaw_rad).sin() / (2.0 * h);
                prop_assert!((turn - here.curvature_per_m).abs() < 3e-3);
            }
        }
    }

    #[test]
    fn the_nearest_lane_is_the_one_that_brute_force_finds(
        spec in road(), x in -300.0..300.0_f32, y in -300.0..300.0_f32,
    ) {
        let map = RoadMap::parse(&spec.to_xodr().unwrap()).unwrap();
        let far = |lane: u32, s: f32| {
            let pose = map.sample(lane, s).pose;
            (pose.x - x).hypot(pose.y - y)
        };
        let mut least = f32::INFINITY;
        for lane in map.driving_lanes() {
            let steps = (map.lanes()[lane as usize].length_m / 0.25) as usize;
            for step in 0..=steps {
                least = least.min(far(lane, step as f32 * 0.25));
            }
        }
        let found = map.locate(x, y, 0.0, None).unwrap();
        prop_assert!(far(found.lane, found.s_m) <= least + 1e-3);
    }

    #[test]
    fn the_same_text_gives_the_same_bits(spec in road()) {
        let text = spec.to_xodr().unwrap();
        prop_assert_eq!(&text, &spec.to_xodr().unwrap());
        let (one, two) = (RoadMap::parse(&text).unwrap(), RoadMap::parse(&text).unwrap());
        prop_assert_eq!(one.lanes(), two.lanes());
        prop_assert_eq!(one.content_hash(), two.content_hash());
        prop_assert_eq!(one.polylines(0.7), two.polylines(0.7));
    }
}

#[test]
fn marks_neighbours_and_edges_of_a_two_way_road() {
    let spec = RoadSpec {
        lanes_forward: 3,
        lanes_backward: 2,
        shoulder_width_m: 1.0,
        speed_limit_mps: 22.0,
        segments: vec![Segment::Arc {
            length_m: 90.3,
            curvature_per_m: 0.02,
        }],
        ..RoadSpec::default()
    };
    let map = RoadMap::parse(&spec.to_xodr().unwrap()).unwrap();
    let find = |id: i32| {
        map.lanes()
            .iter()
            .position(|lane| lane.lane_id == id)
            .unwrap() as u32
    };
    let lane = |id: i32| &map.lanes()[find(id) as usize];
    assert_eq!((lane(-1).left, lane(-1).right), (None, Some(find(-2))));
    assert_eq!((lane(-3).left, lane(-3).right), (Some(find(-2)), None));
    assert_eq!((lane(1).left, lane(1).right), (None, Some(find(2))));
    assert_eq!((lane(2).left, lane(2).right), (Some(find(1)), None));
    assert!(lane(-1).may_change_right && !lane(-1).may_change_left);
    assert!(lane(2).may_change_left && !lane(2).may_change_right);
    assert_eq!(lane(-4).left, None, "a shoulder has no driving neighbours");
    assert!((lane(1).speed_limit_mps - 22.0).abs() < 1e-5);
    let (left, right) = map.half_width_to_edge(find(-2), 10.0);
    assert!((left - 5.25).abs() < 1e-4 && (right - 5.25).abs() < 1e-4);
    let (left, right) = map.half_width_to_edge(find(1), 10.0);
    assert!((left - 1.75).abs() < 1e-4 && (right - 5.25).abs() < 1e-4);
    // Each boundary is drawn once: 7 lanes have 8 of them, and 5 driving lanes have centres.
    assert_eq!(map.polylines(1.0).len(), 8 + 5);
}

#[test]
fn a_yaw_picks_the_lane_of_its_direction() {
    let spec = RoadSpec {
        lanes_forward: 1,
        lanes_backward: 1,
        segments: vec![Segment::Line { length_m: 100.3 }],
        ..RoadSpec::default()
    };
    let map = RoadMap::parse(&spec.to_xodr().unwrap()).unwrap();
    let lane_id =
        |y: f32, yaw| map.lanes()[map.locate(50.0, y, 0.0, yaw).unwrap().lane as usize].lane_id;
    assert_eq!(lane_id(1.0, None), -1);
    assert_eq!(lane_id(1.0, Some(0.3)), -1);
    assert_eq!(lane_id(1.0, Some(3.0)), 1);
    assert_eq!(lane_id(-1.0, Some(0.3)), -1);
    assert_eq!(map.locate(f32::NAN, 0.0, 0.0, None), None);
}

#[test]
fn heights_pass_through_their_knots() {
    let knot = |s_m, z_m, grade| carla_online_roads::ElevationKnot { s_m, z_m, grade };
    let spec = RoadSpec {
        segments: vec![Segment::Line { length_m: 120.3 }],
        elevation: vec![knot(20.0, 2.0, 0.02), knot(80.0, 5.0, -0.05)],
        ..RoadSpec::default()
    };
    let map = RoadMap::parse(&spec.to_xodr().unwrap()).unwrap();
    let z = |s: f32| map.sample(0, s).pose.z;
    assert!((z(0.0) - 1.6).abs() < 1e-4 && (z(20.0) - 2.0).abs() < 1e-4);
    assert!((z(80.0) - 5.0).abs() < 1e-4 && (z(100.0) - 4.0).abs() < 1e-4);
    assert!(((z(80.5) - z(79.5)) + 0.05).abs() < 2e-3);
}

#[test]
fn a_road_ends_where_it_ends() {
    let spec = RoadSpec {
        segments: vec![Segment::Line { length_m: 50.3 }],
        ..RoadSpec::default()
    };
    let map = RoadMap::parse(&spec.to_xodr().unwrap()).unwrap();
    assert_eq!(map.advance(0, 40.0, 5.0).map(|place| place.s_m), Some(45.0));
    assert_eq!(
        map.advance(0, 40.0, -5.0).map(|place| place.s_m),
        Some(35.0)
    );
    assert_eq!(map.advance(0, 40.0, 11.0), None);
    assert_eq!(map.advance(0, 4.0, -5.0), None);
    assert_eq!(map.advance(0, 4.0, f32::NAN), None);
    assert_eq!(map.sample(0, -5.0), map.sample(0, 0.0));
    assert_eq!(map.sample(0, 1e9), map.sample(0, 50.3));
    assert_eq!(map.sample(0, f32::NAN), map.sample(0, 0.0));
}

#[test]
fn specifications_that_make_no_road_are_refused() {
    let line = Segment::Line { length_m: 50.3 };
    let good = RoadSpec {
        segments: vec![line],
        ..RoadSpec::default()
    };
    let bend = |curvature_per_m| {
        vec![Segment::Arc {
            length_m: 20.0,
            curvature_per_m,
        }]
    };
    let bad = [
        RoadSpec::default(),
        RoadSpec {
            lanes_forward: 0,
            ..good.clone()
        },
        RoadSpec {
            lanes_forward: 200,
            ..good.clone()
        },
        RoadSpec {
            lane_width_m: f64::NAN,
            ..good.clone()
        },
        RoadSpec {
            lane_width_m: -3.5,
            ..good.clone()
        },
        RoadSpec {
            speed_limit_mps: 0.0,
            ..good.clone()
        },
        RoadSpec {
            shoulder_width_m: f64::INFINITY,
            ..good.clone()
        },
        RoadSpec {
            start: (0.0, 1e300, 0.0),
            ..good.clone()
        },
        RoadSpec {
            segments: vec![Segment::Line { length_m: -1.0 }],
            ..good.clone()
        },
        RoadSpec {
            segments: vec![Segment::Line { length_m: 1e9 }],
            ..good.clone()
        },
        RoadSpec {
            segments: vec![line; 20_000],
            ..good.clone()
        },
        RoadSpec {
            segments: bend(f64::NAN),
            ..good.clone()
        },
        // Two lanes of 3.5 m don't fit into a right-hand bend of 5 m.
        RoadSpec {
            segments: bend(0.2),
            lanes_forward: 2,
            ..good.clone()
        },
    ];
    for spec in bad {
        let error = spec.to_xodr().expect_err("it makes no road");
        assert!(
            matches!(error, Error::BadValue { .. } | Error::TooLarge { .. }),
            "{error}"
        );
    }
    assert!(good.to_xodr().is_ok());
}
