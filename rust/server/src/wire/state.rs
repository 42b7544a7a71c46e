//! The state of the world, as every client gets it after every step.

use carla_online_world::stage::Stage;
use carla_online_world::stage::actor::{Actor, Body};
use carla_online_world::stage::pose::Transform;

use crate::wire::stream::{self, Moment, PayloadKind};

/// Bytes of one actor's record.
pub const RECORD_BYTES: usize = 119;
const STATE_BYTES: usize = 65;
const ACTIVE: u8 = 1;
const MAP_CHANGED: u32 = 1;
const SIGN_ID_BYTES: usize = 32;
/// What a vehicle is said to see where there is no light.
const GREEN: u8 = 2;

/// What a state says beside the actors.
#[derive(Debug, Clone, Copy)]
pub struct Episode {
    /// Number of the episode.
    pub id: u64,
    /// Seconds since the server started.
    pub platform_s: f64,
    /// Length of the last step.
    pub delta_s: f32,
    /// Whether the client must fetch the map again.
    pub has_new_map: bool,
}

/// Writes the message, length included, into `out`.
pub fn write(out: &mut Vec<u8>, moment: Moment, episode: &Episode, stage: &Stage) {
    stream::begin(out, PayloadKind::World, moment, &Transform::default());
    out.extend_from_slice(&episode.id.to_le_bytes());
    out.extend_from_slice(&episode.platform_s.to_le_bytes());
    out.extend_from_slice(&episode.delta_s.to_le_bytes());
    // The origin of large maps.
    out.extend_from_slice(&[0; 12]);
    out.extend_from_slice(&(if episode.has_new_map { MAP_CHANGED } else { 0 }).to_le_bytes());
    out.reserve(stage.actors().len() * RECORD_BYTES);
    for actor in stage.actors() {
        write_actor(out, actor, stage);
    }
    stream::finish(out);
}

fn write_actor(out: &mut Vec<u8>, actor: &Actor, stage: &Stage) {
    let start = out.len();
    out.resize(start + RECORD_BYTES, 0);
    let record = &mut out[start..];
    let rotation = actor.pose.rotation;
    let mut at = Cursor { record, at: 0 };
    at.put(&actor.id.to_le_bytes());
    at.put(&[ACTIVE]);
    at.put_vector(actor.pose.location);
    at.put_vector([rotation.pitch_deg, rotation.yaw_deg, rotation.roll_deg]);
    at.put_vector(actor.velocity);
    at.put_vector(actor.angular_velocity_degps);
    at.put_vector(actor.acceleration);
    debug_assert_eq!(at.at, STATE_BYTES);
    match &actor.body {
        Body::Vehicle(vehicle) => {
            let control = &vehicle.control;
            for value in [control.throttle, control.steer, control.brake] {
                at.put(&value.to_le_bytes());
            }
            at.put(
                &[
                    control.hand_brake,
                    control.reverse,
                    control.manual_gear_shift,
                ]
                .map(u8::from),
            );
            at.put(&vehicle.gear().to_le_bytes());
            at.put(&vehicle.speed_limit_kmh.to_le_bytes());
            let light = stage.light_at(actor);
            at.put(&[
                light.map_or(GREEN, |(_, colour)| colour as u8),
                u8::from(light.is_some()),
            ]);
            at.put(&light.map_or(0, |(id, _)| id).to_le_bytes());
        }
        Body::Walker(walker) => {
            at.put_vector(walker.control.direction);
            at.put(&walker.control.speed_mps.to_le_bytes());
            at.put(&[u8::from(walker.control.jump)]);
        }
        Body::Light(light) => {
            at.put_sign(&light.sign_id);
            for value in [light.green_s, light.yellow_s, light.red_s, light.elapsed_s] {
                at.put(&value.to_le_bytes());
            }
            at.put(&light.pole_index.to_le_bytes());
            at.put(&[u8::from(stage.are_lights_frozen()), light.state as u8]);
        }
        Body::Sign { sign_id } => at.put_sign(sign_id),
        Body::Prop { .. } | Body::FrictionVolume { .. } | Body::Sensor(_) | Body::Other => {}
    }
}

struct Cursor<'a> {
    record: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.record[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn put_vector(&mut self, vector: [f32; 3]) {
        vector
            .into_iter()
            .for_each(|value| self.put(&value.to_le_bytes()));
    }

    /// 32 bytes, padded with zeros, the last of which is always zero.
    fn put_sign(&mut self, id: &str) {
        let count = id.len().min(SIGN_ID_BYTES - 1);
        self.put(&id.as_bytes()[..count]);
        self.at += SIGN_ID_BYTES - count;
    }
}
