//! Structures of the RPC port, as arrays of their members.

use carla_online_world::stage::actor::{Bounds, WalkerControl};
use carla_online_world::stage::pose::{Rotation, Transform, Vector};
use carla_online_world::stage::vehicle::{AckermannControl, VehicleControl};

use crate::msgpack::{Malformed, Packer, Reader};

type Result<T> = std::result::Result<T, Malformed>;

/// Attributes that a description may carry.
const MAX_ATTRIBUTES: usize = 256;

/// An attribute's value: always text, with CARLA's number for its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeValue {
    /// Name.
    pub id: String,
    /// 1 boolean, 2 integer, 3 float, 4 text, 5 colour.
    pub kind: u8,
    /// Text.
    pub value: String,
}

/// Which blueprint, with which attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// The definition's number.
    pub uid: u32,
    /// The blueprint's id.
    pub id: String,
    /// Every attribute.
    pub attributes: Vec<AttributeValue>,
}

impl Description {
    /// A description without attributes.
    pub fn named(id: &str) -> Self {
        Self {
            id: id.into(),
            ..Self::default()
        }
    }

    /// The value of an attribute.
    pub fn attribute(&self, id: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|attribute| attribute.id == id)
            .map(|attribute| attribute.value.as_str())
    }

    /// `[uid, id, [[id, type, value]...]]`
    pub fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.tuple(3, |inner| {
            let uid = inner.number()?;
            let id = inner.text()?.to_owned();
            let attributes = inner.list(MAX_ATTRIBUTES, |item| {
                item.tuple(3, |item| {
                    let id = item.text()?.to_owned();
                    Ok(AttributeValue {
                        id,
                        kind: item.number()?,
                        value: item.text()?.to_owned(),
                    })
                })
            })?;
            Ok(Self {
                uid,
                id,
                attributes,
            })
        })
    }

    /// The same.
    pub fn write(&self, out: &mut Packer) {
        out.array(3);
        out.unsigned(self.uid.into());
        out.text(&self.id);
        out.array(self.attributes.len());
        for attribute in &self.attributes {
            out.array(3);
            out.text(&attribute.id);
            out.unsigned(attribute.kind.into());
            out.text(&attribute.value);
        }
    }
}

/// `[x, y, z]`
pub fn read_vector(reader: &mut Reader<'_>) -> Result<Vector> {
    reader.tuple(3, |inner| {
        Ok([inner.single()?, inner.single()?, inner.single()?])
    })
}

/// `[[x, y, z], [pitch, yaw, roll]]`
pub fn read_transform(reader: &mut Reader<'_>) -> Result<Transform> {
    reader.tuple(2, |inner| {
        let location = read_vector(inner)?;
        let [pitch_deg, yaw_deg, roll_deg] = read_vector(inner)?;
        Ok(Transform {
            location,
            rotation: Rotation {
                pitch_deg,
                yaw_deg,
                roll_deg,
            },
        })
    })
}

/// `[throttle, steer, brake, hand brake, reverse, manual gear, gear]`, clipped to what pedals can do.
pub fn read_vehicle_control(reader: &mut Reader<'_>) -> Result<VehicleControl> {
    reader.tuple(7, |inner| {
        Ok(VehicleControl {
            throttle: inner.single()?.clamp(0.0, 1.0),
            steer: inner.single()?.clamp(-1.0, 1.0),
            brake: inner.single()?.clamp(0.0, 1.0),
            hand_brake: inner.boolean()?,
            reverse: inner.boolean()?,
            manual_gear_shift: inner.boolean()?,
            gear: inner.number()?,
        })
    })
}

/// `[steer, steer speed, speed, acceleration, jerk]`
pub fn read_ackermann(reader: &mut Reader<'_>) -> Result<AckermannControl> {
    reader.tuple(5, |inner| {
        Ok(AckermannControl {
            steer_rad: inner.single()?,
            steer_speed_radps: inner.single()?,
            speed_mps: inner.single()?,
            acceleration_mps2: inner.single()?,
            jerk_mps3: inner.single()?,
        })
    })
}

/// `[direction, speed, jump]`
pub fn read_walker_control(reader: &mut Reader<'_>) -> Result<WalkerControl> {
    reader.tuple(3, |inner| {
        let direction = read_vector(inner)?;
        Ok(WalkerControl {
            direction,
            speed_mps: inner.single()?.clamp(0.0, 100.0),
            jump: inner.boolean()?,
        })
    })
}

/// CARLA's 14 weather parameters.
pub fn read_weather(reader: &mut Reader<'_>) -> Result<[f32; 14]> {
    reader.tuple(14, |inner| {
        let mut weather = [0.0; 14];
        for value in &mut weather {
            *value = inner.single()?;
        }
        Ok(weather)
    })
}

/// Three numbers.
pub fn write_vector(out: &mut Packer, vector: Vector) {
    out.array(3);
    vector.into_iter().for_each(|value| out.single(value));
}

/// A pose.
pub fn write_transform(out: &mut Packer, transform: &Transform) {
    let Rotation {
        pitch_deg,
        yaw_deg,
        roll_deg,
    } = transform.rotation;
    out.array(2);
    write_vector(out, transform.location);
    write_vector(out, [pitch_deg, yaw_deg, roll_deg]);
}

/// `[centre, half extent, rotation, actor id]`
pub fn write_bounds(out: &mut Packer, bounds: &Bounds, rotation: Vector, actor: u32) {
    out.array(4);
    write_vector(out, bounds.center);
    write_vector(out, bounds.half);
    write_vector(out, rotation);
    out.unsigned(actor.into());
}

/// An actor as `get_actors_by_id`, spawns and events carry it.
#[derive(Debug, Clone, Copy)]
pub struct ActorRecord<'a> {
    /// Id.
    pub id: u32,
    /// Id of the parent; 0 for none.
    pub parent: u32,
    /// Blueprint and attributes.
    pub description: &'a Description,
    /// Box in the actor's frame.
    pub bounds: Bounds,
    /// Semantic tags.
    pub tags: &'a [u8],
    /// Token of a sensor's stream; empty for everything else.
    pub token: &'a [u8],
}

impl ActorRecord<'_> {
    /// `[id, parent, description, box, tags, token]`
    pub fn write(&self, out: &mut Packer) {
        out.array(6);
        out.unsigned(self.id.into());
        out.unsigned(self.parent.into());
        self.description.write(out);
        write_bounds(out, &self.bounds, [0.0; 3], self.id);
        out.binary(self.tags);
        out.binary(self.token);
    }
}
