//! Links, sections, marks and curve forms that the writer doesn't produce, on small maps by hand.

use std::f64::consts::{FRAC_PI_2, PI};

use carla_online_roads::{LaneKind, MarkKind, RoadMap};

fn lane(id: i32, link: &str, more: &str) -> String {
    format!(
        r#"<lane id="{id}" type="driving"><link>{link}</link>
        <width sOffset="0" a="4" b="0" c="0" d="0"/>{more}</lane>"#
    )
}

fn section(s: f64, left: &str, centre: &str, right: &str) -> String {
    format!(
        r#"<laneSection s="{s}"><left>{left}</left><center><lane id="0" type="none">{centre}</lane>
        </center><right>{right}</right></laneSection>"#
    )
}

fn road(id: u32, head: &str, length: f64, plan: &str, lanes: &str) -> String {
    format!(
        r#"<road id="{id}" length="{length}" {head}<planView>{plan}</planView>
        <lanes>{lanes}</lanes></road>"#
    )
}

fn line(x: f64, y: f64, hdg: f64, length: f64) -> String {
    format!(r#"<geometry s="0" x="{x}" y="{y}" hdg="{hdg}" length="{length}"><line/></geometry>"#)
}

fn map(body: &str) -> RoadMap {
    RoadMap::parse(&format!("<OpenDRIVE>{body}</OpenDRIVE>")).expect("the map is sound")
}

fn find(map: &RoadMap, road: u32, section: u16, id: i32) -> u32 {
    let is_it = |lane: &carla_online_roads::Lane| {
        (lane.road_id, lane.section, lane.lane_id) == (road, section, id)
    };
    map.lanes().iter().position(is_it).expect("the lane exists") as u32
}

/// A two-way road of 50 m into a junction, where one may go straight on or turn right.
fn junction() -> RoadMap {
    let both = lane(1, "", "");
    let into = r#"junction="-1"><link><successor elementType="junction" elementId="9"/></link>"#;
    let inside = |from: u32, to: u32| {
        format!(
            r#"junction="9"><link><predecessor elementType="road" elementId="{from}" contactPoint="end"/>
            <successor elementType="road" elementId="{to}" contactPoint="start"/></link>"#
        )
    };
    let beyond =
        r#"junction="-1"><link><predecessor elementType="junction" elementId="9"/></link>"#;
    let through = r#"<predecessor id="-1"/><successor id="-1"/>"#;
    let turn = r#"<geometry s="0" x="50" y="0" hdg="0" length="31.41592653589793"><arc curvature="-0.05"/></geometry>"#;
    let straight = lane(-1, through, "");
    let body = [
        road(1, into, 50.0, &line(0.0, 0.0, 0.0, 50.0), &section(0.0, &both, "", &lane(-1, "", ""))),
        road(10, &inside(1, 2), 20.0, &line(50.0, 0.0, 0.0, 20.0), &section(0.0, "", "", &straight)),
        road(11, &inside(1, 3), 10.0 * PI, turn, &section(0.0, "", "", &straight)),
        road(2, beyond, 40.0, &line(70.0, 0.0, 0.0, 40.0), &section(0.0, "", "", &lane(-1, "", ""))),
        road(3, beyond, 40.0, &line(70.0, -20.0, -FRAC_PI_2, 40.0), &section(0.0, "", "", &lane(-1, "", ""))),
        r#"<junction id="9"><connection id="0" incomingRoad="1" connectingRoad="11" contactPoint="start"><laneLink from="-1" to="-1"/></connection>
        <connection id="1" incomingRoad="1" connectingRoad="10" contactPoint="start"><laneLink from="-1" to="-1"/></connection>
        <connection id="2" incomingRoad="1" connectingRoad="10" contactPoint="start"><laneLink from="-1" to="-1"/></connection></junction>"#.to_owned(),
    ];
    map(&body.concat())
}

#[test]
fn a_junction_offers_each_way_once_and_in_order() {
    let map = junction();
    let start = find(&map, 1, 0, -1);
    let (ahead, right) = (find(&map, 10, 0, -1), find(&map, 11, 0, -1));
    let lane = |index: u32| &map.lanes()[index as usize];
    assert_eq!(lane(start).successors, [right, ahead]);
    assert_eq!(lane(right).predecessors, [start]);
    assert_eq!(
        (lane(right).junction, lane(start).junction),
        (Some(9), None)
    );
    assert_eq!(lane(right).successors, [find(&map, 3, 0, -1)]);
    // The oncoming lane of the road has no way out at the road's start.
    assert!(lane(find(&map, 1, 0, 1)).successors.is_empty());
    // The way through the first successor ends heading down OpenDRIVE's y, up CARLA's.
    let place = map
        .advance(start, 10.0, 90.0)
        .expect("the way is long enough");
    assert_eq!(lane(place.lane).road_id, 3);
    let back = map
        .advance(place.lane, place.s_m, -90.0)
        .expect("there is a way back");
    assert_eq!(back.lane, start);
    assert!((back.s_m - 10.0).abs() < 1e-3);
    assert!(
        (map.sample(place.lane, place.s_m).pose.yaw_rad - std::f32::consts::FRAC_PI_2).abs() < 1e-5
    );
    for lane_index in map.driving_lanes() {
        let end = map.sample(lane_index, f32::INFINITY).pose;
        for next in &lane(lane_index).successors {
            let begin = map.sample(*next, 0.0).pose;
            assert!((end.x - begin.x).hypot(end.y - begin.y) < 1e-3);
        }
    }
}

#[test]
fn a_lane_of_another_road_is_abreast_where_it_is_nearest() {
    let map = junction();
    let (road, ahead) = (find(&map, 1, 0, -1), find(&map, 10, 0, -1));
    assert_eq!(map.abreast(ahead, 12.0, road), 50.0);
    let turn = find(&map, 11, 0, -1);
    let beside = map.abreast(ahead, 10.0, turn);
    let (here, there) = (map.sample(ahead, 10.0).pose, map.sample(turn, beside).pose);
    let (dx, dy) = (here.x - there.x, here.y - there.y);
    assert!((dx * there.yaw_rad.cos() + dy * there.yaw_rad.sin()).abs() < 1e-2);
}

#[test]
fn a_height_tells_a_bridge_from_the_road_under_it() {
    let bridge = r#"junction="-1"><elevationProfile><elevation s="0" a="6" b="0" c="0" d="0"/></elevationProfile>"#;
    let ground = r#"junction="-1">"#;
    let lanes = section(0.0, "", "", &lane(-1, "", ""));
    let map = map(&[
        road(1, ground, 80.0, &line(0.0, 2.0, 0.0, 80.0), &lanes),
        road(2, bridge, 80.0, &line(38.0, -40.0, FRAC_PI_2, 80.0), &lanes),
    ]
    .concat());
    let road_at = |z: f32| {
        let place = map.locate(40.3, 0.2, z, None).expect("there are lanes");
        map.lanes()[place.lane as usize].road_id
    };
    assert_eq!((road_at(0.5), road_at(6.5)), (1, 2));
}

#[test]
fn sections_are_linked_and_lanes_may_open_between_them() {
    let next = r#"<successor id="-1"/>"#;
    let last = r#"<predecessor id="-1"/>"#;
    let opening = r#"<lane id="-2" type="driving"><link/><width sOffset="0" a="0" b="0.2" c="0" d="0"/>
        <width sOffset="20" a="4" b="0" c="0" d="0"/></lane>"#;
    let back = lane(1, r#"<predecessor id="1"/>"#, "");
    let sections = section(0.0, &lane(1, "", ""), "", &lane(-1, next, ""))
        + &section(30.0, &back, "", &(lane(-1, last, "") + opening));
    let map = map(&road(
        5,
        r#"junction="-1">"#,
        90.0,
        &line(0.0, 0.0, 0.0, 90.0),
        &sections,
    ));
    let (first, second) = (find(&map, 5, 0, -1), find(&map, 5, 1, -1));
    let lane = |index: u32| &map.lanes()[index as usize];
    assert_eq!(lane(first).successors, [second]);
    assert_eq!(lane(find(&map, 5, 1, 1)).successors, [find(&map, 5, 0, 1)]);
    let opening = find(&map, 5, 1, -2);
    assert!(lane(opening).predecessors.is_empty());
    assert_eq!(lane(second).right, Some(opening));
    let ten = map.at_station(opening, 40.0);
    assert!((map.sample(opening, ten).width_m - 2.0).abs() < 1e-3);
    assert!((map.sample(opening, ten).pose.y - 5.0).abs() < 1e-3);
    // The centre of the opening lane leans by half its slope.
    assert!((map.sample(opening, ten).pose.yaw_rad - 0.1_f32.atan()).abs() < 1e-4);
    let (left, right) = map.half_width_to_edge(second, map.at_station(second, 40.0));
    assert!((left - 2.0).abs() < 1e-3 && (right - 4.0).abs() < 1e-3);
    assert!((map.station(second, 0.0) - 30.0).abs() < 1e-4);
}

#[test]
fn a_lane_offset_shifts_every_lane_and_may_jump_between_sections() {
    let one = section(0.0, "", "", &lane(-1, "", ""));
    let offsets = r#"<laneOffset s="0" a="2" b="0" c="0" d="0"/><laneOffset s="50" a="-3" b="0" c="0" d="0"/>"#;
    let lanes = format!("{offsets}{one}{}", section(50.0, "", "", &lane(-1, "", "")));
    let map = map(&road(
        5,
        r#"junction="-1">"#,
        90.0,
        &line(0.0, 0.0, 0.0, 90.0),
        &lanes,
    ));
    let y = |section: u16, s: f32| map.sample(find(&map, 5, section, -1), s).pose.y;
    assert!(y(0, 0.0).abs() < 1e-5 && y(0, 50.0).abs() < 1e-5);
    assert!((y(1, 0.0) - 5.0).abs() < 1e-5 && (y(1, 40.0) - 5.0).abs() < 1e-5);
}

#[test]
fn marks_change_along_a_lane_and_only_permit_their_direction() {
    let mark = |s: f64, kind: &str, change: &str| {
        format!(r#"<roadMark sOffset="{s}" type="{kind}" {change}/>"#)
    };
    let changing =
        mark(0.0, "broken", r#"laneChange="both""#) + &mark(30.0, "solid", r#"laneChange="none""#);
    let silent = mark(0.0, "solid", "");
    let centre = mark(0.0, "broken", r#"laneChange="increase""#);
    let left = lane(2, "", &silent) + &lane(1, "", &changing);
    let right = lane(-1, "", &changing) + &lane(-2, "", &silent);
    let lanes = section(0.0, &left, &centre, &right);
    let map = map(&road(
        5,
        r#"junction="-1">"#,
        90.0,
        &line(0.0, 0.0, 0.0, 90.0),
        &lanes,
    ));
    let marks = |id: i32, s: f32| map.markings(find(&map, 5, 0, id), s);
    assert_eq!(marks(-1, 10.0).right, MarkKind::Broken);
    assert_eq!(marks(-1, 40.0).right, MarkKind::Solid);
    // Lane 1 is driven from station 90 to 0.
    assert_eq!(
        (marks(1, 10.0).right, marks(1, 70.0).right),
        (MarkKind::Solid, MarkKind::Broken)
    );
    assert!(!marks(1, 10.0).right_permits_change && marks(1, 70.0).right_permits_change);
    assert!(!map.lanes()[find(&map, 5, 0, 1) as usize].may_change_right);
    assert!(map.lanes()[find(&map, 5, 0, -1) as usize].may_change_right);
    // Lane -1 may cross the centre towards lane 1, not the other way round.
    assert!(marks(-1, 0.0).left_permits_change && !marks(1, 0.0).left_permits_change);
    // Without laneChange the standard says "both".
    assert!(marks(-2, 0.0).right_permits_change && marks(2, 0.0).right_permits_change);
    let lines = map.polylines(1.0);
    let cut = lines
        .iter()
        .filter(|line| line.lane == find(&map, 5, 0, -1))
        .count();
    assert_eq!(
        cut, 4,
        "a centre, the road's centre line, and two pieces of the right edge"
    );
}

#[test]
fn limits_come_from_the_lane_then_the_road_then_the_default() {
    let own = lane(-1, "", r#"<speed sOffset="0" max="36" unit="km/h"/>"#) + &lane(-2, "", "");
    let typed = r#"junction="-1"><type s="0" type="town"><speed max="25" unit="mph"/></type>"#;
    let no_limit = r#"junction="-1"><type s="0" type="motorway"><speed max="no limit"/></type>"#;
    let plan = line(0.0, 0.0, 0.0, 50.0);
    let map = map(&[
        road(1, typed, 50.0, &plan, &section(0.0, "", "", &own)),
        road(
            2,
            no_limit,
            50.0,
            &plan,
            &section(0.0, "", "", &lane(-1, "", "")),
        ),
    ]
    .concat());
    let limit = |road, id| map.lanes()[find(&map, road, 0, id) as usize].speed_limit_mps;
    assert!((limit(1, -1) - 10.0).abs() < 1e-5);
    assert!((limit(1, -2) - 11.176).abs() < 1e-4);
    assert!((limit(2, -1) - 13.9).abs() < 1e-5);
}

#[test]
fn cubic_forms_follow_their_equations() {
    let poly = r#"<geometry s="0" x="10" y="5" hdg="0" length="40"><poly3 a="0" b="0" c="0.005" d="0"/></geometry>"#;
    // The quarter circle's cubic Bezier curve of radius 20, from (0, 0) to (20, 20).
    let bezier = r#"<geometry s="0" x="100" y="0" hdg="0" length="31.42"><paramPoly3 aU="0" bU="33.137085"
        cU="-6.27417" dU="-6.862915" aV="0" bV="0" cV="26.862915" dV="-6.862915" pRange="normalized"/></geometry>"#;
    let one = section(
        0.0,
        "",
        r#"<roadMark sOffset="0" type="solid"/>"#,
        &lane(-1, "", ""),
    );
    let map = map(&[
        road(1, r#"junction="-1">"#, 40.0, poly, &one),
        road(2, r#"junction="-1">"#, 31.42, bezier, &one),
    ]
    .concat());
    for step in 0..20 {
        let s = step as f32 * 2.0;
        let pose = map.sample(find(&map, 1, 0, -1), s).pose;
        // Back from the lane's centre to the reference line, in OpenDRIVE's frame.
        let (x, y) = (
            pose.x + 2.0 * pose.yaw_rad.sin(),
            -(pose.y - 2.0 * pose.yaw_rad.cos()),
        );
        assert!((y - 5.0 - 0.005 * (x - 10.0).powi(2)).abs() < 2e-3);
        let pose = map.sample(find(&map, 2, 0, -1), s.min(30.0)).pose;
        let (x, y) = (
            pose.x + 2.0 * pose.yaw_rad.sin(),
            -(pose.y - 2.0 * pose.yaw_rad.cos()),
        );
        assert!(((x - 100.0).hypot(y - 20.0) - 20.0).abs() < 0.02);
    }
}

#[test]
fn other_lanes_are_kept_but_not_driven() {
    let walk = lane(-2, "", "").replace("driving", "sidewalk");
    let map = map(&road(
        5,
        r#"junction="-1">"#,
        90.0,
        &line(0.0, 0.0, 0.0, 90.0),
        &section(0.0, "", "", &(lane(-1, "", "") + &walk)),
    ));
    assert_eq!(map.lanes().len(), 2);
    assert_eq!(map.lanes()[1].kind, LaneKind::Sidewalk);
    assert_eq!(map.driving_lanes().collect::<Vec<_>>(), [0]);
    assert_eq!(
        map.locate(45.0, 6.0, 0.0, None).map(|place| place.lane),
        Some(0)
    );
}
