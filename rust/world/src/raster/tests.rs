use super::*;
use carla_online_roads::{RoadSpec, Segment};

/// Three lanes along the x axis from x = 0 to 300.3, 10.5 m wide; CARLA's y runs from 0 to 10.5 to the right.
fn straight() -> RoadMap {
    let spec = RoadSpec {
        lanes_forward: 3,
        lane_width_m: 3.5,
        speed_limit_mps: 15.0,
        segments: vec![Segment::Line { length_m: 300.3 }],
        ..RoadSpec::default()
    };
    RoadMap::parse(&spec.to_xodr().unwrap()).unwrap()
}

fn bent() -> RoadMap {
    let spec = RoadSpec {
        lanes_forward: 2,
        lane_width_m: 3.5,
        speed_limit_mps: 15.0,
        segments: vec![
            Segment::Line { length_m: 40.3 },
            Segment::Arc {
                length_m: 90.0,
                curvature_per_m: 0.02,
            },
        ],
        ..RoadSpec::default()
    };
    RoadMap::parse(&spec.to_xodr().unwrap()).unwrap()
}

fn ego(x: f32, y: f32, yaw_rad: f32) -> EgoPose {
    EgoPose {
        x,
        y,
        z: 0.0,
        yaw_rad,
        velocity_mps: (0.0, 0.0),
        speed_mps: 0.0,
        yaw_rate_radps: 0.0,
        forward_mps2: 0.0,
        lateral_mps2: 0.0,
        throttle: 0.0,
        brake: 0.0,
        steer: 0.0,
        gear: 1,
        half_extents_m: (2.4, 1.0),
        lane_hint: None,
    }
}

struct Drawn {
    kind: BirdseyeKind,
    pixels: Vec<u8>,
    frame: Frame,
}

impl Drawn {
    fn new(
        kind: BirdseyeKind,
        map: &RoadMap,
        ego: &EgoPose,
        actors: &[ActorPose],
        stops: &[StopLine],
    ) -> Self {
        let lane = map.locate(ego.x, ego.y, 0.0, None).unwrap();
        let route = Route::along_lane(
            lane.lane,
            0.0,
            map.lanes()[lane.lane as usize].length_m - 30.0,
        );
        let raster = RasterMap::new(map).unwrap();
        let mut pixels = vec![0xff; kind.bytes()];
        let view = Birdseye {
            kind,
            raster: &raster,
            map,
            route: &route,
            station_m: lane.s_m,
            ego,
            actors,
            stops,
        };
        view.draw(&mut pixels);
        Self {
            kind,
            pixels,
            frame: Frame::new(kind, ego),
        }
    }

    /// The bits at a place of the world; `None` outside the picture.
    fn at(&self, x: f32, y: f32) -> Option<u8> {
        let [column, row] = self.frame.pixel([x, y]).map(f32::floor);
        let size = self.kind.size_px() as f32;
        let is_inside = (0.0..size).contains(&column) && (0.0..size).contains(&row);
        is_inside.then(|| self.pixels[row as usize * self.kind.size_px() + column as usize])
    }
}

/// Oracle: the map itself, asked at each pixel's own place.
#[test]
fn the_road_plane_is_the_map_seen_from_any_angle() {
    for (map, poses) in [
        (
            straight(),
            vec![
                ego(100.0, 5.25, 0.0),
                ego(100.0, 5.25, 0.7),
                ego(280.0, 1.75, -2.5),
            ],
        ),
        (
            bent(),
            vec![ego(60.0, -2.0, 0.4), ego(20.0, 3.0, std::f32::consts::PI)],
        ),
    ] {
        for pose in &poses {
            for kind in [BirdseyeKind::Small, BirdseyeKind::Carl] {
                let drawn = Drawn::new(kind, &map, pose, &[], &[]);
                let (mut roads, mut wrong) = (0, 0);
                for (number, bits) in drawn.pixels.iter().enumerate() {
                    let (row, column) = (number / kind.size_px(), number % kind.size_px());
                    let [x, y] = drawn.frame.place(column as f32, row as f32);
                    let is_road = map.locate(x, y, 0.0, None).is_some_and(|at| {
                        let (left_m, right_m) = map.half_width_to_edge(at.lane, at.s_m);
                        let length_m = map.lanes()[at.lane as usize].length_m;
                        let is_along = at.s_m > 0.3 && at.s_m < length_m - 0.3;
                        is_along && at.lateral_m > -left_m && at.lateral_m < right_m
                    });
                    roads += u32::from(is_road);
                    wrong += u32::from(is_road != (bits & plane::ROAD > 0));
                }
                // Tiles and view have their own grids, so pixels along the edges may differ by one.
                assert!(roads > 300, "{roads}");
                assert!(
                    wrong * 12 < roads,
                    "{wrong} of {roads} at {} {}",
                    pose.x,
                    pose.yaw_rad
                );
            }
        }
    }
}

#[test]
fn actors_lines_route_and_stops_stand_where_they_are() {
    let map = straight();
    let actor = |kind, x: f32, y: f32, speed_mps: f32| ActorPose {
        kind,
        x,
        y,
        z: 0.0,
        yaw_rad: 0.0,
        velocity_mps: (speed_mps, 0.0),
        half_extents_m: if kind == ActorKind::Walker {
            (0.19, 0.19)
        } else {
            (2.4, 1.0)
        },
        lane_hint: None,
    };
    let actors = [
        actor(ActorKind::Vehicle, 112.0, 5.25, 8.0),
        actor(ActorKind::Walker, 105.0, 10.0, 0.0),
    ];
    let stop = |x: f32, state| StopLine {
        ends: [[x, 3.5], [x, 7.0]],
        state,
    };
    let stops = [stop(130.0, LightState::Red), stop(126.0, LightState::Green)];
    for yaw_rad in [0.0, 0.3, -0.2] {
        let pose = ego(100.0, 5.25, yaw_rad);
        let drawn = Drawn::new(BirdseyeKind::Carl, &map, &pose, &actors, &stops);
        let has = |x: f32, y: f32, bits: u8| drawn.at(x, y).unwrap() & bits > 0;
        assert!(has(112.0, 5.25, plane::VEHICLE) && !has(116.0, 5.25, plane::VEHICLE));
        assert!(has(120.0, 5.25, plane::VEHICLE_SOON) && !has(112.0, 5.25, plane::VEHICLE_SOON));
        assert!(has(105.0, 10.0, plane::WALKER) && !has(105.0, 8.0, plane::WALKER));
        assert!(has(130.0, 5.25, plane::STOP) && !has(126.0, 5.25, plane::STOP));
        assert!(has(140.0, 5.25, plane::ROUTE) && !has(140.0, 1.75, plane::ROUTE));
        let near =
            |x: f32, y: f32, bits: u8| [-0.5, 0.0, 0.5].iter().any(|aside| has(x, y + aside, bits));
        assert!(near(108.0, 0.0, plane::SOLID_LINE) && near(108.0, 10.5, plane::SOLID_LINE));
        assert!(near(108.0, 7.0, plane::BROKEN_LINE) && !near(108.0, 8.75, plane::BROKEN_LINE));
    }
}

#[test]
fn a_view_from_nowhere_is_empty_and_a_wrong_buffer_stays_so() {
    let map = straight();
    let raster = RasterMap::new(&map).unwrap();
    let route = Route::along_lane(map.driving_lanes().next().unwrap(), 0.0, 100.0);
    for x in [-1e6, 1e6, f32::NAN] {
        let pose = ego(x, x, 0.5);
        let view = Birdseye {
            kind: BirdseyeKind::Small,
            raster: &raster,
            map: &map,
            route: &route,
            station_m: 0.0,
            ego: &pose,
            actors: &[],
            stops: &[],
        };
        let mut out = vec![7; BirdseyeKind::Small.bytes()];
        view.draw(&mut out);
        assert!(x.is_nan() || out.iter().all(|&bits| bits & plane::ROAD == 0));
        let mut short = vec![7; 10];
        view.draw(&mut short);
        assert_eq!(short, vec![0; 10]);
    }
}
