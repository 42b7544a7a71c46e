//! The OpenDRIVE reader. Its input is hostile until checked.

mod junction;
mod lanes;
mod model;
mod road;
mod xml;

pub(crate) use model::{LaneModel, Link, MapModel, Mark, RoadModel, SectionModel, in_force};

use roxmltree::{Document, ParsingOptions};

use crate::Error;
use xml::Element;

/// Largest accepted text. The largest town of CARLA 0.9.16 has a third of it.
const MAX_BYTES: usize = 64 << 20;
/// Elements, attributes' owners and text pieces together.
const MAX_NODES: u32 = 8_000_000;
/// Depth of nesting; OpenDRIVE needs fewer than 12.
const MAX_DEPTH: usize = 64;
const MAX_ROADS: usize = 50_000;
const MAX_LANES: usize = 400_000;

/// Reads the text into the model, checking every number and every reference between roads.
pub(crate) fn read(text: &str) -> Result<MapModel, Error> {
    if text.len() > MAX_BYTES {
        return Err(too_large("bytes", text.len(), MAX_BYTES));
    }
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options).map_err(|error| Error::Xml {
        message: error.to_string(),
    })?;
    check_depth(&document)?;
    let root = Element(document.root_element());
    if !root.0.has_tag_name("OpenDRIVE") {
        return Err(Error::MissingElement {
            context: root.context(),
            element: "OpenDRIVE",
        });
    }
    read_root(root)
}

fn read_root(root: Element) -> Result<MapModel, Error> {
    let mut model = MapModel::default();
    let mut lanes = 0;
    for element in root.children("road") {
        if model.roads.len() == MAX_ROADS {
            return Err(too_large("roads", MAX_ROADS + 1, MAX_ROADS));
        }
        let road = road::read(element)?;
        lanes += road.sections.iter().map(|s| s.lanes.len()).sum::<usize>();
        if lanes > MAX_LANES {
            return Err(too_large("lanes", lanes, MAX_LANES));
        }
        if model
            .road_positions
            .insert(road.id, model.roads.len())
            .is_some()
        {
            return Err(Error::Duplicate {
                context: element.context(),
                what: "road",
                id: road.id.into(),
            });
        }
        model.roads.push(road);
    }
    for element in root.children("junction") {
        let id = element.id("id")?;
        if model
            .junctions
            .insert(id, junction::read(element)?)
            .is_some()
        {
            return Err(Error::Duplicate {
                context: element.context(),
                what: "junction",
                id: id.into(),
            });
        }
    }
    junction::check_references(&model)?;
    Ok(model)
}

/// The parser itself doesn't recurse, so depth can't hurt it; a deep file is refused all the
/// same, since it isn't a map.
fn check_depth(document: &Document) -> Result<(), Error> {
    // Where the elements around the current node end, outermost first.
    let mut ends: Vec<usize> = Vec::new();
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        let range = node.range();
        while ends.last().is_some_and(|end| *end <= range.start) {
            ends.pop();
        }
        ends.push(range.end);
        if ends.len() > MAX_DEPTH {
            return Err(too_large("levels of nesting", ends.len(), MAX_DEPTH));
        }
    }
    Ok(())
}

pub(crate) fn too_large(what: &'static str, count: usize, limit: usize) -> Error {
    Error::TooLarge {
        what,
        count: count as u64,
        limit: limit as u64,
    }
}
