//! Junctions, and the check that every reference between roads and junctions leads somewhere.

use super::model::{JunctionModel, LaneLink, Link, MapModel};
use super::signals;
use super::xml::Element;
use crate::Error;

/// Lane links of all junctions.
const MAX_LANE_LINKS: usize = 1_000_000;

/// Reads the connections of one `<junction>`; `count` goes on over all junctions.
pub(super) fn read(element: Element, count: &mut usize) -> Result<JunctionModel, Error> {
    let mut junction = JunctionModel::default();
    for connection in element.children("connection") {
        let connecting = connection.id("connectingRoad")?;
        let links = junction
            .links
            .entry(connection.id("incomingRoad")?)
            .or_default();
        for link in connection.children("laneLink") {
            *count += 1;
            if *count > MAX_LANE_LINKS {
                return Err(super::too_large("lane links", *count, MAX_LANE_LINKS));
            }
            links.push(LaneLink {
                from: link.lane_id("from")?,
                connecting,
                to: link.lane_id("to")?,
            });
        }
    }
    junction.controllers = signals::turns(element)?;
    Ok(junction)
}

/// Refuses links, junction memberships and connections that name what doesn't exist.
pub(super) fn check_references(model: &MapModel) -> Result<(), Error> {
    for road in &model.roads {
        let context = || format!("road {}", road.id);
        if let Some(id) = road.junction
            && !model.junctions.contains_key(&id)
        {
            return Err(unknown(context(), "junction", id));
        }
        for link in [road.predecessor, road.successor].into_iter().flatten() {
            match link {
                Link::Road(id) if !model.road_positions.contains_key(&id) => {
                    return Err(unknown(context(), "road", id));
                }
                Link::Junction(id) if !model.junctions.contains_key(&id) => {
                    return Err(unknown(context(), "junction", id));
                }
                _ => {}
            }
        }
    }
    for (junction, connections) in &model.junctions {
        for (incoming, links) in &connections.links {
            let connecting = links.iter().map(|link| &link.connecting);
            for id in connecting.chain([incoming]) {
                if !model.road_positions.contains_key(id) {
                    return Err(unknown(format!("junction {junction}"), "road", *id));
                }
            }
        }
    }
    Ok(())
}

fn unknown(context: String, what: &'static str, id: u32) -> Error {
    Error::UnknownReference {
        context,
        what,
        id: id.to_string(),
    }
}
