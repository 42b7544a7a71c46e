use super::*;
use crate::{MapKind, MapSpec};

fn polygons(kind: MapKind) -> (RoadMap, Vec<WalkPolygon>) {
    let map = RoadMap::parse(&MapSpec::new(kind, 0).to_xodr().unwrap()).unwrap();
    let polygons = map.walk_polygons();
    (map, polygons)
}

/// How many polygons can be reached from the first without leaving the kinds of ground that `may` allows.
fn reached(polygons: &[WalkPolygon], may: impl Fn(WalkGround) -> bool) -> usize {
    let mut seen = vec![false; polygons.len()];
    let mut open: Vec<usize> = (0..polygons.len())
        .find(|&first| may(polygons[first].ground))
        .into_iter()
        .collect();
    let mut count = 0;
    while let Some(at) = open.pop() {
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        count += 1;
        let beyond = polygons[at].neighbours.iter().flatten();
        open.extend(
            beyond
                .map(|&next| next as usize)
                .filter(|&next| may(polygons[next].ground)),
        );
    }
    count
}

#[test]
fn neighbours_know_each_other_and_share_the_edge_between_them() {
    for kind in [MapKind::Grid, MapKind::FourWay, MapKind::TJunction] {
        let (_, polygons) = polygons(kind);
        assert!(!polygons.is_empty());
        for (number, polygon) in (0..).zip(&polygons) {
            assert_eq!(polygon.corners.len(), polygon.neighbours.len());
            for (edge, beyond) in polygon.neighbours.iter().enumerate() {
                let Some(beyond) = beyond else { continue };
                let other = &polygons[*beyond as usize];
                let back = other.neighbours.iter().position(|n| *n == Some(number));
                let back = back.expect("a neighbour that doesn't know its neighbour");
                let ends = |polygon: &WalkPolygon, edge: usize| {
                    let count = polygon.corners.len();
                    [polygon.corners[edge], polygon.corners[(edge + 1) % count]]
                };
                let ([a, b], [c, d]) = (ends(polygon, edge), ends(other, back));
                assert!((a, b) == (d, c), "{a:?} {b:?} {c:?} {d:?}");
            }
        }
    }
}

#[test]
fn in_our_town_every_sidewalk_is_reached_over_crosswalks_alone() {
    for kind in [MapKind::Grid, MapKind::FourWay, MapKind::TJunction] {
        let (map, polygons) = polygons(kind);
        let is_walked = |ground| ground != WalkGround::Carriageway;
        let walked = polygons.iter().filter(|polygon| is_walked(polygon.ground));
        assert_eq!(reached(&polygons, is_walked), walked.count(), "{kind:?}");
        let crosswalks = polygons
            .iter()
            .filter(|p| p.ground == WalkGround::Crosswalk);
        assert!(crosswalks.count() >= map.crosswalks().len());
    }
}

#[test]
fn sidewalks_lie_beside_the_driving_lanes() {
    let (map, polygons) = polygons(MapKind::Grid);
    for polygon in polygons.iter().filter(|p| p.ground == WalkGround::Sidewalk) {
        let count = polygon.corners.len() as f32;
        let [x, y, z] =
            std::array::from_fn(|i| polygon.corners.iter().map(|c| c[i]).sum::<f32>() / count);
        let place = map.locate(x, y, z, None).unwrap();
        let length_m = map.lanes()[place.lane as usize].length_m;
        let half_m = 0.5 * map.sample(place.lane, place.s_m).width_m;
        let is_beside = place.s_m > 0.0 && place.s_m < length_m;
        assert!(!is_beside || place.lateral_m.abs() > half_m, "{polygon:?}");
    }
}

#[test]
fn a_road_without_sidewalks_has_no_polygons() {
    let (map, polygons) = polygons(MapKind::Highway);
    assert!(polygons.is_empty() && !map.has_sidewalks());
}
