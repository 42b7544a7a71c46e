//! Junctions, and the check that every reference between roads and junctions leads somewhere.

use super::model::{Connection, Link, MapModel};
use super::xml::Element;
use crate::Error;

/// Reads the connections of one `<junction>`.
pub(super) fn read(element: Element) -> Result<Vec<Connection>, Error> {
    element.children("connection").map(connection).collect()
}

fn connection(element: Element) -> Result<Connection, Error> {
    let lanes = element
        .children("laneLink")
        .map(|link| Ok((link.lane_id("from")?, link.lane_id("to")?)))
        .collect::<Result<_, Error>>()?;
    Ok(Connection {
        incoming: element.id("incomingRoad")?,
        connecting: element.id("connectingRoad")?,
        lanes,
    })
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
        for id in connections.iter().flat_map(|c| [c.incoming, c.connecting]) {
            if !model.road_positions.contains_key(&id) {
                return Err(unknown(format!("junction {junction}"), "road", id));
            }
        }
    }
    Ok(())
}

fn unknown(context: String, what: &'static str, id: u32) -> Error {
    Error::UnknownReference {
        context,
        what,
        id: id.into(),
    }
}
