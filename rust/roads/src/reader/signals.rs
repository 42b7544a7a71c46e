//! Traffic lights, signs, the references to them, and the controllers of lights.

use std::collections::BTreeSet;

use super::model::{ControllerModel, LaneRange, MapModel, Orientation, Scope, SignalModel};
use super::xml::Element;
use crate::Error;

const MAX_CONTROLLERS: usize = 100_000;
const MAX_SIGNALS_PER_CONTROLLER: usize = 1024;
const MAX_VALIDITIES: usize = 64;

/// Reads the signals and the references of one road; stations are clamped to the road.
pub(super) fn read(road: Element, length: f64) -> Result<(Vec<SignalModel>, Vec<Scope>), Error> {
    let (mut signals, mut scopes) = (Vec::new(), Vec::new());
    for group in road.children("signals") {
        for element in group.children("signal") {
            let signal = signal(element, length)?;
            scopes.push(scope(element, signal.id.clone(), signal.station)?);
            signals.push(signal);
        }
    }
    for group in road.children("signals") {
        for element in group.children("signalReference") {
            let id = element.name("id")?;
            scopes.push(scope(element, id, station(element, length)?)?);
        }
    }
    Ok((signals, scopes))
}

fn signal(element: Element, length: f64) -> Result<SignalModel, Error> {
    let metres = |name| element.number_or(name, 0.0, -1e4..=1e4, "from -10000 to 10000");
    // "-1" is how the towns of CARLA write "no value".
    let value = element.number_or("value", -1.0, -1e9..=1e9, "a finite number")?;
    Ok(SignalModel {
        id: element.name("id")?,
        name: element.label("name"),
        code: element.label("type"),
        station: station(element, length)?,
        lateral: metres("t")?,
        height: metres("zOffset")?,
        heading: element.number_or("hOffset", 0.0, -100.0..=100.0, "from -100 to 100")?,
        value: (value >= 0.0).then_some(value),
        unit: element.label("unit"),
    })
}

/// A station clamped to the road: tools round them to just before or behind its ends.
pub(super) fn station(element: Element, length: f64) -> Result<f64, Error> {
    let station = element.number("s", -1e3..=1e6, "a finite number from -1000 to 1000000")?;
    Ok(station.clamp(0.0, length))
}

fn scope(element: Element, signal: Box<str>, station: f64) -> Result<Scope, Error> {
    let orientation = match element.text("orientation") {
        Some("+") => Orientation::Positive,
        Some("-") => Orientation::Negative,
        _ => Orientation::Both,
    };
    let mut lanes: Vec<LaneRange> = Vec::new();
    for validity in element.children("validity") {
        if lanes.len() == MAX_VALIDITIES {
            let what = "validities of a signal";
            return Err(super::too_large(what, MAX_VALIDITIES + 1, MAX_VALIDITIES));
        }
        lanes.push((validity.lane_id("fromLane")?, validity.lane_id("toLane")?));
    }
    Ok(Scope {
        signal,
        station,
        orientation,
        lanes: (!lanes.is_empty()).then_some(lanes),
    })
}

/// The controllers of the map, in the order of the file.
pub(super) fn controllers(root: Element) -> Result<Vec<ControllerModel>, Error> {
    let mut controllers = Vec::new();
    let mut seen = BTreeSet::new();
    for element in root.children("controller") {
        if controllers.len() == MAX_CONTROLLERS {
            let count = MAX_CONTROLLERS + 1;
            return Err(super::too_large("controllers", count, MAX_CONTROLLERS));
        }
        let id = element.name("id")?;
        if !seen.insert(id.clone()) {
            return Err(Error::Duplicate {
                context: element.context(),
                what: "controller",
                id: id.into(),
            });
        }
        let mut signals: Vec<Box<str>> = Vec::new();
        let mut listed = BTreeSet::new();
        for control in element.children("control") {
            let signal = control.name("signalId")?;
            // CARLA's towns list one light once per lane.
            if listed.insert(signal.clone()) {
                if signals.len() == MAX_SIGNALS_PER_CONTROLLER {
                    let limit = MAX_SIGNALS_PER_CONTROLLER;
                    return Err(super::too_large(
                        "signals in a controller",
                        limit + 1,
                        limit,
                    ));
                }
                signals.push(signal);
            }
        }
        controllers.push(ControllerModel {
            id,
            sequence: sequence(element)?,
            signals,
        });
    }
    Ok(controllers)
}

/// The controllers of a junction in the order of their sequence, then of the file.
pub(super) fn turns(junction: Element) -> Result<Vec<Box<str>>, Error> {
    let mut turns = junction
        .children("controller")
        .map(|element| Ok((sequence(element)?, element.name("id")?)))
        .collect::<Result<Vec<_>, Error>>()?;
    turns.sort_by_key(|turn| turn.0);
    Ok(turns.into_iter().map(|turn| turn.1).collect())
}

fn sequence(element: Element) -> Result<u32, Error> {
    let value = element.number_or("sequence", 0.0, 0.0..=1e6, "from 0 to 1000000")?;
    Ok(value as u32)
}

/// Refuses two signals of one name: nothing could tell which of them a reference means.
pub(super) fn check_unique(model: &MapModel) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for road in &model.roads {
        for signal in &road.signals {
            if !seen.insert(&signal.id) {
                return Err(Error::Duplicate {
                    context: format!("road {}", road.id),
                    what: "signal",
                    id: signal.id.to_string(),
                });
            }
        }
    }
    Ok(())
}
