//! What the map answers about right of way.

use super::{
    Conflict, Crossing, Crosswalk, Junction, JunctionIndex, LightGroup, NO_JUNCTION, Signal,
    StopLine,
};
use crate::lane::LaneIndex;
use crate::map::RoadMap;

/// Queries are slices of tables made in the bake: they cost two loads and no search.
impl RoadMap {
    /// All signals in the order of the file: traffic lights and signs.
    pub fn signals(&self) -> &[Signal] {
        &self.rules.signals
    }

    /// Groups of lights whose phases take turns; [`StopLine::light`] says which phase of which
    /// group lets a vehicle go.
    pub fn light_groups(&self) -> &[LightGroup] {
        &self.rules.groups
    }

    /// All junctions in ascending order of ids.
    pub fn junctions(&self) -> &[Junction] {
        &self.rules.junctions
    }

    /// The junction that a lane belongs to.
    pub fn junction_of(&self, lane: LaneIndex) -> Option<JunctionIndex> {
        Some(self.rules.junction_of[lane as usize]).filter(|junction| *junction != NO_JUNCTION)
    }

    /// The driving lanes of a junction, ascending. Panics on an index beyond
    /// [`RoadMap::junctions`].
    pub fn junction_lanes(&self, junction: JunctionIndex) -> &[LaneIndex] {
        self.rules.junction_lanes.row(junction)
    }

    /// The driving lanes that lead into a junction from outside, ascending. Panics on an index
    /// beyond [`RoadMap::junctions`].
    pub fn approaches(&self, junction: JunctionIndex) -> &[LaneIndex] {
        self.rules.approaches.row(junction)
    }

    /// Where other lanes of the same junction come too near to a lane, by lane index. Each
    /// conflict stands with both of its lanes.
    pub fn conflicts(&self, lane: LaneIndex) -> &[Conflict] {
        self.rules.conflicts.row(lane)
    }

    /// The lines at the end of an approach lane, one for each way into the junction, in the order
    /// of the lane's successors; uncontrolled ways have one too. A line of a light or sign
    /// without a junction comes first.
    pub fn stop_lines(&self, lane: LaneIndex) -> &[StopLine] {
        self.rules.stop_lines.row(lane)
    }

    /// All crosswalks, in the order of the file.
    pub fn crosswalks(&self) -> &[Crosswalk] {
        &self.rules.crosswalks
    }

    /// Where crosswalks cover a driving lane, in driving order.
    pub fn crossings(&self, lane: LaneIndex) -> &[Crossing] {
        self.rules.crossings.row(lane)
    }

    /// The speed limit at a place, metres per second: of the last sign passed on the road, else
    /// of the lane, else of the road, else 13.9.
    pub fn speed_limit_mps(&self, lane: LaneIndex, s_m: f32) -> f32 {
        let limits = self.rules.limits.row(lane);
        let behind = limits.partition_point(|step| step.0 <= s_m);
        limits[behind.saturating_sub(1)].1
    }
}
