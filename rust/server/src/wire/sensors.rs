//! Payloads of the sensors that measure.

use carla_online_world::stage::pose::{Transform, Vector};
use carla_online_world::stage::sensor::GeoLocation;

use crate::msgpack::Packer;
use crate::wire::layout::{ActorRecord, write_vector};
use crate::wire::stream::{self, Moment, PayloadKind};

/// Where a message is put together; kept, so that its memory is reused.
#[derive(Debug, Default)]
pub struct SensorMessage {
    /// The finished message.
    pub bytes: Vec<u8>,
    body: Packer,
}

impl SensorMessage {
    fn build(
        &mut self,
        kind: PayloadKind,
        moment: Moment,
        pose: &Transform,
        write: impl FnOnce(&mut Packer),
    ) {
        stream::begin(&mut self.bytes, kind, moment, pose);
        self.body.truncate(0);
        write(&mut self.body);
        self.bytes.extend_from_slice(self.body.bytes());
        stream::finish(&mut self.bytes);
    }

    /// `[latitude, longitude, altitude]`
    pub fn gnss(&mut self, moment: Moment, pose: &Transform, place: &GeoLocation) {
        self.build(PayloadKind::Gnss, moment, pose, |out| {
            out.array(3);
            [place.latitude_deg, place.longitude_deg, place.altitude_m]
                .iter()
                .for_each(|value| out.double(*value));
        });
    }

    /// `[[ax, ay, az], [gx, gy, gz], compass]`
    pub fn imu(
        &mut self,
        moment: Moment,
        pose: &Transform,
        vectors: [Vector; 2],
        compass_rad: f32,
    ) {
        self.build(PayloadKind::Imu, moment, pose, |out| {
            out.array(3);
            vectors.iter().for_each(|vector| write_vector(out, *vector));
            out.single(compass_rad);
        });
    }

    /// `[self, other, impulse]`
    pub fn collision(
        &mut self,
        moment: Moment,
        pose: &Transform,
        actors: [ActorRecord<'_>; 2],
        impulse: Vector,
    ) {
        self.build(PayloadKind::Collision, moment, pose, |out| {
            out.array(3);
            actors.iter().for_each(|actor| actor.write(out));
            write_vector(out, impulse);
        });
    }

    /// `[self, other, distance]`
    pub fn obstacle(
        &mut self,
        moment: Moment,
        pose: &Transform,
        actors: [ActorRecord<'_>; 2],
        distance_m: f32,
    ) {
        self.build(PayloadKind::Obstacle, moment, pose, |out| {
            out.array(3);
            actors.iter().for_each(|actor| actor.write(out));
            out.single(distance_m);
        });
    }
}
