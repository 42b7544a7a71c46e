//! Streets between junctions, as OpenDRIVE text.
//!
//! Everything here is in OpenDRIVE's right-handed frame. A street is one road, two-way, along
//! its middle. It touches a node with one of its ends; seen from there, lane k (1 beside the
//! middle) comes in or goes out.

use std::f64::consts::PI;
use std::fmt::Write;

use super::connection::{self, Turn};
use super::document::{HEADER, mark, write_lane};
use super::street::{JunctionControl, LightPlan, StreetStyle};
use crate::geometry::Frame;

/// Identifiers of different things never meet: libcarla takes a junction whose id a road has
/// for that road.
const FIRST_JUNCTION_ID: usize = 1_000_000;
const FIRST_SIGNAL_ID: usize = 2_000_000;
const FIRST_CONTROLLER_ID: usize = 3_000_000;
const FIRST_OBJECT_ID: usize = 4_000_000;
/// From the end of an arm to the middle of its crosswalk, and half of its breadth.
const CROSSWALK_MIDDLE_M: f64 = 3.0;
const CROSSWALK_HALF_M: f64 = 1.5;
/// From the end of an arm to its light or sign.
const SIGN_WITH_CROSSWALK_M: f64 = 5.61;
const SIGN_WITHOUT_CROSSWALK_M: f64 = 1.13;

/// One end of a street where it touches a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arm {
    pub street: usize,
    /// The street begins here; else it ends here.
    pub at_start: bool,
    /// From the node outwards.
    pub heading: f64,
}

impl Arm {
    /// Lane ids that come in and go out.
    pub fn lane_in(self, k: i32) -> i32 {
        if self.at_start { k } else { -k }
    }

    pub fn lane_out(self, k: i32) -> i32 {
        -self.lane_in(k)
    }

    pub fn contact(self) -> &'static str {
        if self.at_start { "start" } else { "end" }
    }
}

/// A place where streets meet: two arms make a bend, three or four a junction.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub x: f64,
    pub y: f64,
    pub control: JunctionControl,
    pub arms: Vec<Arm>,
}

impl Node {
    pub fn is_junction(&self) -> bool {
        self.arms.len() > 2
    }
}

/// A straight street.
#[derive(Debug, Clone, Copy)]
pub(super) struct Street {
    pub start: Frame,
    pub length: f64,
    /// The nodes at its start and its end.
    pub nodes: [Option<usize>; 2],
}

/// A map of streets and nodes.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub style: StreetStyle,
    pub nodes: Vec<Node>,
    pub streets: Vec<Street>,
}

impl Network {
    pub fn to_xodr(&self) -> String {
        let mut out = String::from(HEADER);
        for (index, street) in self.streets.iter().enumerate() {
            self.write_street(&mut out, index, street);
        }
        // Bends and connecting roads take the ids after the streets.
        let mut next_id = self.streets.len();
        let bends: Vec<usize> = self.bends().collect();
        for node in &bends {
            self.write_bend(&mut out, next_id, &self.nodes[*node]);
            next_id += 1;
        }
        let mut junctions = String::new();
        let mut controllers = String::new();
        for (index, node) in self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.is_junction())
        {
            self.write_junction(&mut out, &mut junctions, &mut next_id, index, node);
            self.write_controllers(&mut controllers, index, node);
        }
        out + &controllers + &junctions + "</OpenDRIVE>\n"
    }

    fn bends(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].arms.len() == 2)
    }

    fn bend_id(&self, node: usize) -> usize {
        self.streets.len() + self.bends().take_while(|other| *other != node).count()
    }

    /// The middle of an arm's end, heading outwards.
    pub fn arm_end(&self, node: &Node, arm: &Arm) -> Frame {
        let radius = self.style.junction_radius_m();
        let (sin, cos) = libm::sincos(arm.heading);
        Frame {
            x: node.x + radius * cos,
            y: node.y + radius * sin,
            heading: arm.heading,
        }
    }

    fn write_street(&self, out: &mut String, index: usize, street: &Street) {
        let mut links = String::new();
        let mut lane_links: Vec<(&str, i32)> = Vec::new();
        for (end, node) in street.nodes.iter().enumerate() {
            let Some(number) = *node else { continue };
            let node = &self.nodes[number];
            let name = ["predecessor", "successor"][end];
            if node.is_junction() {
                let id = FIRST_JUNCTION_ID + number;
                let _ = write!(
                    links,
                    "<{name} elementType=\"junction\" elementId=\"{id}\"/>"
                );
            } else {
                // A bend begins at its node's first arm and ends at the second.
                let is_first = node.arms[0].street == index && node.arms[0].at_start == (end == 0);
                let (contact, sign) = if is_first { ("start", 1) } else { ("end", -1) };
                let id = self.bend_id(number);
                let _ = write!(
                    links,
                    "<{name} elementType=\"road\" elementId=\"{id}\" contactPoint=\"{contact}\"/>"
                );
                lane_links.push((name, if end == 0 { -sign } else { sign }));
            }
        }
        write_road_start(out, "street", index, -1, street.length, &links);
        self.write_type(out);
        out.push_str("<planView>");
        write_geometry(out, 0.0, street.start, street.length, 0.0);
        out.push_str("</planView><elevationProfile/><lateralProfile/>\n");
        self.write_lanes(out, &lane_links);
        self.write_objects(out, index, street);
        self.write_signs(out, index, street);
        out.push_str("</road>\n");
    }

    fn write_type(&self, out: &mut String) {
        let speed = self.style.speed_limit_mps;
        let _ = write!(
            out,
            "<type s=\"0\" type=\"town\"><speed max=\"{speed}\" unit=\"m/s\"/></type>"
        );
    }

    /// Two-way lanes; each link gives every lane id times a sign.
    fn write_lanes(&self, out: &mut String, links: &[(&str, i32)]) {
        let lanes = i32::from(self.style.lanes);
        out.push_str("<lanes><laneSection s=\"0\">\n<left>\n");
        self.write_sidewalk(out, lanes + 1, links);
        for id in (1..=lanes).rev() {
            self.write_driving(out, id, links);
        }
        let _ = writeln!(
            out,
            "</left>\n<center><lane id=\"0\" type=\"none\" level=\"false\">{}</lane></center>\n<right>",
            mark("solid", "yellow", "none")
        );
        for id in 1..=lanes {
            self.write_driving(out, -id, links);
        }
        self.write_sidewalk(out, -lanes - 1, links);
        out.push_str("</right></laneSection></lanes>\n");
    }

    fn write_driving(&self, out: &mut String, id: i32, links: &[(&str, i32)]) {
        let mark = if id.abs() < i32::from(self.style.lanes) {
            mark("broken", "white", "both")
        } else {
            mark("solid", "white", "none")
        };
        let width = self.style.lane_width_m;
        write_lane(out, id, "driving", width, &lane_links(id, links), &mark);
    }

    fn write_sidewalk(&self, out: &mut String, id: i32, links: &[(&str, i32)]) {
        if self.style.sidewalk_width_m > 0.0 {
            let (width, mark) = (self.style.sidewalk_width_m, mark("none", "white", "none"));
            write_lane(out, id, "sidewalk", width, &lane_links(id, links), &mark);
        }
    }

    fn write_bend(&self, out: &mut String, id: usize, node: &Node) {
        let (from, to) = (node.arms[0], node.arms[1]);
        let start = turned(self.arm_end(node, &from));
        let end = self.arm_end(node, &to);
        let pieces = connection::path(start, end);
        let links = format!(
            "<predecessor elementType=\"road\" elementId=\"{}\" contactPoint=\"{}\"/>\
             <successor elementType=\"road\" elementId=\"{}\" contactPoint=\"{}\"/>",
            from.street,
            from.contact(),
            to.street,
            to.contact()
        );
        let length = pieces.iter().map(|piece| piece.length).sum();
        write_road_start(out, "bend", id, -1, length, &links);
        self.write_type(out);
        connection::write_plan(out, &pieces);
        let before = if from.at_start { -1 } else { 1 };
        let after = if to.at_start { 1 } else { -1 };
        self.write_lanes(out, &[("predecessor", before), ("successor", after)]);
        out.push_str("</road>\n");
    }

    fn write_junction(
        &self,
        roads: &mut String,
        junctions: &mut String,
        next_id: &mut usize,
        index: usize,
        node: &Node,
    ) {
        let id = FIRST_JUNCTION_ID + index;
        let _ = write!(junctions, "<junction name=\"junction\" id=\"{id}\">");
        for (number, turn) in connection::turns(self, node).into_iter().enumerate() {
            let _ = write!(
                junctions,
                "<connection id=\"{number}\" incomingRoad=\"{}\" connectingRoad=\"{next_id}\" \
                 contactPoint=\"start\"><laneLink from=\"{}\" to=\"-1\"/></connection>",
                node.arms[turn.from].street,
                node.arms[turn.from].lane_in(turn.lane)
            );
            self.write_connection(roads, *next_id, id, node, &turn);
            *next_id += 1;
        }
        for phase in 0..self.phases(node).len() {
            let controller = controller_id(index, phase);
            let _ = write!(
                junctions,
                "<controller id=\"{controller}\" type=\"0\" sequence=\"{phase}\"/>"
            );
        }
        junctions.push_str("</junction>\n");
    }

    fn write_connection(
        &self,
        out: &mut String,
        id: usize,
        junction: usize,
        node: &Node,
        turn: &Turn,
    ) {
        let (from, to) = (node.arms[turn.from], node.arms[turn.to]);
        let links = format!(
            "<predecessor elementType=\"road\" elementId=\"{}\" contactPoint=\"{}\"/>\
             <successor elementType=\"road\" elementId=\"{}\" contactPoint=\"{}\"/>",
            from.street,
            from.contact(),
            to.street,
            to.contact()
        );
        let length = turn.pieces.iter().map(|piece| piece.length).sum();
        write_road_start(out, "connection", id, junction as i64, length, &links);
        self.write_type(out);
        connection::write_plan(out, &turn.pieces);
        let nothing = mark("none", "white", "none");
        let _ = write!(
            out,
            "<lanes><laneSection s=\"0\"><center><lane id=\"0\" type=\"none\" level=\"false\">\
             {nothing}</lane></center><right>"
        );
        let link = format!(
            "<predecessor id=\"{}\"/><successor id=\"{}\"/>",
            from.lane_in(turn.lane),
            to.lane_out(turn.lane)
        );
        write_lane(out, -1, "driving", self.style.lane_width_m, &link, &nothing);
        out.push_str("</right></laneSection></lanes>\n");
        if let Some(signal) = sign_id(node, turn.from) {
            let _ = write!(
                out,
                "<signals><signalReference s=\"0\" t=\"0\" id=\"{signal}\" orientation=\"+\">\
                 <validity fromLane=\"-1\" toLane=\"-1\"/></signalReference></signals>"
            );
        }
        out.push_str("</road>\n");
    }

    /// The ends of a street that touch a junction: 0 the start, 1 the end, with node and arm.
    fn junction_ends(&self, index: usize, street: &Street) -> Vec<(usize, usize, usize)> {
        let ends = street.nodes.iter().enumerate();
        ends.filter_map(|(end, node)| {
            let number = (*node)?;
            let node = &self.nodes[number];
            let is_arm = |arm: &Arm| arm.street == index && arm.at_start == (end == 0);
            let arm = node.arms.iter().position(is_arm)?;
            node.is_junction().then_some((end, number, arm))
        })
        .collect()
    }

    /// Crosswalks lie as CARLA takes them for granted: u across the road, five closed corners.
    fn write_objects(&self, out: &mut String, index: usize, street: &Street) {
        let ends = self.junction_ends(index, street);
        if !self.style.has_crosswalks || ends.is_empty() {
            return;
        }
        out.push_str("<objects>");
        let (u, v) = (self.style.half_width_m(), CROSSWALK_HALF_M);
        for (end, _, _) in ends {
            let s = [CROSSWALK_MIDDLE_M, street.length - CROSSWALK_MIDDLE_M][end];
            let id = FIRST_OBJECT_ID + 2 * index + end;
            let _ = write!(
                out,
                "<object id=\"{id}\" name=\"crosswalk\" type=\"crosswalk\" s=\"{s}\" t=\"0\" \
                 zOffset=\"0\" hdg=\"{}\" pitch=\"0\" roll=\"0\" orientation=\"none\" \
                 length=\"{}\" width=\"{}\"><outline>",
                0.5 * PI,
                2.0 * u,
                2.0 * v
            );
            for (u, v) in [(-u, -v), (-u, v), (u, v), (u, -v), (-u, -v)] {
                let _ = write!(
                    out,
                    "<cornerLocal u=\"{u}\" v=\"{v}\" z=\"0\" height=\"0\"/>"
                );
            }
            out.push_str("</outline></object>");
        }
        out.push_str("</objects>\n");
    }

    fn write_signs(&self, out: &mut String, index: usize, street: &Street) {
        let mut signs = String::new();
        let setback = if self.style.has_crosswalks {
            SIGN_WITH_CROSSWALK_M
        } else {
            SIGN_WITHOUT_CROSSWALK_M
        };
        for (end, number, arm) in self.junction_ends(index, street) {
            let node = &self.nodes[number];
            let (Some(code), Some(id)) = (sign_code(node, arm), sign_id(node, arm)) else {
                continue;
            };
            let s = [setback, street.length - setback][end];
            // Beside the road on the driver's right, so far out that libcarla lets it stand.
            let aside = self.style.half_width_m() + 0.25 * self.style.lane_width_m + 0.3;
            let (t, orientation, turn) = [(aside, "-", PI), (-aside, "+", 0.0)][end];
            let lanes = i32::from(self.style.lanes);
            let (low, high) = [(1, lanes), (-lanes, -1)][end];
            let dynamic = if code == "1000001" { "yes" } else { "no" };
            let _ = write!(
                signs,
                "<signal s=\"{s}\" t=\"{t}\" id=\"{id}\" name=\"{code}\" dynamic=\"{dynamic}\" \
                 orientation=\"{orientation}\" zOffset=\"0\" country=\"OpenDRIVE\" type=\"{code}\" \
                 subtype=\"-1\" value=\"-1\" hOffset=\"{turn}\" pitch=\"0\" roll=\"0\" height=\"1\" \
                 width=\"0.5\"><validity fromLane=\"{low}\" toLane=\"{high}\"/></signal>"
            );
        }
        if !signs.is_empty() {
            let _ = writeln!(out, "<signals>{signs}</signals>");
        }
    }

    /// Arms whose lights are green together.
    fn phases(&self, node: &Node) -> Vec<Vec<usize>> {
        if node.control != JunctionControl::Lights {
            return Vec::new();
        }
        let arms = 0..node.arms.len();
        match self.style.light_plan {
            LightPlan::Approach => arms.map(|arm| vec![arm]).collect(),
            // Arms come in pairs of one street; a T's stem is alone.
            LightPlan::Opposite => arms
                .collect::<Vec<_>>()
                .chunks(2)
                .map(<[_]>::to_vec)
                .collect(),
        }
    }

    fn write_controllers(&self, out: &mut String, index: usize, node: &Node) {
        for (phase, arms) in self.phases(node).iter().enumerate() {
            let id = controller_id(index, phase);
            let _ = write!(
                out,
                "<controller name=\"controller\" id=\"{id}\" sequence=\"{phase}\">"
            );
            for signal in arms.iter().filter_map(|arm| sign_id(node, *arm)) {
                let _ = write!(out, "<control signalId=\"{signal}\" type=\"0\"/>");
            }
            out.push_str("</controller>\n");
        }
    }
}

fn controller_id(node: usize, phase: usize) -> usize {
    FIRST_CONTROLLER_ID + 4 * node + phase
}

/// The same place, seen the other way.
pub(super) fn turned(frame: Frame) -> Frame {
    Frame {
        heading: frame.heading + PI,
        ..frame
    }
}

fn lane_links(id: i32, links: &[(&str, i32)]) -> String {
    links.iter().fold(String::new(), |mut text, (name, sign)| {
        let _ = write!(text, "<{name} id=\"{}\"/>", sign * id);
        text
    })
}

fn write_road_start(
    out: &mut String,
    name: &str,
    id: usize,
    junction: i64,
    length: f64,
    links: &str,
) {
    let _ = write!(
        out,
        "<road name=\"{name}\" length=\"{length}\" id=\"{id}\" junction=\"{junction}\">\
         <link>{links}</link>"
    );
}

pub(super) fn write_geometry(out: &mut String, s: f64, at: Frame, length: f64, curvature: f64) {
    let _ = write!(
        out,
        "<geometry s=\"{s}\" x=\"{}\" y=\"{}\" hdg=\"{}\" length=\"{length}\">",
        at.x, at.y, at.heading
    );
    if curvature == 0.0 {
        out.push_str("<line/></geometry>");
    } else {
        let _ = write!(out, "<arc curvature=\"{curvature}\"/></geometry>");
    }
}

/// Whether an arm has a light or sign, and which.
fn sign_code(node: &Node, arm: usize) -> Option<&'static str> {
    let is_stem = node.arms.len() == 3 && arm == 2;
    match node.control {
        JunctionControl::Lights => Some("1000001"),
        JunctionControl::Stop if node.arms.len() == 4 || is_stem => Some("206"),
        JunctionControl::Yield if is_stem || (node.arms.len() == 4 && arm >= 2) => Some("205"),
        _ => None,
    }
}

/// The id of an arm's light or sign.
fn sign_id(node: &Node, arm: usize) -> Option<usize> {
    let Arm {
        street, at_start, ..
    } = node.arms[arm];
    sign_code(node, arm)?;
    Some(FIRST_SIGNAL_ID + 2 * street + usize::from(!at_start))
}
