//! Traffic lights and signs as things that stand somewhere, and which lights switch together.

use std::collections::BTreeMap;

use super::junction::{Junction, JunctionIndex};
use crate::lane::Pose;
use crate::map::normalise;
use crate::reader::{MapModel, RoadModel, SignalModel};

/// Index of a signal in [`RoadMap::signals`](crate::RoadMap::signals).
pub type SignalIndex = u32;

/// What a signal tells a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalKind {
    /// A traffic light for vehicles.
    Light,
    /// Stop and give way (type 206).
    Stop,
    /// Give way (type 205).
    Yield,
    /// A speed limit from here on (type 274).
    SpeedLimit,
    /// Anything else.
    Other,
}

impl SignalKind {
    /// Reads an OpenDRIVE signal type, with libcarla's numbers.
    pub fn from_code(code: &str) -> Self {
        match code {
            // libcarla's list without the lights for people on foot (1000002) and cycles (1000013).
            "1000001" | "1000007" | "1000008" | "1000009" | "1000010" | "1000011" | "1000012"
            | "1000014" | "1000015" | "1000016" | "1000017" | "1000018" | "1000019" | "1000020"
            | "F" | "W" | "A" => Self::Light,
            "206" => Self::Stop,
            "205" => Self::Yield,
            "274" => Self::SpeedLimit,
            _ => Self::Other,
        }
    }

    /// The kind as a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Stop => "stop",
            Self::Yield => "yield",
            Self::SpeedLimit => "speed limit",
            Self::Other => "other",
        }
    }
}

/// A traffic light or sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// OpenDRIVE signal id, which CARLA's landmarks and traffic lights carry too.
    pub id: Box<str>,
    /// Its name in the file.
    pub name: Box<str>,
    /// OpenDRIVE type, such as 1000001.
    pub code: Box<str>,
    /// What it tells a driver.
    pub kind: SignalKind,
    /// Road beside which it stands.
    pub road_id: u32,
    /// Station of that road.
    pub station_m: f32,
    /// Where it stands. libcarla's landmark of a light lies 0.25 m further along its heading.
    pub pose: Pose,
    /// The limit of a speed sign, metres per second.
    pub speed_limit_mps: Option<f32>,
    /// Whether a light, stop or yield sign is valid for some driving lane, here or by reference.
    pub governs: bool,
    /// Of a light: its group in [`RoadMap::light_groups`](crate::RoadMap::light_groups).
    pub group: Option<u32>,
    /// Of a light: its phase within the group.
    pub phase: u16,
}

/// Lights that show the same colour at all times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LightPhase {
    /// OpenDRIVE controller id; the signal's own id for a light without controller.
    pub controller: Box<str>,
    /// The lights.
    pub lights: Vec<SignalIndex>,
}

/// Lights whose phases take turns: at any time one phase at most is green or yellow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LightGroup {
    /// The junction whose controllers these are; none for lights that stand alone.
    pub junction: Option<JunctionIndex>,
    /// In the order of their turns, at least one.
    pub phases: Vec<LightPhase>,
}

/// The signals in the order of the file, and their groups.
///
/// A junction's controllers form a group, as CARLA's server groups them. A controller that no
/// junction names, and a light that no controller names, form a group of their own.
pub(super) fn bake(model: &MapModel, junctions: &[Junction]) -> (Vec<Signal>, Vec<LightGroup>) {
    let mut signals: Vec<Signal> = Vec::new();
    for road in &model.roads {
        signals.extend(road.signals.iter().map(|signal| place(road, signal)));
    }
    let groups = group(model, junctions, &mut signals);
    (signals, groups)
}

fn place(road: &RoadModel, signal: &SignalModel) -> Signal {
    // As in libcarla, t is measured from the reference line itself, not from the lane offset.
    let frame = road.plan.at(signal.station);
    let (sin, cos) = libm::sincos(frame.heading);
    let height = road.elevation.at(signal.station).value + signal.height;
    let kind = SignalKind::from_code(&signal.code);
    let limit = signal
        .value
        .filter(|value| *value > 0.0 && *value <= 1000.0);
    let factor = match &*signal.unit {
        "m/s" => 1.0,
        "mph" => 0.447_04,
        _ => 1.0 / 3.6,
    };
    Signal {
        id: signal.id.clone(),
        name: signal.name.clone(),
        code: signal.code.clone(),
        kind,
        road_id: road.id,
        station_m: signal.station as f32,
        pose: Pose {
            x: (frame.x - sin * signal.lateral) as f32,
            y: -(frame.y + cos * signal.lateral) as f32,
            z: height as f32,
            yaw_rad: normalise(-(frame.heading + signal.heading) as f32),
        },
        speed_limit_mps: limit
            .filter(|_| kind == SignalKind::SpeedLimit)
            .map(|value| (value * factor) as f32),
        governs: false,
        group: None,
        phase: 0,
    }
}

fn group(model: &MapModel, junctions: &[Junction], signals: &mut [Signal]) -> Vec<LightGroup> {
    let index_of: BTreeMap<Box<str>, SignalIndex> = signals
        .iter()
        .map(|signal| signal.id.clone())
        .zip(0..)
        .collect();
    let mut lights_of: BTreeMap<&str, Vec<SignalIndex>> = BTreeMap::new();
    for controller in &model.controllers {
        let lights = controller
            .signals
            .iter()
            .filter_map(|id| index_of.get(id).copied());
        let lights = lights.filter(|index| signals[*index as usize].kind == SignalKind::Light);
        lights_of.insert(&controller.id, lights.collect());
    }
    let mut groups: Vec<LightGroup> = Vec::new();
    for (index, junction) in (0..).zip(junctions) {
        let turns = model.junctions[&junction.id].controllers.iter();
        let turns: Vec<&str> = turns.map(|id| &**id).collect();
        push(&mut groups, Some(index), &turns, &mut lights_of, signals);
    }
    let mut rest: Vec<_> = model.controllers.iter().collect();
    rest.sort_by_key(|controller| controller.sequence);
    for controller in rest {
        push(
            &mut groups,
            None,
            &[&controller.id],
            &mut lights_of,
            signals,
        );
    }
    for (index, signal) in signals.iter_mut().enumerate() {
        if signal.kind == SignalKind::Light && signal.group.is_none() {
            signal.group = Some(groups.len() as u32);
            let phase = LightPhase {
                controller: signal.id.clone(),
                lights: vec![index as SignalIndex],
            };
            groups.push(LightGroup {
                junction: None,
                phases: vec![phase],
            });
        }
    }
    groups
}

/// Adds the group of some controllers, each of which counts once, as does each light.
fn push<'a>(
    groups: &mut Vec<LightGroup>,
    junction: Option<JunctionIndex>,
    controllers: &[&'a str],
    lights_of: &mut BTreeMap<&'a str, Vec<SignalIndex>>,
    signals: &mut [Signal],
) {
    let mut phases: Vec<LightPhase> = Vec::new();
    for controller in controllers {
        let mut lights = lights_of.remove(controller).unwrap_or_default();
        lights.retain(|light| signals[*light as usize].group.is_none());
        if lights.is_empty() || phases.len() > usize::from(u16::MAX) {
            continue;
        }
        for light in &lights {
            let signal = &mut signals[*light as usize];
            (signal.group, signal.phase) = (Some(groups.len() as u32), phases.len() as u16);
        }
        phases.push(LightPhase {
            controller: (*controller).into(),
            lights,
        });
    }
    if !phases.is_empty() {
        groups.push(LightGroup { junction, phases });
    }
}
