//! What the reader hands to the bake: the parts of an OpenDRIVE file that matter to driving.

use std::collections::BTreeMap;

use crate::geometry::PlanView;
use crate::lane::{LaneKind, MarkKind};
use crate::polynomial::Piecewise;

/// A value that holds from a station on.
pub(crate) type Step<T> = (f64, T);

/// The value in force at a station; the first one also before its start.
pub(crate) fn in_force<T: Copy>(steps: &[Step<T>], station: f64) -> Option<T> {
    let behind = steps.partition_point(|step| step.0 <= station);
    steps.get(behind.saturating_sub(1)).map(|step| step.1)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Road(u32),
    Junction(u32),
}

/// A road mark on the outer edge of a lane (of lane 0: on the centre line).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub kind: MarkKind,
    /// A change towards a higher lane id may cross it.
    pub permits_increase: bool,
    /// A change towards a lower lane id may cross it.
    pub permits_decrease: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct LaneModel {
    pub id: i32,
    pub kind: LaneKind,
    /// Of the distance from the section's start; empty for lane 0.
    pub width: Piecewise,
    /// By distance from the section's start.
    pub marks: Vec<Step<Mark>>,
    /// By distance from the section's start, metres per second.
    pub speeds: Vec<Step<f32>>,
    pub predecessor: Option<i32>,
    pub successor: Option<i32>,
}

#[derive(Debug, Clone)]
pub(crate) struct SectionModel {
    pub start: f64,
    pub end: f64,
    /// In descending order of ids, so from left to right; lane 0 included.
    pub lanes: Vec<LaneModel>,
}

impl SectionModel {
    /// Position of a lane id in `lanes`.
    pub fn position(&self, lane_id: i32) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.id == lane_id)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct RoadModel {
    pub id: u32,
    pub junction: Option<u32>,
    pub predecessor: Option<Link>,
    pub successor: Option<Link>,
    pub plan: PlanView,
    pub elevation: Piecewise,
    pub lane_offset: Piecewise,
    /// By station, metres per second.
    pub speeds: Vec<Step<f32>>,
    pub sections: Vec<SectionModel>,
    pub signals: Vec<SignalModel>,
    /// Of the signals that stand here, then of the references to others.
    pub scopes: Vec<Scope>,
    pub crosswalks: Vec<CrosswalkModel>,
}

impl RoadModel {
    /// The section in force at a station, clamped to the road.
    pub fn section_at(&self, station: f64) -> usize {
        let behind = self
            .sections
            .partition_point(|section| section.start <= station);
        behind.saturating_sub(1)
    }
}

/// A lane of an incoming road continues as a lane of a connecting road.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneLink {
    pub from: i32,
    pub connecting: u32,
    pub to: i32,
}

/// The connections of a junction, and the controllers of its lights.
#[derive(Debug, Clone, Default)]
pub(crate) struct JunctionModel {
    /// Lane links by incoming road, in the order of the file.
    pub links: BTreeMap<u32, Vec<LaneLink>>,
    /// Identifiers of light controllers in the order of their turns.
    pub controllers: Vec<Box<str>>,
}

/// Which driving directions a signal is meant for; it counts only where no lanes are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orientation {
    Positive,
    Negative,
    Both,
}

/// Lanes from one id to another, both included, in either order.
pub(crate) type LaneRange = (i32, i32);

/// Where a signal governs lanes: at its own place, or at a reference to it.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub signal: Box<str>,
    pub station: f64,
    pub orientation: Orientation,
    /// The lanes it is valid for; none named means those of its orientation.
    pub lanes: Option<Vec<LaneRange>>,
}

/// A traffic light or sign.
#[derive(Debug, Clone)]
pub(crate) struct SignalModel {
    pub id: Box<str>,
    pub name: Box<str>,
    pub code: Box<str>,
    pub station: f64,
    /// To the left of the reference line.
    pub lateral: f64,
    pub height: f64,
    pub heading: f64,
    pub value: Option<f64>,
    pub unit: Box<str>,
}

/// The outline of a crosswalk in its own frame: u forward, v left, z up.
#[derive(Debug, Clone)]
pub(crate) struct CrosswalkModel {
    pub id: Box<str>,
    pub station: f64,
    pub lateral: f64,
    pub height: f64,
    pub heading: f64,
    pub corners: Vec<[f64; 3]>,
}

/// Lights that switch together.
#[derive(Debug, Clone)]
pub(crate) struct ControllerModel {
    pub id: Box<str>,
    pub sequence: u32,
    /// Identifiers of signals, each once.
    pub signals: Vec<Box<str>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct MapModel {
    /// In the order of the file.
    pub roads: Vec<RoadModel>,
    /// Position in `roads` by road id.
    pub road_positions: BTreeMap<u32, usize>,
    pub junctions: BTreeMap<u32, JunctionModel>,
    /// In the order of the file.
    pub controllers: Vec<ControllerModel>,
}
