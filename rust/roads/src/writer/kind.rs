//! Maps by the name of their kind.

use super::document::{bad, within};
use super::draw::Draw;
use super::road::{RoadSpec, Segment};
use super::street::{JunctionControl, LightPlan, StreetStyle};
use super::town::{GridSpec, JunctionSpec};
use crate::Error;

/// The kinds of maps that the writer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapKind {
    /// A two-way street, straight.
    Straight,
    /// A two-way street with one bend, whose side and radius the seed draws.
    Curve,
    /// A one-way motorway with shoulders and wide bends.
    Highway,
    /// A junction of three arms.
    TJunction,
    /// A junction of four arms.
    FourWay,
    /// A town of blocks.
    Grid,
}

impl MapKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Straight,
        Self::Curve,
        Self::Highway,
        Self::TJunction,
        Self::FourWay,
        Self::Grid,
    ];

    /// The name of the kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Straight => "straight",
            Self::Curve => "curve",
            Self::Highway => "highway",
            Self::TJunction => "t_junction",
            Self::FourWay => "four_way",
            Self::Grid => "grid",
        }
    }

    /// Reads the name of a kind.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A map by kind and parameters; what is left out takes the default of its kind.
#[derive(Debug, Clone, PartialEq)]
pub struct MapSpec {
    /// The kind.
    pub kind: MapKind,
    /// Draws what the parameters leave open: exact lengths, bends, the control of each junction.
    pub seed: u64,
    /// Length of the road, or of each arm of a junction. Not for a grid.
    pub length_m: Option<f64>,
    /// Driving lanes in each direction; of a highway in its one direction.
    pub lanes: Option<u8>,
    /// Width of a driving lane.
    pub lane_width_m: Option<f64>,
    /// Speed limit.
    pub speed_limit_mps: Option<f64>,
    /// Only for junctions and grids.
    pub control: Option<JunctionControl>,
    /// Only for junctions and grids.
    pub light_plan: Option<LightPlan>,
    /// Only for junctions and grids.
    pub has_crosswalks: Option<bool>,
    /// Blocks of a grid along x.
    pub columns: Option<u8>,
    /// Blocks of a grid along y.
    pub rows: Option<u8>,
    /// From street to street of a grid.
    pub block_m: Option<f64>,
}

impl MapSpec {
    /// A map with the defaults of its kind.
    pub fn new(kind: MapKind, seed: u64) -> Self {
        Self {
            kind,
            seed,
            length_m: None,
            lanes: None,
            lane_width_m: None,
            speed_limit_mps: None,
            control: None,
            light_plan: None,
            has_crosswalks: None,
            columns: None,
            rows: None,
            block_m: None,
        }
    }

    /// Writes the map as OpenDRIVE 1.4; the same specification gives the same text.
    ///
    /// # Errors
    ///
    /// [`Error::BadValue`] for a value out of range, and for a parameter that the kind doesn't
    /// have.
    pub fn to_xodr(&self) -> Result<String, Error> {
        self.check_applies()?;
        match self.kind {
            MapKind::Straight | MapKind::Curve | MapKind::Highway => self.road()?.to_xodr(),
            MapKind::TJunction | MapKind::FourWay => {
                let default = JunctionSpec::default();
                let spec = JunctionSpec {
                    arms: if self.kind == MapKind::TJunction {
                        3
                    } else {
                        4
                    },
                    arm_length_m: self.length_m.unwrap_or(default.arm_length_m),
                    style: self.style(),
                };
                spec.to_xodr(self.seed)
            }
            MapKind::Grid => {
                let default = GridSpec::default();
                let spec = GridSpec {
                    columns: self.columns.unwrap_or(default.columns),
                    rows: self.rows.unwrap_or(default.rows),
                    block_m: self.block_m.unwrap_or(default.block_m),
                    style: self.style(),
                };
                spec.to_xodr(self.seed)
            }
        }
    }

    /// A parameter that would be ignored is a mistake of the caller's.
    fn check_applies(&self) -> Result<(), Error> {
        let is_grid = self.kind == MapKind::Grid;
        let has_junctions = is_grid || matches!(self.kind, MapKind::TJunction | MapKind::FourWay);
        let refused = [
            ("length_m", self.length_m.is_some() && is_grid),
            ("control", self.control.is_some() && !has_junctions),
            ("light_plan", self.light_plan.is_some() && !has_junctions),
            (
                "crosswalks",
                self.has_crosswalks.is_some() && !has_junctions,
            ),
            ("columns", self.columns.is_some() && !is_grid),
            ("rows", self.rows.is_some() && !is_grid),
            ("block_m", self.block_m.is_some() && !is_grid),
        ];
        match refused.into_iter().find(|(_, is_refused)| *is_refused) {
            None => Ok(()),
            Some((name, _)) => Err(Error::BadValue {
                context: format!("map of kind {:?}", self.kind.name()),
                name,
                value: "given".to_owned(),
                expected: "left out for this kind",
            }),
        }
    }

    fn style(&self) -> StreetStyle {
        let default = StreetStyle::default();
        StreetStyle {
            lanes: self.lanes.unwrap_or(default.lanes),
            lane_width_m: self.lane_width_m.unwrap_or(default.lane_width_m),
            speed_limit_mps: self.speed_limit_mps.unwrap_or(default.speed_limit_mps),
            control: self.control.unwrap_or(default.control),
            light_plan: self.light_plan.unwrap_or(default.light_plan),
            has_crosswalks: self.has_crosswalks.unwrap_or(default.has_crosswalks),
            ..default
        }
    }

    fn road(&self) -> Result<RoadSpec, Error> {
        let mut draw = Draw::new(self.seed);
        let is_highway = self.kind == MapKind::Highway;
        let length = self
            .length_m
            .unwrap_or(if is_highway { 800.0 } else { 200.0 });
        within("length_m", length, 60.0, 90_000.0, "from 60 to 90000")?;
        // Off the round numbers, on which CARLA's next_until_lane_end fails.
        let length = length + draw.between(0.011, 0.489);
        let lanes = self.lanes.unwrap_or(if is_highway { 3 } else { 1 });
        if lanes == 0 || lanes > 16 {
            return Err(bad("lanes", lanes.into(), "from 1 to 16"));
        }
        let width = self.lane_width_m.unwrap_or(3.5);
        let inside = f64::from(lanes) * width + 2.5;
        let segments = match self.kind {
            MapKind::Curve => bend(
                length,
                draw.between(40.0, 90.0).max(2.0 * inside),
                &mut draw,
            ),
            MapKind::Highway => weave(length, &mut draw),
            _ => vec![Segment::Line { length_m: length }],
        };
        let default = RoadSpec::default();
        let speed = if is_highway {
            120.0 / 3.6
        } else {
            default.speed_limit_mps
        };
        Ok(RoadSpec {
            lanes_forward: lanes,
            lanes_backward: if is_highway { 0 } else { lanes },
            lane_width_m: width,
            speed_limit_mps: self.speed_limit_mps.unwrap_or(speed),
            shoulder_width_m: if is_highway { 2.5 } else { 1.5 },
            segments,
            ..default
        })
    }
}

/// A line, one bend of less than a right angle with its clothoids, and a line.
fn bend(length: f64, radius: f64, draw: &mut Draw) -> Vec<Segment> {
    let sign = if draw.coin() { 1.0 } else { -1.0 };
    let peak = sign / radius;
    let bent = (0.6 * length).min(1.4 * radius);
    let spiral = 0.25 * bent;
    let straight = 0.5 * (length - bent);
    let line = Segment::Line { length_m: straight };
    vec![
        line,
        clothoid(spiral, 0.0, peak),
        Segment::Arc {
            length_m: bent - 2.0 * spiral,
            curvature_per_m: peak,
        },
        clothoid(spiral, peak, 0.0),
        line,
    ]
}

/// Gentle S bends that return to the first direction, about one every 400 m.
fn weave(length: f64, draw: &mut Draw) -> Vec<Segment> {
    let count = (length / 400.0).floor().max(1.0);
    let share = length / count;
    let mut segments = Vec::new();
    for _ in 0..count as usize {
        let sign = if draw.coin() { 1.0 } else { -1.0 };
        let peak = sign / draw.between(300.0, 600.0);
        let part = share / 8.0;
        segments.extend([
            Segment::Line {
                length_m: 2.0 * part,
            },
            clothoid(part, 0.0, peak),
            clothoid(part, peak, 0.0),
            clothoid(part, 0.0, -peak),
            clothoid(part, -peak, 0.0),
            Segment::Line {
                length_m: 2.0 * part,
            },
        ]);
    }
    segments
}

fn clothoid(length_m: f64, from: f64, to: f64) -> Segment {
    Segment::Spiral {
        length_m,
        curvature_start_per_m: from,
        curvature_end_per_m: to,
    }
}
