//! Junctions as places: their driving lanes and the lanes that lead into them.

use std::collections::BTreeMap;

use super::NO_JUNCTION;
use super::rows::Rows;
use crate::bake::Baked;
use crate::lane::LaneIndex;
use crate::reader::MapModel;

/// Index of a junction in [`RoadMap::junctions`](crate::RoadMap::junctions).
pub type JunctionIndex = u32;

/// A junction that has driving lanes or is named by the map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Junction {
    /// OpenDRIVE junction id.
    pub id: u32,
    /// Middle of the box around its driving lanes: x, y, z (metres); zero without lanes.
    pub centre: [f32; 3],
    /// Farthest centre of a driving lane from there, in the ground plane (metres).
    pub radius_m: f32,
}

type Lists = (Vec<Junction>, Vec<JunctionIndex>, Vec<Vec<LaneIndex>>);

/// Junctions in ascending order of ids, the junction of each lane, the driving lanes of each.
pub(super) fn bake(model: &MapModel, baked: &Baked) -> Lists {
    let positions: BTreeMap<u32, JunctionIndex> =
        model.junctions.keys().copied().zip(0..).collect();
    let mut lanes_of = vec![Vec::new(); positions.len()];
    let mut junction_of = vec![NO_JUNCTION; baked.lanes.len()];
    for (index, lane) in (0..).zip(&baked.lanes) {
        let Some(junction) = lane.junction.and_then(|id| positions.get(&id)) else {
            continue;
        };
        junction_of[index as usize] = *junction;
        if baked.is_driving(index) {
            lanes_of[*junction as usize].push(index);
        }
    }
    let junctions = positions
        .into_keys()
        .zip(&lanes_of)
        .map(|(id, lanes)| place(baked, id, lanes))
        .collect();
    (junctions, junction_of, lanes_of)
}

fn place(baked: &Baked, id: u32, lanes: &[LaneIndex]) -> Junction {
    let points = || {
        let samples = lanes.iter().flat_map(|lane| baked.samples(*lane));
        samples.map(|sample| [sample.x, sample.y, sample.z])
    };
    let mut centre = [0.0; 3];
    for (axis, middle) in centre.iter_mut().enumerate().filter(|_| !lanes.is_empty()) {
        let low = points()
            .map(|point| point[axis])
            .fold(f32::INFINITY, f32::min);
        let high = points()
            .map(|point| point[axis])
            .fold(f32::NEG_INFINITY, f32::max);
        *middle = 0.5 * (low + high);
    }
    let squared = points().map(|point| {
        let (dx, dy) = (point[0] - centre[0], point[1] - centre[1]);
        dx * dx + dy * dy
    });
    Junction {
        id,
        centre,
        radius_m: squared.fold(0.0, f32::max).sqrt(),
    }
}

/// By junction: driving lanes outside of it with a driving successor in it, ascending.
pub(super) fn approaches(
    baked: &Baked,
    junction_of: &[JunctionIndex],
    junctions: usize,
) -> Rows<LaneIndex> {
    let mut entries: Vec<(JunctionIndex, LaneIndex)> = Vec::new();
    for index in (0..baked.lanes.len() as LaneIndex).filter(|index| baked.is_driving(*index)) {
        for next in &baked.lanes[index as usize].successors {
            let junction = junction_of[*next as usize];
            if junction != NO_JUNCTION
                && junction != junction_of[index as usize]
                && baked.is_driving(*next)
            {
                entries.push((junction, index));
            }
        }
    }
    entries.sort_unstable();
    entries.dedup();
    Rows::new(junctions, entries)
}
