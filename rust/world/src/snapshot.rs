//! Snapshots: the whole state of an episode as bytes.
//!
//! ```text
//! magic 8 | version u32 | build u64 | configuration u64 | map u64 | state ... | checksum u64
//! ```
//!
//! Little-endian. The checksum covers everything before it. The map isn't kept: configuration and
//! seed give it again, and its hash is compared. Continuation is bit-equal for the same build, which
//! the build id (a hash of these crates' sources) makes sure of.
//!
//! Bytes from outside are hostile until checked: every count is capped before anything is allocated,
//! every number must be finite and every index in range, and nothing changes when they are refused.

use std::sync::Arc;

use crate::config::{MAX_VEHICLES, MAX_WALKERS};
use crate::course::Course;
use crate::dynamics::{CarState, GEARS};
use crate::error::{Error, SnapshotError};
use crate::hash::hash_bytes;
use crate::network::{AHEAD, NOWHERE, Walker, Way};
use crate::state::{Ease, Ego, Ending, LONGEST_TTC_S, Rules, SoftMemory, State, Tally};
use crate::traffic::{VEHICLE_MODELS, Vehicle};
use crate::world::{Setup, World};

mod codec;
use codec::{Codec, Reader, codec_struct};

const MAGIC: [u8; 8] = *b"cowrlds\0";
/// Version of the snapshot format.
pub const SNAPSHOT_VERSION: u32 = 4;
/// Coordinates and distances beyond this are impossible, metres.
const FARTHEST_M: f32 = 1e6;
/// Speeds beyond this are impossible, m/s.
const FASTEST_MPS: f32 = 200.0;

codec_struct!(CarState {
    x,
    y,
    yaw_rad,
    speed_mps,
    yaw_rate_radps,
    acceleration_mps2,
    throttle,
    brake,
    gear,
    shift_left_s
});
codec_struct!(Ego {
    car,
    z,
    lane,
    s_m,
    lateral_m,
    heading_error_rad,
    station_m,
    action
});
codec_struct!(Vehicle {
    lane,
    s_m,
    lateral_m,
    change_from_m,
    change_done,
    speed_mps,
    acceleration_mps2,
    desired_mps,
    model,
    wish,
    wish_until_s,
    next_change_s,
    next_brake_s,
    brake_until_s,
    calm_until_s,
    draws,
    is_gone,
    x,
    y,
    z,
    yaw_rad,
    station_m,
    lane_width_m,
    lane_curvature_per_m
});
codec_struct!(SoftMemory {
    ttc_left_s,
    discomfort_left_s,
    off_centre_s
});
codec_struct!(Ease {
    least_ttc_s,
    short_ttcs,
    discomforts,
    is_ttc_short,
    uncomfortable
});
codec_struct!(Rules {
    walker_contacts,
    light_group,
    light_phase,
    light_left_m,
    has_stopped,
    is_outside,
    was_abreast,
    outside_m,
    astray_m
});
codec_struct!(Way {
    last,
    ahead,
    count,
    granted,
    asked_s,
    has_stopped,
    turns
});
codec_struct!(Walker {
    crosswalk,
    doing,
    is_far,
    along_m,
    aside_m,
    target_m,
    pace_mps,
    until_s,
    draws,
    x,
    y,
    z,
    yaw_rad,
    speed_mps
});
codec_struct!(Tally {
    counts,
    lane_changes,
    contacts,
    corners,
    is_speeding,
    is_wrong_way,
    is_off_route,
    standing_s,
    soft,
    ease,
    rules,
    distance_m,
    near_steps,
    own_speed_sum,
    traffic_speed_sum
});
codec_struct!(Ending {
    finished,
    collision,
    off_road,
    blocked,
    timed_out,
    deviated,
    infraction
});
codec_struct!(State {
    seed,
    stream,
    frame,
    ego,
    vehicles,
    ways,
    walkers,
    tally,
    ending
});

impl<T: Codec + Listed> Codec for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        for item in self {
            item.put(out);
        }
    }

    fn take(reader: &mut Reader, field: &'static str) -> Result<Self, SnapshotError> {
        let count = u32::take(reader, field)? as usize;
        if count > T::MOST {
            return Err(SnapshotError::Value { field });
        }
        (0..count).map(|_| T::take(reader, field)).collect()
    }
}

/// What a state holds a list of.
trait Listed {
    /// So many at most.
    const MOST: usize;
}

impl Listed for Vehicle {
    const MOST: usize = MAX_VEHICLES;
}

impl Listed for Way {
    const MOST: usize = MAX_VEHICLES;
}

impl Listed for Walker {
    const MOST: usize = MAX_WALKERS;
}

/// This build: a hash of the sources of the road layer and of this crate, of the compiler and the target.
pub fn build_id() -> u64 {
    hash_bytes(env!("CARLA_ONLINE_WORLD_BUILD").as_bytes())
}

impl World {
    /// The episode as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256 + 96 * self.state.vehicles.len());
        bytes.extend_from_slice(&MAGIC);
        SNAPSHOT_VERSION.put(&mut bytes);
        build_id().put(&mut bytes);
        self.setup().config_hash.put(&mut bytes);
        self.course().map.content_hash().put(&mut bytes);
        self.state.put(&mut bytes);
        hash_bytes(&bytes).put(&mut bytes);
        bytes
    }

    /// A hash of the state alone: equal states of equal episodes have equal hashes.
    pub fn state_hash(&self) -> u64 {
        let mut bytes = Vec::with_capacity(256 + 96 * self.state.vehicles.len());
        self.state.put(&mut bytes);
        hash_bytes(&bytes)
    }

    /// The episode of a snapshot.
    ///
    /// `nearby` is a world whose course may be the right one already; drawing it again takes a
    /// millisecond or so.
    ///
    /// # Errors
    /// [`Error::Snapshot`] with the first reason found; [`Error::Map`] if its seed gives no road.
    pub fn restore(setup: Arc<Setup>, bytes: &[u8], nearby: Option<&Self>) -> Result<Self, Error> {
        let (map_hash, state) = decode(bytes, setup.config_hash)?;
        let course = match nearby.filter(|world| world.course().is_of(map_hash, state.seed)) {
            Some(world) => world.shared_course(),
            None => setup.courses.course(&setup.config, state.seed)?,
        };
        let expected = course.map.content_hash();
        if expected != map_hash {
            return Err(SnapshotError::Map {
                seen: map_hash,
                expected,
            }
            .into());
        }
        check(&state, &course)?;
        Ok(Self::from_parts(setup, course, state))
    }
}

fn decode(bytes: &[u8], config_hash: u64) -> Result<(u64, State), SnapshotError> {
    let mut reader = Reader::new(bytes);
    if reader.bytes::<8>("magic")? != MAGIC {
        return Err(SnapshotError::Magic);
    }
    let version = u32::take(&mut reader, "version")?;
    if version != SNAPSHOT_VERSION {
        return Err(SnapshotError::Version {
            seen: version,
            expected: SNAPSHOT_VERSION,
        });
    }
    let body = bytes.len().checked_sub(8).ok_or(SnapshotError::Truncated {
        seen: bytes.len(),
        field: "checksum",
    })?;
    let seen = u64::take(&mut Reader::new(&bytes[body..]), "checksum")?;
    let expected = hash_bytes(&bytes[..body]);
    if seen != expected {
        return Err(SnapshotError::Checksum { seen, expected });
    }
    let build = u64::take(&mut reader, "build")?;
    if build != build_id() {
        return Err(SnapshotError::Build {
            seen: build,
            expected: build_id(),
        });
    }
    let config = u64::take(&mut reader, "configuration")?;
    if config != config_hash {
        return Err(SnapshotError::Config {
            seen: config,
            expected: config_hash,
        });
    }
    let map_hash = u64::take(&mut reader, "map")?;
    let state = State::take(&mut reader, "state")?;
    match reader.remaining() {
        8 => Ok((map_hash, state)),
        0..8 => Err(SnapshotError::Truncated {
            seen: bytes.len(),
            field: "checksum",
        }),
        more => Err(SnapshotError::Trailing { extra: more - 8 }),
    }
}

/// What the codec can't know: indices that fit the map, and magnitudes that arithmetic survives.
fn check(state: &State, course: &Course) -> Result<(), SnapshotError> {
    let require = |is_right: bool, field: &'static str| {
        if is_right {
            Ok(())
        } else {
            Err(SnapshotError::Value { field })
        }
    };
    let is_near = |values: &[f32]| values.iter().all(|value| value.abs() <= FARTHEST_M);
    let (ego, car) = (&state.ego, &state.ego.car);
    require(course.is_driven(ego.lane), "ego.lane")?;
    require((1..=GEARS).contains(&car.gear), "ego.gear")?;
    require(
        (0.0..=FASTEST_MPS).contains(&car.speed_mps),
        "ego.speed_mps",
    )?;
    require(
        car.yaw_rate_radps.abs() <= 100.0 && car.acceleration_mps2.abs() <= 1e4,
        "ego.motion",
    )?;
    require(
        [car.throttle, car.brake]
            .iter()
            .all(|value| (0.0..=1.0).contains(value)),
        "ego.pedals",
    )?;
    require((0.0..=1.0).contains(&car.shift_left_s), "ego.shift_left_s")?;
    require(
        is_near(&[
            car.x,
            car.y,
            car.yaw_rad,
            ego.z,
            ego.s_m,
            ego.lateral_m,
            ego.station_m,
        ]),
        "ego.pose",
    )?;
    require(ego.heading_error_rad.abs() <= 4.0, "ego.heading_error_rad")?;
    require(
        ego.action.iter().all(|value| value.abs() <= 1.0),
        "ego.action",
    )?;
    for vehicle in &state.vehicles {
        require(course.is_driven(vehicle.lane), "vehicle.lane")?;
        require(
            usize::from(vehicle.model) < VEHICLE_MODELS.len(),
            "vehicle.model",
        )?;
        require((-1..=1).contains(&vehicle.wish), "vehicle.wish")?;
        require(
            (0.0..=1.0).contains(&vehicle.change_done),
            "vehicle.change_done",
        )?;
        require(
            (0.0..=FASTEST_MPS).contains(&vehicle.speed_mps),
            "vehicle.speed_mps",
        )?;
        require(
            (0.0..=FASTEST_MPS).contains(&vehicle.desired_mps),
            "vehicle.desired_mps",
        )?;
        let pose = [
            vehicle.x,
            vehicle.y,
            vehicle.z,
            vehicle.yaw_rad,
            vehicle.station_m,
        ];
        let rail = [
            vehicle.s_m,
            vehicle.lateral_m,
            vehicle.change_from_m,
            vehicle.acceleration_mps2,
        ];
        require(is_near(&pose) && is_near(&rail), "vehicle.pose")?;
        require(vehicle.s_m >= 0.0, "vehicle.s_m")?;
        let is_lane =
            vehicle.lane_width_m.abs() <= 100.0 && vehicle.lane_curvature_per_m.abs() <= 10.0;
        require(is_lane, "vehicle.lane")?;
    }
    check_network(state, course)?;
    let tally = &state.tally;
    let counts_fit = tally
        .counts
        .iter()
        .chain([&tally.lane_changes])
        .all(|count| (0..1_000_000).contains(count));
    require(counts_fit, "tally.counts")?;
    let soft = &tally.soft;
    let rules = &tally.rules;
    let distances = [rules.outside_m, rules.astray_m, tally.distance_m];
    require(
        distances.iter().all(|metres| (0.0..=1e12).contains(metres))
            && is_near(&[rules.light_left_m]),
        "tally.rules",
    )?;
    let groups = course.map.light_groups();
    let is_light = rules.light_group == NOWHERE || (rules.light_group as usize) < groups.len();
    require(is_light, "tally.rules.light_group")?;
    let ease = &tally.ease;
    let is_ease = (0.0..=LONGEST_TTC_S).contains(&ease.least_ttc_s)
        && ease.uncomfortable < 8
        && std::iter::once(&ease.short_ttcs)
            .chain(&ease.discomforts)
            .all(|count| (0..1_000_000_000).contains(count));
    require(is_ease, "tally.ease")?;
    let timers = [soft.ttc_left_s, soft.off_centre_s, tally.standing_s];
    let timers_fit = timers
        .iter()
        .chain(&soft.discomfort_left_s)
        .all(|seconds| (0.0..=1e9).contains(seconds));
    require(timers_fit, "tally.timers")?;
    require(
        state.frame < 1_000_000_000 && tally.near_steps <= state.frame,
        "frame",
    )
}

/// The part of [`check`] about ways and people.
fn check_network(state: &State, course: &Course) -> Result<(), SnapshotError> {
    let require = |is_right: bool, field: &'static str| {
        if is_right {
            Ok(())
        } else {
            Err(SnapshotError::Value { field })
        }
    };
    let is_network = course.network.is_some();
    let expected = if is_network { state.vehicles.len() } else { 0 };
    require(state.ways.len() == expected, "ways")?;
    require(is_network || state.walkers.is_empty(), "walkers")?;
    for way in &state.ways {
        require(usize::from(way.count) <= AHEAD, "way.count")?;
        let is_right = way.lanes().iter().all(|&lane| course.is_driven(lane))
            && (way.last == NOWHERE || course.is_driven(way.last));
        require(is_right, "way.lanes")?;
    }
    let crosswalks = course.map.crosswalks().len();
    for walker in &state.walkers {
        require((walker.crosswalk as usize) < crosswalks, "walker.crosswalk")?;
        require(walker.doing <= 2, "walker.doing")?;
        let place = [
            walker.along_m,
            walker.aside_m,
            walker.target_m,
            walker.x,
            walker.y,
            walker.z,
        ];
        let is_near = place.iter().all(|value| value.abs() <= FARTHEST_M);
        require(is_near && walker.yaw_rad.abs() <= 10.0, "walker.place")?;
        let speeds = [walker.pace_mps, walker.speed_mps];
        let is_slow = speeds.iter().all(|mps| (0.0..=FASTEST_MPS).contains(mps));
        require(is_slow, "walker.speed_mps")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
