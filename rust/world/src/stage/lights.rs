//! Traffic lights: groups of a junction, one controller green at a time.

use crate::stage::actor::{Actor, Bounds};
use crate::stage::pose::{Transform, wrap_degrees};

/// What a light shows; the numbers are CARLA's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Colour {
    /// Stop.
    #[default]
    Red = 0,
    /// About to stop.
    Yellow = 1,
    /// Go.
    Green = 2,
    /// Out of order.
    Off = 3,
    /// Anything else.
    Unknown = 4,
}

impl Colour {
    /// From CARLA's number.
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Red,
            1 => Self::Yellow,
            2 => Self::Green,
            3 => Self::Off,
            _ => Self::Unknown,
        }
    }
}

/// A place where a light stops vehicles: a box on one lane, in the world's frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StopBox {
    /// Centre, and the heading of the traffic that it stops.
    pub pose: Transform,
    /// Half the length along the lane, half the width, metres.
    pub half_m: (f32, f32),
}

/// A traffic light.
#[derive(Debug, Clone, PartialEq)]
pub struct Light {
    /// Id of the OpenDRIVE signal.
    pub sign_id: String,
    /// Lights that change in turns: those of one junction.
    pub group: u32,
    /// Lights that are green together.
    pub controller: u32,
    /// Position in the group.
    pub pole_index: u32,
    /// Seconds.
    pub green_s: f32,
    /// Seconds.
    pub yellow_s: f32,
    /// Seconds during which all are red.
    pub red_s: f32,
    /// What it shows.
    pub state: Colour,
    /// Time since the last change, seconds.
    pub elapsed_s: f32,
    /// Where it stops vehicles.
    pub stop_boxes: Vec<StopBox>,
}

impl Light {
    /// A light with CARLA's times: green 10, yellow 3, red 2.
    pub fn new(sign_id: String, group: u32, controller: u32, stop_boxes: Vec<StopBox>) -> Self {
        Self {
            sign_id,
            group,
            controller,
            pole_index: 0,
            green_s: 10.0,
            yellow_s: 3.0,
            red_s: 2.0,
            state: Colour::Red,
            elapsed_s: 0.0,
            stop_boxes,
        }
    }

    /// Shows another colour from now on.
    pub fn show(&mut self, state: Colour) {
        (self.state, self.elapsed_s) = (state, 0.0);
    }

    fn duration_s(&self, state: Colour) -> f32 {
        match state {
            Colour::Green => self.green_s,
            Colour::Yellow => self.yellow_s,
            Colour::Red => self.red_s,
            Colour::Off | Colour::Unknown => f32::INFINITY,
        }
    }

    /// One box around all stop boxes, in the frame of the light's pose. Scripts sample it along x, so the
    /// pose of a light looks across its lanes.
    pub fn trigger(&self, pose: &Transform) -> Bounds {
        StopBox::around(&self.stop_boxes, pose)
    }
}

impl StopBox {
    /// One box around several, in the frame of a pose; nothing around none.
    pub fn around(boxes: &[Self], pose: &Transform) -> Bounds {
        let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
        for stop in boxes {
            let (cos, sin) = stop.pose.rotation.heading();
            for (along, across) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
                let (a, b) = (along * stop.half_m.0, across * stop.half_m.1);
                let [x, y, z] = stop.pose.location;
                let corner = [x + a * cos - b * sin, y + a * sin + b * cos, z];
                let local = pose
                    .rotation
                    .unrotate(std::array::from_fn(|i| corner[i] - pose.location[i]));
                for i in 0..3 {
                    (low[i], high[i]) = (low[i].min(local[i]), high[i].max(local[i]));
                }
            }
        }
        if boxes.is_empty() {
            return Bounds::default();
        }
        let mut center: [f32; 3] = std::array::from_fn(|i| 0.5 * (low[i] + high[i]));
        let mut half: [f32; 3] = std::array::from_fn(|i| 0.5 * (high[i] - low[i]));
        (center[2], half[2]) = (center[2] + 1.0, 1.0);
        Bounds { center, half }
    }
}

/// Where a group stands in its cycle.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    id: u32,
    controllers: Vec<u32>,
    turn: usize,
    state: Colour,
    elapsed_s: f32,
}

/// All groups of the stage.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Cycle {
    groups: Vec<Group>,
    /// CARLA freezes all lights or none.
    pub is_frozen: bool,
}

fn light_of(actor: &mut Actor) -> Option<&mut Light> {
    match &mut actor.body {
        super::actor::Body::Light(light) => Some(light),
        _ => None,
    }
}

impl Cycle {
    /// Takes a new light into its group.
    pub fn join(&mut self, light: &mut Light) {
        let index = self
            .groups
            .iter()
            .position(|group| group.id == light.group)
            .unwrap_or_else(|| {
                let id = light.group;
                self.groups.push(Group {
                    id,
                    controllers: Vec::new(),
                    turn: 0,
                    state: Colour::Green,
                    elapsed_s: 0.0,
                });
                self.groups.len() - 1
            });
        let group = &mut self.groups[index];
        if !group.controllers.contains(&light.controller) {
            group.controllers.push(light.controller);
        }
        light.state = if group.controllers[group.turn] == light.controller {
            group.state
        } else {
            Colour::Red
        };
    }

    /// Starts groups anew: one, or all.
    pub fn reset(&mut self, actors: &mut [Actor], only: Option<u32>) {
        for group in self
            .groups
            .iter_mut()
            .filter(|group| only.is_none_or(|id| id == group.id))
        {
            (group.turn, group.state, group.elapsed_s) = (0, Colour::Green, 0.0);
            let first = group.controllers[0];
            for light in actors
                .iter_mut()
                .filter_map(light_of)
                .filter(|light| light.group == group.id)
            {
                light.show(if light.controller == first {
                    Colour::Green
                } else {
                    Colour::Red
                });
            }
        }
    }

    /// One step of every group.
    pub fn advance(&mut self, actors: &mut [Actor], dt_s: f32) {
        // Frozen lights don't count their time either.
        if self.groups.is_empty() || self.is_frozen {
            return;
        }
        for light in actors.iter_mut().filter_map(light_of) {
            light.elapsed_s += dt_s;
        }
        for group in &mut self.groups {
            group.elapsed_s += dt_s;
            let turn = group.controllers[group.turn];
            let is_mine = |light: &&mut Light| light.group == group.id && light.controller == turn;
            let mut mine = actors.iter_mut().filter_map(light_of).filter(is_mine);
            let duration_s = mine
                .next()
                .map_or(f32::INFINITY, |light| light.duration_s(group.state));
            // Sums of a step's length fall short of a round duration by rounding only.
            if group.elapsed_s + 1e-4 < duration_s {
                continue;
            }
            group.elapsed_s = 0.0;
            group.state = match group.state {
                Colour::Green => Colour::Yellow,
                Colour::Yellow => Colour::Red,
                _ => {
                    group.turn = (group.turn + 1) % group.controllers.len();
                    Colour::Green
                }
            };
            let turn = group.controllers[group.turn];
            for light in actors.iter_mut().filter_map(light_of) {
                if light.group == group.id && light.controller == turn {
                    light.show(group.state);
                }
            }
        }
    }
}

/// Whether a vehicle is in one of the places where the light stops vehicles, and faces it.
pub(super) fn stops(light: &Light, pose: &Transform, half_length_m: f32) -> bool {
    // The box is entered by the front and left by the centre.
    holds(light, pose, half_length_m) || holds(light, pose, 0.0)
}

/// Whether the point that is so far ahead of a vehicle's centre lies in one of the light's boxes, and the vehicle faces it.
pub(super) fn holds(light: &Light, pose: &Transform, ahead_m: f32) -> bool {
    light.stop_boxes.iter().any(|stop| {
        let offset: [f32; 3] = std::array::from_fn(|i| pose.location[i] - stop.pose.location[i]);
        let turned = wrap_degrees(pose.rotation.yaw_deg - stop.pose.rotation.yaw_deg).abs();
        if offset[0].abs() > 15.0
            || offset[1].abs() > 15.0
            || offset[2].abs() > 4.0
            || turned > 60.0
        {
            return false;
        }
        let (cos, sin) = stop.pose.rotation.heading();
        let nose = pose.rotation.heading();
        let (dx, dy) = (offset[0] + ahead_m * nose.0, offset[1] + ahead_m * nose.1);
        (dx * cos + dy * sin).abs() <= stop.half_m.0 && (dy * cos - dx * sin).abs() <= stop.half_m.1
    })
}
