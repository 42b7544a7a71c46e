//! One thing on the stage.

use crate::stage::ground::Footing;
use crate::stage::lights::Light;
use crate::stage::pose::{Transform, Vector};
use crate::stage::sensor::Sensor;
use crate::stage::vehicle::Vehicle;

/// A box around an actor, in the actor's frame.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bounds {
    /// Centre, metres.
    pub center: Vector,
    /// Half the size along each axis, metres.
    pub half: Vector,
}

/// What a pedestrian's driver asks for: CARLA's `WalkerControl`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WalkerControl {
    /// Direction of the walk, in the world's frame.
    pub direction: Vector,
    /// Metres per second.
    pub speed_mps: f32,
    /// Leave the ground.
    pub jump: bool,
}

/// A pedestrian.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Walker {
    /// The control in force.
    pub control: WalkerControl,
}

/// What an actor is, and what only its kind has.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A car, truck, motorcycle or bicycle.
    Vehicle(Box<Vehicle>),
    /// A pedestrian.
    Walker(Walker),
    /// A thing; flat ones can be driven over.
    Prop {
        /// Whether it is an obstacle.
        is_solid: bool,
    },
    /// A box in which tyres have another friction.
    FrictionVolume {
        /// CARLA's tyre friction; 3.5 is a dry road.
        friction: f32,
    },
    /// Something that measures.
    Sensor(Box<Sensor>),
    /// A traffic light.
    Light(Box<Light>),
    /// A sign of the map.
    Sign {
        /// Its OpenDRIVE id.
        sign_id: String,
    },
    /// Without any behaviour: the spectator, a walker's controller.
    Other,
}

/// A thing on the stage. Positions are metres, angles degrees, in CARLA's frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Actor {
    /// Never 0, never used twice.
    pub id: u32,
    /// The actor that this one is fixed to; 0 for none.
    pub parent: u32,
    /// Pose relative to the parent.
    pub mount: Transform,
    /// Pose in the world.
    pub pose: Transform,
    /// Metres per second.
    pub velocity: Vector,
    /// Degrees per second.
    pub angular_velocity_degps: Vector,
    /// Change of the velocity in the last step, m/s2.
    pub acceleration: Vector,
    /// The box that collides.
    pub bounds: Bounds,
    /// Whether the actor moves by itself and can be pushed.
    pub simulates_physics: bool,
    /// Whether it falls, and stands on its wheels.
    pub has_gravity: bool,
    /// Whether it takes part in collisions.
    pub collides: bool,
    /// What it is.
    pub body: Body,
    pub(super) footing: Footing,
    /// Change of velocity asked for by forces since the last step, per second of the coming one.
    pub(super) pending_acceleration: Vector,
    pub(super) velocity_before: Vector,
}

impl Actor {
    pub(super) fn new(id: u32, pose: Transform, bounds: Bounds, body: Body) -> Self {
        let pose = Transform {
            rotation: pose.rotation.wrapped(),
            ..pose
        };
        Self {
            id,
            parent: 0,
            mount: Transform::default(),
            pose,
            velocity: [0.0; 3],
            angular_velocity_degps: [0.0; 3],
            acceleration: [0.0; 3],
            bounds,
            simulates_physics: !matches!(body, Body::Prop { .. }),
            has_gravity: true,
            collides: true,
            body,
            footing: Footing::default(),
            pending_acceleration: [0.0; 3],
            velocity_before: [0.0; 3],
        }
    }

    /// The vehicle, if it is one.
    pub fn vehicle(&self) -> Option<&Vehicle> {
        match &self.body {
            Body::Vehicle(vehicle) => Some(vehicle),
            _ => None,
        }
    }

    /// The vehicle, if it is one.
    pub fn vehicle_mut(&mut self) -> Option<&mut Vehicle> {
        match &mut self.body {
            Body::Vehicle(vehicle) => Some(vehicle),
            _ => None,
        }
    }

    /// The traffic light, if it is one.
    pub fn light(&self) -> Option<&Light> {
        match &self.body {
            Body::Light(light) => Some(light),
            _ => None,
        }
    }

    /// The sensor, if it is one.
    pub fn sensor(&self) -> Option<&Sensor> {
        match &self.body {
            Body::Sensor(sensor) => Some(sensor),
            _ => None,
        }
    }

    /// Whether it is an obstacle to others.
    pub(super) fn is_solid(&self) -> bool {
        match self.body {
            Body::Vehicle(_) | Body::Walker(_) => true,
            Body::Prop { is_solid } => is_solid,
            _ => false,
        }
    }

    /// Mass, kg; 0 for what can't be pushed.
    pub fn mass_kg(&self) -> f32 {
        match &self.body {
            Body::Vehicle(vehicle) => vehicle.drive.mass_kg,
            Body::Walker(_) => 80.0,
            _ => 0.0,
        }
    }

    /// Forward speed, m/s.
    pub fn forward_mps(&self) -> f32 {
        let (cos, sin) = self.pose.rotation.heading();
        self.velocity[0] * cos + self.velocity[1] * sin
    }
}
