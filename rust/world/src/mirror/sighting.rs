//! What a simulator shows of a drive.

use crate::observe::ActorKind;
use crate::score::infraction;

/// The ego as a simulator shows it. CARLA's frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EgoSighting {
    /// Centre, metres.
    pub x: f32,
    /// Centre, metres.
    pub y: f32,
    /// Height, metres.
    pub z: f32,
    /// Heading, radians.
    pub yaw_rad: f32,
    /// Velocity of the centre, m/s.
    pub velocity_mps: (f32, f32),
    /// Clockwise, rad/s.
    pub yaw_rate_radps: f32,
    /// Gear; 0 is neutral, -1 reverse.
    pub gear: i32,
}

/// Another road user as a simulator shows it. CARLA's frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sighting {
    /// The simulator's number for it.
    pub id: u32,
    /// Its kind.
    pub kind: ActorKind,
    /// Centre of its box, metres.
    pub x: f32,
    /// Centre of its box, metres.
    pub y: f32,
    /// Height, metres.
    pub z: f32,
    /// Heading, radians.
    pub yaw_rad: f32,
    /// Velocity, m/s.
    pub velocity_mps: (f32, f32),
    /// Half length and half width, metres.
    pub half_extents_m: (f32, f32),
}

/// What the ego can run into, as an infraction's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// A vehicle.
    Vehicle,
    /// Anything that isn't a road user.
    Layout,
    /// Somebody on foot.
    Walker,
}

impl Obstacle {
    pub(super) const ALL: [Self; 3] = [Self::Vehicle, Self::Layout, Self::Walker];

    pub(super) const fn infraction(self) -> usize {
        match self {
            Self::Vehicle => infraction::COLLISION_VEHICLE,
            Self::Layout => infraction::COLLISION_STATIC,
            Self::Walker => infraction::COLLISION_WALKER,
        }
    }
}

/// A contact that the simulator's sensor reported: the other's id, and what it is.
pub type Felt = (u32, Obstacle);
