//! One `<road>`: reference line, elevation, speed and links.

use super::model::{Link, RoadModel, Step};
use super::xml::Element;
use super::{lanes, objects, signals};
use crate::Error;
use crate::geometry::{Curve, Frame, Geometry, PlanView, Shape, Spiral};
use crate::polynomial::{Cubic, Piecewise};

/// Longest road.
pub(super) const MAX_LENGTH_M: f64 = 200_000.0;
/// Farthest coordinate: beyond it an `f32` can't hold 6 cm.
const MAX_COORDINATE_M: f64 = 1_000_000.0;
/// Tightest curve (radius 1 cm).
const MAX_CURVATURE_PER_M: f64 = 100.0;
/// Most turning within one record, so that a spiral stays integrable.
const MAX_TURN_RAD: f64 = 1000.0;

const STATION: &str = "a finite number from 0 to 200000";
const COEFFICIENTS: [&str; 4] = ["a", "b", "c", "d"];

/// Reads one road.
pub(super) fn read(element: Element) -> Result<RoadModel, Error> {
    let length = element.number("length", 1e-3..=MAX_LENGTH_M, "from 0.001 to 200000")?;
    let (predecessor, successor) = links(element)?;
    let lanes = element.require("lanes")?;
    let (signals, scopes) = signals::read(element, length)?;
    Ok(RoadModel {
        id: element.id("id")?,
        junction: junction_of(element)?,
        predecessor,
        successor,
        plan: plan_view(element.require("planView")?)?,
        elevation: match element.child("elevationProfile") {
            Some(profile) => piecewise(profile, "elevation", "s")?,
            None => Piecewise::default(),
        },
        lane_offset: piecewise(lanes, "laneOffset", "s")?,
        speeds: speeds(element)?,
        sections: lanes::sections(lanes, length)?,
        signals,
        scopes,
        crosswalks: objects::crosswalks(element, length)?,
    })
}

fn junction_of(element: Element) -> Result<Option<u32>, Error> {
    match element.text("junction") {
        None | Some("-1" | "") => Ok(None),
        Some(_) => element.id("junction").map(Some),
    }
}

fn links(element: Element) -> Result<(Option<Link>, Option<Link>), Error> {
    let Some(link) = element.child("link") else {
        return Ok((None, None));
    };
    let read = |name| link.child(name).map(road_link).transpose();
    Ok((read("predecessor")?, read("successor")?))
}

fn road_link(element: Element) -> Result<Link, Error> {
    let id = element.id("elementId")?;
    match element.require_text("elementType")? {
        "road" => Ok(Link::Road(id)),
        "junction" => Ok(Link::Junction(id)),
        other => Err(element.bad("elementType", other, "\"road\" or \"junction\"")),
    }
}

fn plan_view(element: Element) -> Result<PlanView, Error> {
    let mut pieces: Vec<Geometry> = Vec::new();
    for record in element.children("geometry") {
        let piece = geometry(record)?;
        if pieces
            .last()
            .is_some_and(|last| piece.station < last.station)
        {
            let text = record.require_text("s")?;
            return Err(record.bad("s", text, "not before the record above"));
        }
        pieces.push(piece);
    }
    if pieces.is_empty() {
        return Err(Error::MissingElement {
            context: element.context(),
            element: "geometry",
        });
    }
    Ok(PlanView::new(pieces))
}

fn geometry(element: Element) -> Result<Geometry, Error> {
    let coordinates = -MAX_COORDINATE_M..=MAX_COORDINATE_M;
    let expected = "a finite number of magnitude 1000000 at most";
    let length = element.number("length", 0.0..=MAX_LENGTH_M, STATION)?;
    Ok(Geometry {
        station: element.number("s", 0.0..=MAX_LENGTH_M, STATION)?,
        start: Frame {
            x: element.number("x", coordinates.clone(), expected)?,
            y: element.number("y", coordinates.clone(), expected)?,
            heading: element.number("hdg", coordinates, expected)?,
        },
        // A record of no length contributes its start only.
        shape: shape(element, length.max(1e-9))?,
    })
}

fn shape(element: Element, length: f64) -> Result<Shape, Error> {
    if let Some(arc) = element.child("arc") {
        let curvature = curvature(arc, "curvature", length)?;
        return Ok(Shape::Arc { curvature });
    }
    if let Some(spiral) = element.child("spiral") {
        let from = curvature(spiral, "curvStart", length)?;
        let to = curvature(spiral, "curvEnd", length)?;
        return Ok(Shape::Spiral(Spiral::new(from, to, length)));
    }
    if let Some(poly) = element.child("poly3") {
        let u = Cubic {
            b: 1.0,
            ..Cubic::default()
        };
        let curve = Curve::new(u, poly.cubic(COEFFICIENTS)?, length, length);
        return Ok(Shape::Curve(curve));
    }
    if let Some(poly) = element.child("paramPoly3") {
        let u = poly.cubic(["aU", "bU", "cU", "dU"])?;
        let v = poly.cubic(["aV", "bV", "cV", "dV"])?;
        let end = match poly.text("pRange") {
            None | Some("normalized") => 1.0,
            Some("arcLength") => length,
            Some(other) => {
                return Err(poly.bad("pRange", other, "\"arcLength\" or \"normalized\""));
            }
        };
        return Ok(Shape::Curve(Curve::new(u, v, end, length)));
    }
    element.require("line")?;
    Ok(Shape::Arc { curvature: 0.0 })
}

fn curvature(element: Element, attribute: &'static str, length: f64) -> Result<f64, Error> {
    let range = -MAX_CURVATURE_PER_M..=MAX_CURVATURE_PER_M;
    let value = element.number(attribute, range, "a finite number from -100 to 100")?;
    if value.abs() * length > MAX_TURN_RAD {
        let text = element.require_text(attribute)?;
        return Err(element.bad(attribute, text, "at most 1000 rad of turning"));
    }
    Ok(value)
}

/// Cubic records of the children called `name`, by the station in `station`.
pub(super) fn piecewise(
    element: Element,
    name: &'static str,
    station: &'static str,
) -> Result<Piecewise, Error> {
    let pieces = element
        .children(name)
        .map(|record| {
            let start = record.number(station, 0.0..=MAX_LENGTH_M, STATION)?;
            Ok((start, record.cubic(COEFFICIENTS)?))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(Piecewise::new(pieces))
}

/// The limits of `<type><speed/></type>`, by station.
fn speeds(element: Element) -> Result<Vec<Step<f32>>, Error> {
    let mut speeds = Vec::new();
    for road_type in element.children("type") {
        let start = road_type.number("s", 0.0..=MAX_LENGTH_M, STATION)?;
        if let Some(limit) = road_type
            .child("speed")
            .map(speed_limit)
            .transpose()?
            .flatten()
        {
            speeds.push((start, limit));
        }
    }
    speeds.sort_by(|left, right| left.0.total_cmp(&right.0));
    Ok(speeds)
}

/// A `<speed>` in metres per second; none where it says that there is no limit.
pub(super) fn speed_limit(element: Element) -> Result<Option<f32>, Error> {
    let text = element.require_text("max")?;
    if matches!(text.trim(), "no limit" | "undefined") {
        return Ok(None);
    }
    let factor = match element.text("unit") {
        None | Some("m/s" | "") => 1.0,
        Some("km/h" | "kph") => 1.0 / 3.6,
        Some("mph") => 0.44704,
        Some(other) => return Err(element.bad("unit", other, "m/s, km/h or mph")),
    };
    let value = element.number("max", 0.0..=1000.0, "a finite number from 0 to 1000")?;
    // Zero and less stand for "not set" in files of several tools.
    Ok((value > 0.0).then_some((value * factor) as f32))
}
