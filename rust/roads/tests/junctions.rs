//! Written junctions and towns: right of way, conflicts, crosswalks, routes, spawn points.

use carla_online_roads::{
    ConflictKind, GridSpec, JunctionControl, JunctionSpec, LaneIndex, LightPlan, MapKind, MapSpec,
    RightOfWay, RoadMap, RoadOption, SignalKind, StreetStyle, examine,
};
use proptest::prelude::*;

fn four_way(style: StreetStyle) -> RoadMap {
    let spec = JunctionSpec {
        style,
        ..JunctionSpec::default()
    };
    RoadMap::parse(&spec.to_xodr(7).unwrap()).unwrap()
}

fn tee(style: StreetStyle) -> RoadMap {
    let spec = JunctionSpec {
        arms: 3,
        style,
        ..JunctionSpec::default()
    };
    RoadMap::parse(&spec.to_xodr(7).unwrap()).unwrap()
}

fn with(control: JunctionControl) -> StreetStyle {
    StreetStyle {
        control,
        ..StreetStyle::default()
    }
}

/// The approach lane that drives along a heading, nearest to the middle of its street.
fn approach(map: &RoadMap, yaw_deg: f32) -> LaneIndex {
    let (sin, cos) = yaw_deg.to_radians().sin_cos();
    let half = 1.75;
    map.locate(
        -40.0 * cos - half * sin,
        -40.0 * sin + half * cos,
        0.0,
        Some(yaw_deg.to_radians()),
    )
    .unwrap()
    .lane
}

fn onto(map: &RoadMap, approach: LaneIndex, turn: RoadOption) -> LaneIndex {
    let lines = map.stop_lines(approach);
    lines
        .iter()
        .find(|line| line.turn == turn)
        .unwrap()
        .onto
        .unwrap()
}

#[test]
fn each_approach_has_its_turns_and_its_light() {
    let map = four_way(with(JunctionControl::Lights));
    assert_eq!(map.approaches(0).len(), 4);
    assert_eq!(map.junction_lanes(0).len(), 12);
    assert_eq!(map.light_groups().len(), 1);
    assert_eq!(map.light_groups()[0].phases.len(), 2);
    for yaw in [0.0, 90.0, 180.0, 270.0] {
        let lane = approach(&map, yaw);
        let lines = map.stop_lines(lane);
        let mut turns: Vec<&str> = lines.iter().map(|line| line.turn.name()).collect();
        turns.sort_unstable();
        assert_eq!(turns, ["LEFT", "RIGHT", "STRAIGHT"]);
        for line in lines {
            assert_eq!(line.rule, RightOfWay::Light);
            let light = line.light.unwrap();
            assert_eq!(u16::from(yaw % 180.0 != 0.0), light.phase);
            assert_eq!(map.signals()[light.signal as usize].kind, SignalKind::Light);
            // The light stands beside its stop line, on the driver's right.
            let pose = map.signals()[light.signal as usize].pose;
            let place = map.project(lane, pose.x, pose.y, line.s_m);
            assert!((place.s_m - line.s_m).abs() < 0.01 && place.lateral_m > 2.5);
            let crossing = map.crossings(lane)[0];
            assert!(
                line.s_m < crossing.from_m - 0.9
                    && crossing.to_m < map.lanes()[lane as usize].length_m
            );
        }
    }
}

#[test]
fn signs_bind_the_arms_that_have_them() {
    let rules = |map: &RoadMap, yaw| map.stop_lines(approach(map, yaw))[0].rule;
    let stop = tee(with(JunctionControl::Stop));
    assert_eq!(rules(&stop, 0.0), RightOfWay::Uncontrolled);
    // The stem leads towards positive y, so one drives towards negative y on it.
    assert_eq!(rules(&stop, 270.0), RightOfWay::Stop);
    let give_way = four_way(with(JunctionControl::Yield));
    assert_eq!(rules(&give_way, 180.0), RightOfWay::Uncontrolled);
    assert_eq!(rules(&give_way, 90.0), RightOfWay::Yield);
    let all = four_way(with(JunctionControl::Stop));
    assert!(
        [0.0, 90.0, 180.0, 270.0]
            .iter()
            .all(|yaw| rules(&all, *yaw) == RightOfWay::Stop)
    );
}

#[test]
fn the_light_plan_says_who_has_green_together() {
    let style = StreetStyle {
        light_plan: LightPlan::Approach,
        ..StreetStyle::default()
    };
    let map = four_way(style);
    assert_eq!(map.light_groups()[0].phases.len(), 4);
    let phase = |yaw| map.stop_lines(approach(&map, yaw))[0].light.unwrap().phase;
    let mut phases = [0.0, 90.0, 180.0, 270.0].map(phase);
    phases.sort_unstable();
    assert_eq!(phases, [0, 1, 2, 3]);
}

#[test]
fn conflicts_are_the_ones_a_driver_knows() {
    let map = four_way(with(JunctionControl::Lights));
    let (east, south) = (approach(&map, 0.0), approach(&map, 90.0));
    let west = approach(&map, 180.0);
    let straight = onto(&map, east, RoadOption::Straight);
    let kind = |one: LaneIndex, other: LaneIndex| {
        let conflicts = map
            .conflicts(one)
            .iter()
            .filter(|conflict| conflict.other == other);
        conflicts.map(|conflict| conflict.kind).collect::<Vec<_>>()
    };
    assert_eq!(
        kind(straight, onto(&map, south, RoadOption::Straight)),
        [ConflictKind::Cross]
    );
    assert_eq!(
        kind(straight, onto(&map, west, RoadOption::Left)),
        [ConflictKind::Cross]
    );
    assert_eq!(kind(straight, onto(&map, west, RoadOption::Straight)), []);
    assert_eq!(kind(straight, onto(&map, west, RoadOption::Right)), []);
    assert_eq!(
        kind(straight, onto(&map, east, RoadOption::Right)),
        [ConflictKind::Diverge]
    );
    // From the south (driving towards negative y) a right turn leads east too.
    let north = approach(&map, 270.0);
    assert_eq!(
        kind(straight, onto(&map, north, RoadOption::Right)),
        [ConflictKind::Merge]
    );
    // The crossing of two straight lanes is where their centres cross, as wide as the clearance.
    let crossing = map
        .conflicts(straight)
        .iter()
        .find(|conflict| conflict.other == onto(&map, south, RoadOption::Straight));
    let (from, to) = crossing.unwrap().own_m;
    let middle = map.sample(straight, 0.5 * (from + to)).pose;
    assert!(
        (middle.x + 1.75).abs() < 0.05 && (middle.y - 1.75).abs() < 0.05,
        "{middle:?}"
    );
    assert!((to - from - 2.0 * 0.8 * 3.5).abs() < 0.05);
}

/// Smallest distance between the centres of two lanes, each cut to a stretch.
fn distance(map: &RoadMap, one: (LaneIndex, f32, f32), other: (LaneIndex, f32, f32)) -> f32 {
    let points = |(lane, from, to): (LaneIndex, f32, f32)| -> Vec<(f32, f32)> {
        let steps = ((to - from) / 0.1).ceil().max(1.0) as usize;
        let at = |i: usize| {
            map.sample(lane, from + (to - from) * i as f32 / steps as f32)
                .pose
        };
        (0..=steps).map(|i| (at(i).x, at(i).y)).collect()
    };
    let others = points(other);
    let all = points(one)
        .into_iter()
        .flat_map(|(x, y)| others.iter().map(move |(u, v)| (x - u).hypot(y - v)));
    all.fold(f32::INFINITY, f32::min)
}

prop_compose! {
    fn grid()(
        columns in 1..4_u8, rows in 1..4_u8, lanes in 1..4_u8, block_m in 110.0..180.0_f64,
        lane_width_m in 2.8..4.0_f64, seed in any::<u64>(), has_crosswalks in any::<bool>(),
        control in prop_oneof![
            Just(JunctionControl::Lights), Just(JunctionControl::Mixed),
            Just(JunctionControl::Yield), Just(JunctionControl::Uncontrolled),
        ],
    ) -> (GridSpec, u64) {
        let style = StreetStyle { lanes, lane_width_m, control, has_crosswalks, ..StreetStyle::default() };
        (GridSpec { columns, rows, block_m, style }, seed)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn in_a_town_every_lane_leads_on_and_the_doctor_finds_no_fault((spec, seed) in grid()) {
        let text = spec.to_xodr(seed).unwrap();
        prop_assert_eq!(&text, &spec.to_xodr(seed).unwrap());
        let map = RoadMap::parse(&text).unwrap();
        for lane in map.driving_lanes() {
            let lane = &map.lanes()[lane as usize];
            prop_assert!(!lane.successors.is_empty(), "{:?}", lane);
            // Into the middle one of three lanes of a T's stem one only comes by changing lanes.
            prop_assert!(spec.style.lanes == 3 || !lane.predecessors.is_empty(), "{:?}", lane);
        }
        let findings = examine(&text);
        prop_assert!(findings.is_empty(), "{:?}", findings);
        let rules = [RightOfWay::Light, RightOfWay::Stop, RightOfWay::Yield];
        let is_free = spec.style.control == JunctionControl::Uncontrolled || map.junctions().is_empty();
        let lines = map.driving_lanes().flat_map(|lane| map.stop_lines(lane));
        prop_assert_eq!(lines.filter(|line| rules.contains(&line.rule)).count() == 0, is_free);
    }

    #[test]
    fn conflicts_are_mutual_and_complete((spec, seed) in grid()) {
        let map = RoadMap::parse(&spec.to_xodr(seed).unwrap()).unwrap();
        let clearance = (0.8 * spec.style.lane_width_m as f32).max(2.0);
        let length = |lane: LaneIndex| map.lanes()[lane as usize].length_m;
        let Some(junction) = (0..map.junctions().len() as u32).next_back() else { return Ok(()) };
        let lanes = map.junction_lanes(junction);
        for one in lanes {
            for other in lanes.iter().filter(|other| *other > one) {
                let found: Vec<_> =
                    map.conflicts(*one).iter().filter(|conflict| conflict.other == *other).collect();
                let least = distance(&map, (*one, 0.0, length(*one)), (*other, 0.0, length(*other)));
                if (least - clearance).abs() > 0.05 {
                    prop_assert_eq!(found.is_empty(), least > clearance);
                }
                for conflict in found {
                    let own = (*one, conflict.own_m.0, conflict.own_m.1);
                    let theirs = (*other, conflict.other_m.0, conflict.other_m.1);
                    prop_assert!(distance(&map, own, theirs) < clearance + 0.05);
                    let is_mirrored = map.conflicts(*other).iter().any(|back| {
                        back.other == *one
                            && back.kind == conflict.kind
                            && (back.own_m, back.other_m) == (conflict.other_m, conflict.own_m)
                    });
                    prop_assert!(is_mirrored);
                }
            }
        }
    }

    #[test]
    fn a_route_in_a_town_is_connected_and_shortest((spec, seed) in grid(), ends in any::<[u16; 2]>()) {
        let map = RoadMap::parse(&spec.to_xodr(seed).unwrap()).unwrap();
        let driving: Vec<LaneIndex> = map.driving_lanes().collect();
        let place = |draw: u16| {
            let lane = driving[draw as usize % driving.len()];
            (lane, 0.37 * map.lanes()[lane as usize].length_m)
        };
        let (from, to) = (place(ends[0]), place(ends[1]));
        let Some(route) = map.plan_route(from, to) else {
            // In a ring nobody can turn round.
            prop_assert!(map.junctions().is_empty(), "no way from {:?} to {:?}", from, to);
            return Ok(());
        };
        let first = route.pieces[0];
        // A route may begin with a lane change; its first piece then lies on the lane changed to.
        prop_assert_eq!(first.left_lane.unwrap_or(first.lane), from.0);
        prop_assert!(first.left_lane.is_some() || first.from_m == from.1);
        let last = route.pieces[route.pieces.len() - 1];
        prop_assert_eq!((last.lane, last.to_m), to);
        let is_squeezed = last.left_lane.is_some() && last.to_m - last.from_m < 5.0;
        let points = map.route_points(&route, 1.0);
        for pair in points.windows(2) {
            let (a, b) = (pair[0].pose, pair[1].pose);
            let step = (a.x - b.x).hypot(a.y - b.y);
            // A goal just behind the place of a change leaves no room to blend the lanes.
            let width = if pair[1].station_m > last.station_m && is_squeezed { 4.0 } else { 0.0 };
            prop_assert!(step < 1.3 + width, "{} m between {:?} and {:?}", step, pair[0], pair[1]);
        }
        prop_assert_eq!(points.len(), route.length_m.ceil() as usize + 1);
        let changes = route.pieces.iter().filter(|piece| piece.left_lane.is_some()).count();
        let cost = f64::from(route.length_m) + 10.0 * changes as f64;
        let least = reference_cost(&map, from, to);
        prop_assert!((cost - least).abs() < 0.05, "{} is not {}", cost, least);
    }
}

/// Cheapest way by Bellman-Ford over the lanes' ends: no queue, no estimate.
fn reference_cost(map: &RoadMap, from: (LaneIndex, f32), to: (LaneIndex, f32)) -> f64 {
    let length = |lane: LaneIndex| f64::from(map.lanes()[lane as usize].length_m);
    let count = map.lanes().len();
    // Cost to the start of a lane, as if entered there; changes happen at once.
    let mut costs = vec![f64::INFINITY; count];
    let mut finish = f64::INFINITY;
    let relax = |lane: LaneIndex, at: f64, cost: f64, costs: &mut Vec<f64>| {
        let here = &map.lanes()[lane as usize];
        let mut ends: Vec<(LaneIndex, f64)> = Vec::new();
        for next in here
            .successors
            .iter()
            .filter(|next| map.driving_lanes().any(|it| it == **next))
        {
            ends.push((*next, cost + length(lane) - at));
        }
        let mut changed = false;
        for (next, value) in ends {
            if value < costs[next as usize] - 1e-9 {
                costs[next as usize] = value;
                changed = true;
            }
        }
        changed
    };
    // All lanes abreast that can be reached by changes from (lane, at), with place and cost.
    let abreast = |lane: LaneIndex, at: f64, cost: f64| {
        let mut places = vec![(lane, at, cost)];
        for to_left in [true, false] {
            let (mut lane, mut at, mut cost, mut free) = (lane, at, cost, at);
            while map.lanes()[lane as usize].junction.is_none() {
                let here = &map.lanes()[lane as usize];
                let marks = map.markings(lane, free as f32);
                let (beside, may) = if to_left {
                    (here.left, marks.left_permits_change)
                } else {
                    (here.right, marks.right_permits_change)
                };
                let Some(beside) = beside.filter(|_| may && free <= length(lane) - 5.0) else {
                    break;
                };
                cost += free - at + 10.0;
                at = f64::from(map.abreast(lane, free as f32, beside));
                free = at + 10.0;
                lane = beside;
                places.push((lane, at, cost));
            }
        }
        places
    };
    for (lane, at, cost) in abreast(from.0, from.1.into(), 0.0) {
        if lane == to.0 && at <= f64::from(to.1) {
            finish = finish.min(cost + f64::from(to.1) - at);
        }
        relax(lane, at, cost, &mut costs);
    }
    loop {
        let mut changed = false;
        for lane in 0..count as LaneIndex {
            if costs[lane as usize].is_finite() {
                for (other, at, cost) in abreast(lane, 0.0, costs[lane as usize]) {
                    if other == to.0 && at <= f64::from(to.1) {
                        finish = finish.min(cost + f64::from(to.1) - at);
                    }
                    changed |= relax(other, at, cost, &mut costs);
                }
            }
        }
        if !changed {
            return finish;
        }
    }
}

#[test]
fn options_follow_the_turns_and_the_changes() {
    let style = StreetStyle {
        lanes: 2,
        ..StreetStyle::default()
    };
    let map = four_way(style);
    let outer = |yaw_deg: f32, distance: f32, lateral: f32| {
        let (sin, cos) = yaw_deg.to_radians().sin_cos();
        let (x, y) = (
            distance * cos - lateral * sin,
            distance * sin + lateral * cos,
        );
        let place = map.locate(x, y, 0.0, Some(yaw_deg.to_radians())).unwrap();
        (place.lane, place.s_m)
    };
    let options = |from, to| {
        let route = map.plan_route(from, to).unwrap();
        let mut options: Vec<&str> = route
            .pieces
            .iter()
            .map(|piece| piece.option.name())
            .collect();
        options.dedup();
        options
    };
    // From the right lane heading east, left into the street heading north (negative y).
    let from = outer(0.0, -80.0, 5.25);
    let change = [
        "LANEFOLLOW",
        "CHANGELANELEFT",
        "LANEFOLLOW",
        "LEFT",
        "LANEFOLLOW",
    ];
    let at_once = &change[1..];
    assert_eq!(options(from, outer(270.0, 60.0, 1.75)), at_once);
    assert_eq!(
        options(from, outer(0.0, 60.0, 5.25)),
        ["LANEFOLLOW", "STRAIGHT", "LANEFOLLOW"]
    );
    assert_eq!(
        options(from, outer(90.0, 60.0, 5.25)),
        ["LANEFOLLOW", "RIGHT", "LANEFOLLOW"]
    );
    // Backwards there is no way in a map that ends.
    assert_eq!(map.plan_route(outer(0.0, 60.0, 5.25), from), None);
    let same = map.plan_route(from, from).unwrap();
    assert_eq!((same.pieces.len(), same.length_m), (1, 0.0));
    assert_eq!(map.plan_route((u32::MAX, 0.0), from), None);
    assert_eq!(map.plan_route((from.0, f32::NAN), from), None);
}

#[test]
fn crosswalks_span_the_street_and_are_walked_across() {
    let map = four_way(with(JunctionControl::Stop));
    assert_eq!(map.crosswalks().len(), 4);
    for crosswalk in map.crosswalks() {
        let [from, to] = crosswalk.walk;
        assert!(((from[0] - to[0]).hypot(from[1] - to[1]) - 7.0).abs() < 1e-3);
        assert_eq!(crosswalk.polygon.len(), 4);
        let index = map
            .crosswalks()
            .iter()
            .position(|other| other == crosswalk)
            .unwrap();
        let cut = map.driving_lanes().filter(|lane| {
            map.crossings(*lane).iter().any(|crossing| {
                crossing.crosswalk == index as u32
                    && (crossing.to_m - crossing.from_m - 3.0).abs() < 0.3
            })
        });
        assert_eq!(cut.count(), 2, "one lane each way");
    }
}

#[test]
fn spawn_points_stand_where_carla_and_traffic_want_them() {
    let map = four_way(StreetStyle::default());
    let entries = map.entry_spawn_points();
    assert_eq!(
        entries.len(),
        8 + 12,
        "two lanes of each arm, one of each connecting road"
    );
    assert!(
        entries
            .iter()
            .all(|point| point.s_m == 0.0 && (point.pose.z - 3.0).abs() < 1e-6)
    );
    let dense = map.spawn_points(12.5);
    assert!(dense.len() > 40);
    for (i, one) in dense.iter().enumerate() {
        assert!(map.lanes()[one.lane as usize].junction.is_none());
        for other in &dense[i + 1..] {
            let apart = (one.pose.x - other.pose.x).hypot(one.pose.y - other.pose.y);
            assert!(apart > 3.4 && (one.lane != other.lane || apart > 12.4));
        }
    }
}

#[test]
fn every_kind_is_written_read_and_healthy() {
    for kind in MapKind::ALL {
        for seed in [0, 1, 99] {
            let text = MapSpec::new(kind, seed).to_xodr().unwrap();
            assert_eq!(text, MapSpec::new(kind, seed).to_xodr().unwrap());
            assert!(RoadMap::parse(&text).unwrap().driving_lanes().count() > 0);
            // One road without successors has no topology, which is what it is for.
            let expected = match kind {
                MapKind::Straight | MapKind::Curve | MapKind::Highway => vec!["no-topology"],
                MapKind::TJunction | MapKind::FourWay => vec!["dead-end"],
                MapKind::Grid => vec![],
            };
            let found: Vec<&str> = examine(&text).iter().map(|finding| finding.rule).collect();
            assert_eq!(found, expected, "{kind:?} {seed}");
        }
        assert_eq!(MapKind::from_name(kind.name()), Some(kind));
    }
    let wrong = MapSpec {
        columns: Some(3),
        ..MapSpec::new(MapKind::FourWay, 0)
    };
    assert!(wrong.to_xodr().unwrap_err().to_string().contains("columns"));
    let wrong = MapSpec {
        block_m: Some(f64::NAN),
        ..MapSpec::new(MapKind::Grid, 0)
    };
    assert!(wrong.to_xodr().unwrap_err().to_string().contains("block_m"));
}
