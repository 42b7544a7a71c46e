//! Frames of the streaming port: a length, the header of all sensors, a payload.

use carla_online_world::stage::pose::Transform;

/// Bytes of the length before a payload.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of the header that every payload begins with.
pub const HEADER_BYTES: usize = 48;
/// The stream of the world's states.
pub const WORLD_STREAM: u32 = 1;
/// Set in the ids under which clients subscribe to the state of the world.
const WORLD_BIT: u32 = 1 << 31;

/// The id under which clients of an episode subscribe to the state of the world: another one for each episode. The
/// 0.9.16 client makes a new subscription when it has loaded a map, and may drop the old one after that, by its id:
/// were both the same, it would free the new one while that connects, and die.
pub fn world_stream(episode: u64) -> u32 {
    WORLD_BIT | (episode as u32 & !WORLD_BIT)
}

/// The episode whose states an id asks for; none for other streams.
pub fn episode_of(id: u32) -> Option<u32> {
    (id & WORLD_BIT != 0).then_some(id & !WORLD_BIT)
}

/// The stream that an id asks for: all ids of the world are one.
pub fn channel(id: u32) -> u32 {
    if id & WORLD_BIT == 0 {
        id
    } else {
        WORLD_STREAM
    }
}

/// CARLA's numbers for the kinds of payload that are sent. The client casts without checking, so a wrong number
/// or a short payload would crash it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum PayloadKind {
    /// A contact.
    Collision = 0,
    /// Latitude, longitude, altitude.
    Gnss = 4,
    /// Acceleration, turn rate, compass.
    Imu = 5,
    /// Something ahead.
    Obstacle = 7,
    /// The state of the world.
    World = 17,
}

/// When a message was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Number of the step.
    pub frame: u64,
    /// Seconds of simulated time.
    pub elapsed_s: f64,
}

/// Begins a message in `out`, which is emptied: room for the length, then the header.
pub fn begin(out: &mut Vec<u8>, kind: PayloadKind, moment: Moment, pose: &Transform) {
    out.clear();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.extend_from_slice(&(kind as u64).to_le_bytes());
    out.extend_from_slice(&moment.frame.to_le_bytes());
    out.extend_from_slice(&moment.elapsed_s.to_le_bytes());
    let rotation = pose.rotation;
    let numbers = [rotation.pitch_deg, rotation.yaw_deg, rotation.roll_deg];
    for value in pose.location.into_iter().chain(numbers) {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Fills in the length.
pub fn finish(out: &mut [u8]) {
    let length = (out.len() - LENGTH_BYTES) as u32;
    out[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}
