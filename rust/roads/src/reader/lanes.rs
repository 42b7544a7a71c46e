//! Lane sections and lanes.

use super::model::{LaneModel, Mark, SectionModel, Step};
use super::road::{MAX_LENGTH_M, piecewise, speed_limit};
use super::xml::Element;
use crate::Error;
use crate::lane::{LaneKind, MarkKind};
use crate::polynomial::Piecewise;

const MAX_SECTIONS: usize = u16::MAX as usize;
/// Lanes of one section, the centre lane included.
const MAX_LANES_PER_SECTION: usize = 64;
/// Shorter sections can't be driven or drawn.
const MIN_SECTION_M: f64 = 1e-4;

const STATION: &str = "a finite number from 0 to 200000";

/// Reads the lane sections of a road and closes each at the start of the next.
pub(super) fn sections(lanes: Element, road_length: f64) -> Result<Vec<SectionModel>, Error> {
    let elements: Vec<Element> = lanes.children("laneSection").collect();
    if elements.is_empty() {
        lanes.require("laneSection")?;
    }
    if elements.len() > MAX_SECTIONS {
        return Err(super::too_large(
            "lane sections in a road",
            elements.len(),
            MAX_SECTIONS,
        ));
    }
    let starts = elements
        .iter()
        .map(|element| element.number("s", 0.0..=MAX_LENGTH_M, STATION))
        .collect::<Result<Vec<_>, Error>>()?;
    elements
        .iter()
        .enumerate()
        .map(|(i, element)| {
            // The first section covers the road's start, whatever rounding says.
            let start = if i == 0 { 0.0 } else { starts[i] };
            let end = starts.get(i + 1).copied().unwrap_or(road_length);
            if end - start < MIN_SECTION_M {
                let text = element.require_text("s")?;
                return Err(element.bad("s", text, "at least 0.0001 m before the next section"));
            }
            section(*element, start, end)
        })
        .collect()
}

fn section(element: Element, start: f64, end: f64) -> Result<SectionModel, Error> {
    let mut lanes = Vec::new();
    for (side, sign) in [("left", 1), ("center", 0), ("right", -1)] {
        let Some(group) = element.child(side) else {
            continue;
        };
        for lane_element in group.children("lane") {
            if lanes.len() == MAX_LANES_PER_SECTION {
                let count = MAX_LANES_PER_SECTION + 1;
                return Err(super::too_large(
                    "lanes in a section",
                    count,
                    MAX_LANES_PER_SECTION,
                ));
            }
            let read = lane(lane_element)?;
            if read.id.signum() != sign {
                let text = lane_element.require_text("id")?;
                let expected = "positive on the left, 0 in the centre, negative on the right";
                return Err(lane_element.bad("id", text, expected));
            }
            lanes.push(read);
        }
    }
    lanes.sort_by_key(|lane| std::cmp::Reverse(lane.id));
    if let Some(pair) = lanes.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(Error::Duplicate {
            context: element.context(),
            what: "lane",
            id: pair[0].id.to_string(),
        });
    }
    Ok(SectionModel { start, end, lanes })
}

fn lane(element: Element) -> Result<LaneModel, Error> {
    let id = element.lane_id("id")?;
    let width = piecewise(element, "width", "sOffset")?;
    if id != 0 && width == Piecewise::default() {
        // Borders instead of widths are not read: libcarla doesn't read them either.
        element.require("width")?;
    }
    let link = element.child("link");
    let linked = |name| {
        link.and_then(|link| link.child(name))
            .map(|to| to.lane_id("id"))
            .transpose()
    };
    Ok(LaneModel {
        id,
        kind: LaneKind::from_name(element.text("type").unwrap_or("none")),
        width,
        marks: marks(element)?,
        speeds: speeds(element)?,
        predecessor: linked("predecessor")?,
        successor: linked("successor")?,
    })
}

fn marks(element: Element) -> Result<Vec<Step<Mark>>, Error> {
    let mut marks = element
        .children("roadMark")
        .map(|record| {
            let start = record.number("sOffset", 0.0..=MAX_LENGTH_M, STATION)?;
            // The standard and libcarla read a missing laneChange as "both", whatever is painted.
            let (permits_increase, permits_decrease) = match record.text("laneChange") {
                None | Some("both") => (true, true),
                Some("increase") => (true, false),
                Some("decrease") => (false, true),
                Some(_) => (false, false),
            };
            let kind = MarkKind::from_name(record.text("type").unwrap_or("none"));
            Ok((
                start,
                Mark {
                    kind,
                    permits_increase,
                    permits_decrease,
                },
            ))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    marks.sort_by(|left, right| left.0.total_cmp(&right.0));
    Ok(marks)
}

fn speeds(element: Element) -> Result<Vec<Step<f32>>, Error> {
    let mut speeds = Vec::new();
    for record in element.children("speed") {
        let start = record.number("sOffset", 0.0..=MAX_LENGTH_M, STATION)?;
        if let Some(limit) = speed_limit(record)? {
            speeds.push((start, limit));
        }
    }
    speeds.sort_by(|left, right| left.0.total_cmp(&right.0));
    Ok(speeds)
}
