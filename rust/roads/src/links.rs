//! Edges of the lane graph: neighbours, successors and predecessors.

use crate::Error;
use crate::bake::{Baked, is_same_surface};
use crate::lane::LaneIndex;
use crate::reader::{Link, MapModel, RoadModel, too_large};

/// Ways out of one lane.
const MAX_SUCCESSORS: usize = 256;

/// Connects the baked lanes.
pub(crate) fn connect(model: &MapModel, baked: &mut Baked) -> Result<(), Error> {
    for position in 0..model.roads.len() {
        let road = &model.roads[position];
        for number in 0..road.sections.len() {
            connect_neighbours(road, number, baked.section_lanes[position][number], baked);
            connect_section(model, position, number, baked)?;
        }
    }
    for index in 0..baked.lanes.len() {
        for next in baked.lanes[index].successors.clone() {
            baked.lanes[next as usize]
                .predecessors
                .push(index as LaneIndex);
        }
    }
    Ok(())
}

/// Same-direction driving lanes side by side; lanes stand from left to right in the road's view.
fn connect_neighbours(road: &RoadModel, number: usize, first: LaneIndex, baked: &mut Baked) {
    let lanes: Vec<_> = road.sections[number]
        .lanes
        .iter()
        .filter(|lane| lane.id != 0)
        .collect();
    for (i, pair) in lanes.windows(2).enumerate() {
        if !is_same_surface(pair[0], pair[1]) {
            continue;
        }
        let (leftmost, rightmost) = (first + i as LaneIndex, first + i as LaneIndex + 1);
        let (left, right) = if pair[0].id < 0 {
            (leftmost, rightmost)
        } else {
            (rightmost, leftmost)
        };
        baked.lanes[left as usize].right = Some(right);
        baked.lanes[left as usize].may_change_right =
            baked.markings[left as usize][0].1.right_permits_change;
        baked.lanes[right as usize].left = Some(left);
        baked.lanes[right as usize].may_change_left =
            baked.markings[right as usize][0].1.left_permits_change;
    }
}

fn connect_section(
    model: &MapModel,
    position: usize,
    number: usize,
    baked: &mut Baked,
) -> Result<(), Error> {
    let road = &model.roads[position];
    let first = baked.section_lanes[position][number];
    let lanes = road.sections[number]
        .lanes
        .iter()
        .filter(|lane| lane.id != 0);
    for (i, lane) in lanes.enumerate() {
        let next_id = if lane.id < 0 {
            lane.successor
        } else {
            lane.predecessor
        };
        let next = Exit {
            model,
            baked,
            position,
            number,
            lane_id: lane.id,
        }
        .targets(next_id)?;
        baked.lanes[first as usize + i].successors = next;
    }
    Ok(())
}

/// The end of a lane in its driving direction, and where one gets from there.
struct Exit<'a> {
    model: &'a MapModel,
    baked: &'a Baked,
    position: usize,
    number: usize,
    lane_id: i32,
}

impl Exit<'_> {
    fn targets(&self, next_id: Option<i32>) -> Result<Vec<LaneIndex>, Error> {
        let road = &self.model.roads[self.position];
        let with_road = self.lane_id < 0;
        let inner = if with_road {
            Some(self.number + 1).filter(|next| *next < road.sections.len())
        } else {
            self.number.checked_sub(1)
        };
        if let Some(section) = inner {
            return next_id
                .map(|id| self.find(self.position, section, id))
                .into_iter()
                .collect();
        }
        match if with_road {
            road.successor
        } else {
            road.predecessor
        } {
            Some(Link::Road(id)) => next_id
                .map(|lane| self.entry(id, lane))
                .into_iter()
                .collect(),
            Some(Link::Junction(id)) => self.through_junction(road.id, id),
            None => Ok(Vec::new()),
        }
    }

    fn through_junction(&self, road: u32, junction: u32) -> Result<Vec<LaneIndex>, Error> {
        let junction = self.model.junctions.get(&junction);
        let links = junction
            .and_then(|junction| junction.links.get(&road))
            .into_iter()
            .flatten();
        let mut targets = Vec::new();
        for link in links.filter(|link| link.from == self.lane_id) {
            let target = self.entry(link.connecting, link.to)?;
            // Some tools list a connection once per direction.
            if !targets.contains(&target) {
                if targets.len() == MAX_SUCCESSORS {
                    return Err(too_large(
                        "successors of a lane",
                        MAX_SUCCESSORS + 1,
                        MAX_SUCCESSORS,
                    ));
                }
                targets.push(target);
            }
        }
        Ok(targets)
    }

    /// The first section, in the lane's own driving direction, of another road. A lane can only
    /// be entered at its driving start, so the sign says more than a contact point (libcarla's
    /// rule too).
    fn entry(&self, road_id: u32, lane_id: i32) -> Result<LaneIndex, Error> {
        let Some(position) = self.model.road_positions.get(&road_id).copied() else {
            return Err(self.unknown("road", road_id.to_string()));
        };
        let sections = self.model.roads[position].sections.len();
        let section = if lane_id < 0 { 0 } else { sections - 1 };
        self.find(position, section, lane_id)
    }

    fn find(&self, position: usize, section: usize, lane_id: i32) -> Result<LaneIndex, Error> {
        let index = self.baked.lane_at(self.model, position, section, lane_id);
        index.ok_or_else(|| self.unknown("lane", lane_id.to_string()))
    }

    fn unknown(&self, what: &'static str, id: String) -> Error {
        let road = self.model.roads[self.position].id;
        Error::UnknownReference {
            context: format!("road {road} section {} lane {}", self.number, self.lane_id),
            what,
            id,
        }
    }
}
