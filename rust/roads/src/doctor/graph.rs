//! Rules that need the lane graph.

use std::collections::BTreeSet;

use super::{Report, rule};
use crate::lane::{Lane, LaneIndex, LaneKind};
use crate::map::RoadMap;
use crate::rules::{RightOfWay, SignalKind};

const GAP_M: f32 = 0.3;
const GAP_COS: f32 = 0.966;

pub(super) fn examine(map: &RoadMap, report: &mut Report) {
    examine_links(map, report);
    examine_signals(map, report);
    for (junction, place) in (0..).zip(map.junctions()) {
        let ways = map
            .approaches(junction)
            .iter()
            .flat_map(|lane| map.stop_lines(*lane));
        let ways = ways.filter(|line| {
            line.onto
                .is_some_and(|to| map.junction_of(to) == Some(junction))
        });
        let lit: BTreeSet<bool> = ways.map(|line| line.rule == RightOfWay::Light).collect();
        if lit.len() == 2 {
            report.add(&rule::PARTLY_LIT, || format!("junction {}", place.id));
        }
    }
}

fn name(lane: &Lane) -> String {
    format!(
        "road {} section {} lane {}",
        lane.road_id, lane.section, lane.lane_id
    )
}

fn examine_links(map: &RoadMap, report: &mut Report) {
    let lanes = map.lanes();
    let is_driving = |index: LaneIndex| lanes[index as usize].kind == LaneKind::Driving;
    let mut has_link = false;
    let mut ends = Vec::new();
    for (index, lane) in (0..).zip(lanes) {
        for next in lane.successors.iter().filter(|next| is_driving(**next)) {
            if lane.kind != LaneKind::Driving {
                if lanes[*next as usize].junction.is_some() {
                    report.add(&rule::SIDEWALK_DRIVEN, || name(lane));
                }
                continue;
            }
            has_link = true;
            let end = map.sample(index, lane.length_m);
            let start = map.sample(*next, 0.0);
            // A lane that is only beginning to open may begin anywhere across its neighbour.
            let slack = GAP_M + 0.5 * (end.width_m - start.width_m).abs();
            let (a, b) = (end.pose, start.pose);
            let turn = libm::cosf(a.yaw_rad - b.yaw_rad);
            let squared = (a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y);
            if squared > slack * slack || turn < GAP_COS || (a.z - b.z).abs() > GAP_M {
                report.add(&rule::GAP, || name(lane));
            }
        }
        if lane.kind == LaneKind::Driving && !lane.successors.iter().any(|next| is_driving(*next)) {
            ends.push(index);
        }
    }
    if has_link {
        for end in ends {
            report.add(&rule::DEAD_END, || name(&lanes[end as usize]));
        }
    } else {
        report.add(&rule::NO_TOPOLOGY, || "the map".to_owned());
    }
}

fn examine_signals(map: &RoadMap, report: &mut Report) {
    for signal in map.signals() {
        let is_rule = matches!(
            signal.kind,
            SignalKind::Light | SignalKind::Stop | SignalKind::Yield
        );
        if is_rule && !signal.governs {
            report.add(&rule::GOVERNS_NOTHING, || format!("signal {}", signal.id));
        }
    }
}
