//! What a map says about who may go: signals, stop lines, junctions, conflicts, crosswalks.

mod conflict;
mod crosswalk;
mod junction;
mod limit;
mod queries;
mod rows;
mod signal;
mod stop_line;

pub use conflict::{Conflict, ConflictKind};
pub use crosswalk::{Crossing, Crosswalk, CrosswalkIndex};
pub use junction::{Junction, JunctionIndex};
pub use signal::{LightGroup, LightPhase, Signal, SignalIndex, SignalKind};
pub use stop_line::{Light, RightOfWay, StopLine};

pub(crate) use rows::Rows;
pub(crate) use stop_line::turn_to;

use crate::Error;
use crate::bake::Baked;
use crate::grid::Grid;
use crate::lane::LaneIndex;
use crate::reader::MapModel;

/// Everything about right of way, flat and by index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub signals: Vec<Signal>,
    pub groups: Vec<LightGroup>,
    pub junctions: Vec<Junction>,
    /// By lane: its junction, or [`NO_JUNCTION`].
    pub junction_of: Vec<JunctionIndex>,
    /// By junction.
    pub junction_lanes: Rows<LaneIndex>,
    /// By junction: lanes outside of it that lead into it.
    pub approaches: Rows<LaneIndex>,
    /// By lane.
    pub conflicts: Rows<Conflict>,
    /// By lane.
    pub stop_lines: Rows<StopLine>,
    pub crosswalks: Vec<Crosswalk>,
    /// By lane.
    pub crossings: Rows<Crossing>,
    /// By lane: from which distance on, metres per second; the first at zero.
    pub limits: Rows<(f32, f32)>,
}

pub(crate) const NO_JUNCTION: JunctionIndex = JunctionIndex::MAX;

/// Bakes the rules of a map whose lanes are linked.
pub(crate) fn bake(model: &MapModel, baked: &mut Baked, grid: &Grid) -> Result<Rules, Error> {
    let (junctions, junction_of, lanes_of) = junction::bake(model, baked);
    let (mut signals, groups) = signal::bake(model, &junctions);
    let conflicts = conflict::bake(baked, &lanes_of)?;
    let (crosswalks, crossings) = crosswalk::bake(model, baked, grid)?;
    let stop_lines = stop_line::bake(model, baked, &mut signals, &crossings);
    let approaches = junction::approaches(baked, &junction_of, junctions.len());
    let limits = limit::bake(model, baked, &signals);
    let numbered = (0..).zip(lanes_of);
    let junction_lanes =
        numbered.flat_map(|(junction, lanes)| lanes.into_iter().map(move |lane| (junction, lane)));
    Ok(Rules {
        junction_lanes: Rows::new(junctions.len(), junction_lanes.collect()),
        signals,
        groups,
        junctions,
        junction_of,
        approaches,
        conflicts,
        stop_lines,
        crosswalks,
        crossings,
        limits,
    })
}
