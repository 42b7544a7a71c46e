//! The OpenDRIVE reader. Its input is hostile until checked.

mod junction;
mod lanes;
mod model;
mod objects;
mod road;
mod scan;
mod signals;
mod xml;

pub(crate) use model::{
    CrosswalkModel, LaneModel, Link, MapModel, Mark, Orientation, RoadModel, Scope, SectionModel,
    SignalModel, in_force,
};
pub(crate) use xml::Element;

use roxmltree::{Document, ParsingOptions};

use crate::Error;

/// Largest accepted text; Town04 of CARLA has 3.4 MB.
const MAX_BYTES: usize = 128 << 20;
/// Elements and pieces of text together.
const MAX_NODES: u32 = 16_000_000;
const MAX_ROADS: usize = 50_000;
const MAX_LANES: usize = 400_000;
const MAX_FURNITURE: usize = 400_000;

/// Reads the text into the model, checking every number and every reference between roads.
pub(crate) fn read(text: &str) -> Result<MapModel, Error> {
    with_root(text, read_root)
}

/// Parses the text within all limits of size and hands its root element over.
pub(crate) fn with_root<T>(
    text: &str,
    use_root: impl FnOnce(Element) -> Result<T, Error>,
) -> Result<T, Error> {
    if text.len() > MAX_BYTES {
        return Err(too_large("bytes", text.len(), MAX_BYTES));
    }
    scan::check(text)?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options).map_err(|error| Error::Xml {
        message: error.to_string(),
    })?;
    let root = Element(document.root_element());
    if !root.0.has_tag_name("OpenDRIVE") {
        return Err(Error::MissingElement {
            context: root.context(),
            element: "OpenDRIVE",
        });
    }
    use_root(root)
}

fn read_root(root: Element) -> Result<MapModel, Error> {
    let mut model = MapModel::default();
    let (mut lanes, mut furniture) = (0, 0);
    for element in root.children("road") {
        if model.roads.len() == MAX_ROADS {
            return Err(too_large("roads", MAX_ROADS + 1, MAX_ROADS));
        }
        let road = road::read(element)?;
        lanes += road.sections.iter().map(|s| s.lanes.len()).sum::<usize>();
        if lanes > MAX_LANES {
            return Err(too_large("lanes", lanes, MAX_LANES));
        }
        furniture += road.scopes.len() + road.crosswalks.len();
        if furniture > MAX_FURNITURE {
            let what = "signals, references and crosswalks";
            return Err(too_large(what, furniture, MAX_FURNITURE));
        }
        if model
            .road_positions
            .insert(road.id, model.roads.len())
            .is_some()
        {
            return Err(Error::Duplicate {
                context: element.context(),
                what: "road",
                id: road.id.to_string(),
            });
        }
        model.roads.push(road);
    }
    let mut lane_links = 0;
    for element in root.children("junction") {
        let id = element.id("id")?;
        let junction = junction::read(element, &mut lane_links)?;
        if model.junctions.insert(id, junction).is_some() {
            return Err(Error::Duplicate {
                context: element.context(),
                what: "junction",
                id: id.to_string(),
            });
        }
    }
    junction::check_references(&model)?;
    model.controllers = signals::controllers(root)?;
    signals::check_unique(&model)?;
    Ok(model)
}

pub(crate) fn too_large(what: &'static str, count: usize, limit: usize) -> Error {
    Error::TooLarge {
        what,
        count: count as u64,
        limit: limit as u64,
    }
}
