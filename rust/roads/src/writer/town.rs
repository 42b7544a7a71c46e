//! Single junctions, and towns of blocks.

use std::f64::consts::{FRAC_PI_2, PI};

use super::document::within;
use super::draw::Draw;
use super::network::{Arm, Network, Node, Street};
use super::street::{JunctionControl, StreetStyle};
use crate::Error;
use crate::geometry::Frame;

/// Shortest street between two junctions.
const LEAST_STREET_M: f64 = 20.0;

/// One junction of three or four streets at the origin.
///
/// Two arms lie along the x axis; a T's stem leads towards positive y.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JunctionSpec {
    /// 3 or 4.
    pub arms: u8,
    /// Length of each arm, 20 to 2000 m; the seed adds up to 5 %.
    pub arm_length_m: f64,
    /// The streets.
    pub style: StreetStyle,
}

impl Default for JunctionSpec {
    /// Four arms of 100 m.
    fn default() -> Self {
        Self {
            arms: 4,
            arm_length_m: 100.0,
            style: StreetStyle::default(),
        }
    }
}

impl JunctionSpec {
    /// Writes the junction as OpenDRIVE 1.4; the same seed gives the same text.
    ///
    /// # Errors
    ///
    /// [`Error::BadValue`] for a value that isn't finite or lies outside its range.
    pub fn to_xodr(&self, seed: u64) -> Result<String, Error> {
        self.style.check()?;
        within("arms", self.arms.into(), 3.0, 4.0, "3 or 4")?;
        let expected = "from 20 to 2000";
        within(
            "arm_length_m",
            self.arm_length_m,
            LEAST_STREET_M,
            2000.0,
            expected,
        )?;
        let mut draw = Draw::new(seed);
        let mut node = Node {
            x: 0.0,
            y: 0.0,
            control: draw_control(self.style.control, &mut draw),
            arms: Vec::new(),
        };
        let mut streets = Vec::new();
        for heading in [0.0, PI, -FRAC_PI_2, FRAC_PI_2]
            .into_iter()
            .take(self.arms.into())
        {
            let length = self.arm_length_m * draw.between(1.001, 1.05);
            let (sin, cos) = libm::sincos(heading);
            let far = self.style.junction_radius_m() + length;
            node.arms.push(Arm {
                street: streets.len(),
                at_start: false,
                heading,
            });
            streets.push(Street {
                start: Frame {
                    x: far * cos,
                    y: far * sin,
                    heading: heading + PI,
                },
                length,
                nodes: [None, Some(0)],
            });
        }
        let network = Network {
            style: self.style,
            nodes: vec![node],
            streets,
        };
        Ok(network.to_xodr())
    }
}

/// A town of blocks: bends at its corners, T junctions along its sides, four-way junctions
/// inside. Every street leads somewhere, so one can drive for ever.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GridSpec {
    /// Blocks along x, 1 to 20.
    pub columns: u8,
    /// Blocks along y, 1 to 20.
    pub rows: u8,
    /// From the middle of one street to the middle of the next; the seed adds up to 10 %.
    pub block_m: f64,
    /// The streets.
    pub style: StreetStyle,
}

impl Default for GridSpec {
    /// Three by three blocks of 90 m.
    fn default() -> Self {
        Self {
            columns: 3,
            rows: 3,
            block_m: 90.0,
            style: StreetStyle::default(),
        }
    }
}

impl GridSpec {
    /// Writes the town as OpenDRIVE 1.4; the same seed gives the same text.
    ///
    /// # Errors
    ///
    /// [`Error::BadValue`] for a value that isn't finite or lies outside its range.
    pub fn to_xodr(&self, seed: u64) -> Result<String, Error> {
        self.style.check()?;
        within("columns", self.columns.into(), 1.0, 20.0, "from 1 to 20")?;
        within("rows", self.rows.into(), 1.0, 20.0, "from 1 to 20")?;
        let least = 2.0 * self.style.junction_radius_m() + LEAST_STREET_M;
        let expected = "long enough for two junctions and 20 m of street, 1000 at most";
        within("block_m", self.block_m, least, 1000.0, expected)?;
        Ok(self.network(&mut Draw::new(seed)).to_xodr())
    }

    fn network(&self, draw: &mut Draw) -> Network {
        let mut places = |blocks: u8| {
            let mut at = 0.0;
            let mut places = vec![at];
            for _ in 0..blocks {
                at += self.block_m * draw.between(1.001, 1.1);
                places.push(at);
            }
            places
        };
        let (xs, ys) = (places(self.columns), places(self.rows));
        let mut town = Town {
            columns: xs.len(),
            streets: Vec::new(),
            arms: vec![[None; 4]; xs.len() * ys.len()],
            radius: self.style.junction_radius_m(),
        };
        for (row, y) in ys.iter().enumerate() {
            for (column, pair) in xs.windows(2).enumerate() {
                let start = (pair[0], -y, 0.0);
                town.join((column, row), (column + 1, row), start, pair[1] - pair[0]);
            }
        }
        for (row, pair) in ys.windows(2).enumerate() {
            for (column, x) in xs.iter().enumerate() {
                let start = (*x, -pair[0], -FRAC_PI_2);
                town.join((column, row), (column, row + 1), start, pair[1] - pair[0]);
            }
        }
        let places = ys.iter().flat_map(|y| xs.iter().map(move |x| (*x, -y)));
        let nodes = places
            .zip(&town.arms)
            .map(|((x, y), arms)| Node {
                x,
                y,
                control: draw_control(self.style.control, draw),
                arms: in_pairs(*arms),
            })
            .collect();
        Network {
            style: self.style,
            nodes,
            streets: town.streets,
        }
    }
}

/// A grid under construction.
struct Town {
    columns: usize,
    streets: Vec<Street>,
    /// By node: arms towards smaller x, greater x, smaller y, greater y (of CARLA).
    arms: Vec<[Option<Arm>; 4]>,
    radius: f64,
}

impl Town {
    /// Lays a street of a heading from one node to the next.
    fn join(
        &mut self,
        from: (usize, usize),
        to: (usize, usize),
        (x, y, heading): (f64, f64, f64),
        distance: f64,
    ) {
        let (from, to) = (from.1 * self.columns + from.0, to.1 * self.columns + to.0);
        let (sin, cos) = libm::sincos(heading);
        let street = self.streets.len();
        let axis = usize::from(heading != 0.0) * 2;
        let start = Frame {
            x: x + self.radius * cos,
            y: y + self.radius * sin,
            heading,
        };
        self.arms[from][axis + 1] = Some(Arm {
            street,
            at_start: true,
            heading,
        });
        let heading = heading + PI;
        self.arms[to][axis] = Some(Arm {
            street,
            at_start: false,
            heading,
        });
        self.streets.push(Street {
            start,
            length: distance - 2.0 * self.radius,
            nodes: [Some(from), Some(to)],
        });
    }
}

/// Arms in pairs of one street first, the stem of a T last.
fn in_pairs(arms: [Option<Arm>; 4]) -> Vec<Arm> {
    let [low_x, high_x, low_y, high_y] = arms;
    let is_pair = low_x.is_some() && high_x.is_some();
    let order = if is_pair {
        [low_x, high_x, low_y, high_y]
    } else {
        [low_y, high_y, low_x, high_x]
    };
    order.into_iter().flatten().collect()
}

fn draw_control(control: JunctionControl, draw: &mut Draw) -> JunctionControl {
    // Drawn in any case, so that the lengths of a seed don't depend on the control.
    let coin = draw.coin();
    match control {
        JunctionControl::Mixed if coin => JunctionControl::Lights,
        JunctionControl::Mixed => JunctionControl::Stop,
        other => other,
    }
}
