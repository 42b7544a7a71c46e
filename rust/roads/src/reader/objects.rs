//! Objects beside and on the road. Of these only crosswalks matter to driving.

use super::model::CrosswalkModel;
use super::signals::station;
use super::xml::Element;
use crate::Error;

const MAX_CORNERS: usize = 256;
/// No crosswalk is as long as this.
const MAX_REACH_M: f64 = 500.0;

/// Reads the objects of type `crosswalk`, which is the only word that libcarla knows them by.
/// One without an outline of three corners has no area and is left out.
pub(super) fn crosswalks(road: Element, length: f64) -> Result<Vec<CrosswalkModel>, Error> {
    let objects = road
        .children("objects")
        .flat_map(|group| group.children("object"));
    let mut crosswalks = Vec::new();
    for object in objects.filter(|object| object.text("type") == Some("crosswalk")) {
        let corners = corners(object)?;
        if corners.len() < 3 {
            continue;
        }
        let metres = |name| object.number_or(name, 0.0, -1e4..=1e4, "from -10000 to 10000");
        crosswalks.push(CrosswalkModel {
            id: object.label("id"),
            station: station(object, length)?,
            lateral: metres("t")?,
            height: metres("zOffset")?,
            heading: object.number_or("hdg", 0.0, -100.0..=100.0, "from -100 to 100")?,
            corners,
        });
    }
    Ok(crosswalks)
}

/// The first outline, bare or inside `<outlines>`, without the corner that closes it.
fn corners(object: Element) -> Result<Vec<[f64; 3]>, Error> {
    let wrapped = || object.child("outlines")?.child("outline");
    let Some(outline) = object.child("outline").or_else(wrapped) else {
        return Ok(Vec::new());
    };
    let mut corners = Vec::new();
    for corner in outline.children("cornerLocal") {
        if corners.len() == MAX_CORNERS {
            return Err(super::too_large("corners", MAX_CORNERS + 1, MAX_CORNERS));
        }
        let range = -MAX_REACH_M..=MAX_REACH_M;
        let metres = |name| corner.number_or(name, 0.0, range.clone(), "from -500 to 500");
        corners.push([metres("u")?, metres("v")?, metres("z")?]);
    }
    if corners.len() > 1 && corners.first() == corners.last() {
        corners.pop();
    }
    Ok(corners)
}
