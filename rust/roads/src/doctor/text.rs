//! Rules that need no more than the text.

use std::collections::BTreeSet;

use super::{Report, rule};
use crate::reader::Element;
use crate::rules::SignalKind;

const FAR_M: f64 = 10_000.0;
const GRAIN: f64 = 1e-9;
/// Lengths within this of a multiple of half a metre count as one.
const ROUND_M: f64 = 1e-5;

pub(super) fn examine(root: Element, report: &mut Report) {
    let ids = |name| -> BTreeSet<&str> {
        root.children(name)
            .filter_map(|element| element.text("id"))
            .collect()
    };
    let (roads, junctions) = (ids("road"), ids("junction"));
    for id in junctions.intersection(&roads) {
        report.add(&rule::SHARED_ID, || format!("junction {id:.32}"));
    }
    let header = root.child("header");
    if header
        .and_then(|header| header.child("geoReference"))
        .is_none()
    {
        report.add(&rule::NO_GEO_REFERENCE, || "<header>".to_owned());
    }
    root.children("road")
        .for_each(|road| examine_road(road, report));
    examine_connections(root, report);
    examine_lights(root, report);
}

fn number(element: Element, name: &'static str) -> Option<f64> {
    element
        .text(name)?
        .trim()
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite())
}

fn examine_road(road: Element, report: &mut Report) {
    let place = || road.context();
    if road.text("rule") == Some("LHT") {
        report.add(&rule::LEFT_HAND, place);
    }
    for geometry in road
        .children("planView")
        .flat_map(|plan| plan.children("geometry"))
    {
        let is_far = |name| number(geometry, name).is_some_and(|value| value.abs() > FAR_M);
        if is_far("x") || is_far("y") {
            report.add(&rule::FAR_AWAY, || geometry.context());
        }
        if let Some(spiral) = geometry.child("spiral")
            && let (Some(from), Some(to)) = (number(spiral, "curvStart"), number(spiral, "curvEnd"))
            && (from - to).abs() < GRAIN
        {
            report.add(&rule::CONSTANT_SPIRAL, || spiral.context());
        }
    }
    let profiles = road.children("lateralProfile");
    for record in profiles.flat_map(|profile| profile.children("superelevation")) {
        let is_tilted = |name| number(record, name).is_some_and(|value| value.abs() > 1e-6);
        if ["a", "b", "c", "d"].into_iter().any(is_tilted) {
            report.add(&rule::SUPERELEVATION, || record.context());
        }
    }
    examine_sections(road, report);
    for object in road
        .children("objects")
        .flat_map(|group| group.children("object"))
    {
        examine_object(object, report);
    }
}

fn examine_sections(road: Element, report: &mut Report) {
    let is_connection = !matches!(road.text("junction"), None | Some("-1" | ""));
    let sections: Vec<Element> = road
        .children("lanes")
        .flat_map(|lanes| lanes.children("laneSection"))
        .collect();
    let starts = sections
        .iter()
        .map(|section| number(*section, "s").unwrap_or(0.0));
    let ends = starts.clone().skip(1).chain(number(road, "length"));
    let mut has_driving = false;
    for ((section, start), end) in sections.iter().zip(starts).zip(ends) {
        let lanes = |side| {
            section
                .children(side)
                .flat_map(|group: Element| group.children("lane"))
        };
        let driving = |side| lanes(side).filter(|lane| lane.text("type") == Some("driving"));
        let (left, right) = (driving("left").count(), driving("right").count());
        if left + right == 0 {
            continue;
        }
        has_driving = true;
        if is_connection && left > 0 && right > 0 {
            report.add(&rule::TWO_WAY_CONNECTION, || road.context());
        }
        let halves = 2.0 * (end - start);
        if (halves - halves.round()).abs() < 2.0 * ROUND_M {
            report.add(&rule::ROUND_LENGTH, || section.context());
        }
        for lane in driving("left")
            .chain(driving("right"))
            .chain(lanes("center"))
        {
            if lane.child("roadMark").is_none() {
                report.add(&rule::NO_ROAD_MARK, || lane.context());
            }
            for mark in lane.children("roadMark") {
                match mark.text("laneChange") {
                    None => report.add(&rule::NO_LANE_CHANGE, || mark.context()),
                    Some("increase" | "decrease") => {
                        report.add(&rule::ONE_SIDED_CHANGE, || mark.context());
                    }
                    Some(_) => {}
                }
            }
        }
    }
    let has_limit = |element: Element| element.child("speed").is_some();
    let has_lane_limit = || {
        let lanes = sections.iter().flat_map(|section| {
            ["left", "right"].into_iter().flat_map(|side| {
                section
                    .children(side)
                    .flat_map(|group: Element| group.children("lane"))
            })
        });
        lanes.into_iter().any(has_limit)
    };
    if has_driving && !is_connection && !road.children("type").any(has_limit) && !has_lane_limit() {
        report.add(&rule::NO_SPEED, || road.context());
    }
}

fn examine_object(object: Element, report: &mut Report) {
    let place = || object.context();
    if object.text("type") != Some("crosswalk") {
        let name = object.text("name").unwrap_or_default().to_ascii_lowercase();
        if name.contains("crosswalk") {
            report.add(&rule::CROSSWALK_TYPE, place);
        }
        return;
    }
    let outline = if let Some(outline) = object.child("outline") {
        Some(outline)
    } else {
        report.add(&rule::WRAPPED_OUTLINE, place);
        object
            .child("outlines")
            .and_then(|outlines| outlines.child("outline"))
    };
    let corners: Vec<[Option<f64>; 2]> = outline
        .into_iter()
        .flat_map(|outline| outline.children("cornerLocal"))
        .map(|corner| [number(corner, "u"), number(corner, "v")])
        .collect();
    if corners.first() != corners.last() || corners.len() < 4 {
        report.add(&rule::OPEN_OUTLINE, place);
    }
}

fn examine_connections(root: Element, report: &mut Report) {
    for junction in root.children("junction") {
        let mut seen = BTreeSet::new();
        for connection in junction.children("connection") {
            for link in connection.children("laneLink") {
                let key = [
                    connection.text("incomingRoad"),
                    connection.text("connectingRoad"),
                    link.text("from"),
                    link.text("to"),
                ];
                if !seen.insert(key) {
                    report.add(&rule::REPEATED_CONNECTION, || junction.context());
                }
            }
        }
    }
}

fn examine_lights(root: Element, report: &mut Report) {
    let groups = || {
        root.children("road")
            .flat_map(|road| road.children("signals"))
    };
    let signals = || groups().flat_map(|group| group.children("signal"));
    let known: BTreeSet<&str> = signals().filter_map(|signal| signal.text("id")).collect();
    let named: BTreeSet<&str> = root
        .children("junction")
        .flat_map(|junction| junction.children("controller"))
        .filter_map(|controller| controller.text("id"))
        .collect();
    let mut controlled = BTreeSet::new();
    for controller in root.children("controller") {
        let is_named = controller.text("id").is_some_and(|id| named.contains(id));
        for signal in controller
            .children("control")
            .filter_map(|it| it.text("signalId"))
        {
            if !known.contains(signal) {
                report.add(&rule::SIGNAL_UNKNOWN, || controller.context());
            }
            if is_named {
                controlled.insert(signal);
            }
        }
    }
    for reference in groups().flat_map(|group| group.children("signalReference")) {
        if !reference.text("id").is_some_and(|id| known.contains(id)) {
            report.add(&rule::SIGNAL_UNKNOWN, || reference.context());
        }
    }
    for signal in signals() {
        let code = signal.text("type").unwrap_or_default();
        let is_controlled = signal.text("id").is_some_and(|id| controlled.contains(id));
        let kind = SignalKind::from_code(code);
        if kind == SignalKind::Light && !is_controlled {
            report.add(&rule::NO_CONTROLLER, || signal.context());
        }
        let is_rule = matches!(
            kind,
            SignalKind::Light | SignalKind::Stop | SignalKind::Yield
        );
        if is_rule && signal.child("validity").is_none() {
            report.add(&rule::NO_VALIDITY, || signal.context());
        }
    }
}
