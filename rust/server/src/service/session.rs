//! The episode: the stage, what clients know about its actors, the clock's reading.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use carla_online_world::stage::actor::{Actor, Body, Bounds};
use carla_online_world::stage::contact::Other;
use carla_online_world::stage::population::Population;
use carla_online_world::stage::pose::{Rotation, Transform};
use carla_online_world::stage::sensor::{Reading, SensorKind};
use carla_online_world::stage::{Stage, StageError};

use super::streams::Streams;
use crate::faults::Faults;
use crate::maps::LoadedMap;
use crate::wire::layout::{ActorRecord, Description};
use crate::wire::sensors::SensorMessage;
use crate::wire::settings::Settings;
use crate::wire::state::{self, Episode};
use crate::wire::stream::{Moment, WORLD_STREAM, episode_of};
use crate::wire::token::{TOKEN_BYTES, token};

/// What a client may ask about an actor beside its state.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Blueprint and attributes.
    pub description: Description,
    /// Semantic tags.
    pub tags: &'static [u8],
    /// A sensor's stream; 0 for none.
    pub stream: u32,
}

/// An episode.
#[derive(Debug)]
pub struct Session {
    /// The actors.
    pub stage: Stage,
    /// Settings in force.
    pub settings: Settings,
    /// CARLA's 14 parameters, kept as they were set.
    pub weather: [f32; 14],
    /// The map under the name it was asked for by.
    pub map_name: String,
    /// The map.
    pub map: Arc<LoadedMap>,
    /// The spectator's id.
    pub spectator: u32,
    /// Traffic of the world's own.
    pub population: Option<Population>,
    records: BTreeMap<u32, Record>,
    /// Actor and stream of every sensor, in the order of the actors.
    sensors: Vec<(u32, u32)>,
    next_stream: u32,
    first_episode: u64,
    episode: u64,
    moment: Moment,
    delta_s: f32,
    has_new_map: bool,
    state: Vec<u8>,
    message: SensorMessage,
    readings: Vec<Reading>,
}

const LIGHT_TAGS: &[u8] = &[7];
const SIGN_TAGS: &[u8] = &[8];
/// Weather of a new episode: a clear noon.
const CLEAR_NOON: [f32; 14] = [
    5.0, 0.0, 0.0, 10.0, -1.0, 45.0, 2.0, 0.75, 0.1, 0.0, 1.0, 0.03, 0.0331, 0.0,
];
const SPECTATOR: Transform = Transform {
    location: [0.0, 0.0, 30.0],
    rotation: Rotation {
        pitch_deg: -90.0,
        yaw_deg: 0.0,
        roll_deg: 0.0,
    },
};

/// Where episodes and streams begin to be numbered: somewhere else in each server.
///
/// A client whose server has died goes on asking at its address for the streams that it had. Were they the next server's
/// as well, it would take that one's states for its own, and 0.9.16 ends its process then.
fn first_number() -> u32 {
    let drawn = RandomState::new().build_hasher().finish();
    1 + (drawn as u32 & 0x1fff_ffff)
}

impl Session {
    /// The first episode.
    pub fn new(map_name: String, map: Arc<LoadedMap>) -> Self {
        let first = first_number();
        let stage = Stage::new(Arc::clone(&map.roads), Arc::clone(&map.solids), 1);
        let mut session = Self {
            stage,
            settings: Settings::default(),
            weather: CLEAR_NOON,
            map_name,
            map,
            spectator: 0,
            population: None,
            records: BTreeMap::new(),
            sensors: Vec::new(),
            next_stream: WORLD_STREAM + 1 + first,
            first_episode: u64::from(first),
            episode: u64::from(first),
            moment: Moment {
                frame: 1,
                elapsed_s: 0.0,
            },
            delta_s: 0.05,
            has_new_map: false,
            state: Vec::new(),
            message: SensorMessage::default(),
            readings: Vec::new(),
        };
        session.furnish();
        session
    }

    /// The next episode. Ids, streams, frames and time go on: nothing of an old episode can be taken for something new.
    pub fn restart(&mut self, map_name: String, map: Arc<LoadedMap>, reset_settings: bool) {
        self.stage = Stage::new(
            Arc::clone(&map.roads),
            Arc::clone(&map.solids),
            self.stage.next_id(),
        );
        (self.map_name, self.map) = (map_name, map);
        self.population = None;
        self.records.clear();
        self.sensors.clear();
        self.weather = CLEAR_NOON;
        if reset_settings {
            self.settings = Settings::default();
        }
        self.episode += 1;
        self.moment.frame += 1;
        self.has_new_map = true;
        self.furnish();
    }

    /// Puts on the stage what every episode has.
    fn furnish(&mut self) {
        // An empty stage takes a spectator.
        if let Ok(id) = self
            .stage
            .spawn(SPECTATOR, None, Bounds::default(), Body::Other)
        {
            self.spectator = id;
            let description = Description::named("spectator");
            self.records.insert(
                id,
                Record {
                    description,
                    ..Record::default()
                },
            );
        }
        let map = Arc::clone(&self.map);
        for fixture in &map.fixtures {
            // Only a map with more lights than a stage takes loses some.
            if let Ok(id) =
                self.stage
                    .spawn(fixture.pose, None, fixture.trigger, fixture.body.clone())
            {
                let tags = if matches!(fixture.body, Body::Light(_)) {
                    LIGHT_TAGS
                } else {
                    SIGN_TAGS
                };
                let description = Description::named(&fixture.id);
                self.records.insert(
                    id,
                    Record {
                        description,
                        tags,
                        stream: 0,
                    },
                );
            }
        }
    }

    /// Number of the last step.
    pub fn frame(&self) -> u64 {
        self.moment.frame
    }

    /// Number of the episode.
    pub fn episode(&self) -> u64 {
        self.episode
    }

    /// Whether the next state must tell of a new map; asked once.
    pub fn take_new_map(&mut self) -> bool {
        std::mem::take(&mut self.has_new_map)
    }

    /// Moves the world.
    pub fn step(&mut self, dt_s: f64) {
        self.delta_s = dt_s as f32;
        if let Some(population) = &mut self.population {
            population.advance(&mut self.stage, dt_s);
        }
        self.stage.step(self.delta_s);
        self.moment.frame += 1;
        self.moment.elapsed_s += dt_s;
    }

    /// The state of the world as a message.
    pub fn write_state(&mut self, running: Duration, has_new_map: bool) -> &[u8] {
        let episode = Episode {
            id: self.episode,
            platform_s: running.as_secs_f64(),
            delta_s: self.delta_s,
            has_new_map,
        };
        state::write(&mut self.state, self.moment, &episode, &self.stage);
        &self.state
    }

    /// Takes note of a new actor; a sensor gets a stream.
    pub fn register(&mut self, id: u32, mut record: Record, is_sensor: bool) {
        if is_sensor {
            record.stream = self.next_stream;
            self.next_stream += 1;
            self.sensors.push((id, record.stream));
        }
        self.records.insert(id, record);
    }

    /// Whether this server has ever given out a stream's id.
    pub fn knows(&self, stream: u32) -> bool {
        match episode_of(stream) {
            Some(episode) => (self.first_episode..=self.episode).contains(&u64::from(episode)),
            None => (self.first_episode..u64::from(self.next_stream)).contains(&u64::from(stream)),
        }
    }

    /// Takes an actor away.
    pub fn destroy(&mut self, id: u32) -> Result<(), StageError> {
        self.stage.destroy(id)?;
        self.records.remove(&id);
        self.sensors.retain(|(actor, _)| *actor != id);
        Ok(())
    }

    /// What is known about an actor.
    pub fn record(&self, id: u32) -> Option<&Record> {
        self.records.get(&id)
    }

    /// Calls `give` with the actor as it is written, if there is one.
    pub fn describe(&self, id: u32, port: u16, give: impl FnOnce(&ActorRecord<'_>)) -> bool {
        let (Some(record), Ok(actor)) = (self.records.get(&id), self.stage.actor(id)) else {
            return false;
        };
        let bytes = token(record.stream, port);
        give(&actor_record(
            actor,
            record,
            if record.stream == 0 { &[] } else { &bytes },
        ));
        true
    }

    /// A stream is listened to, or not any more; the blueprint of its sensor, if there is one.
    pub fn set_heard(&mut self, stream: u32, is_heard: bool) -> Option<String> {
        let (actor, _) = *self
            .sensors
            .iter()
            .find(|(_, candidate)| *candidate == stream)?;
        if let Body::Sensor(sensor) = &mut self.stage.actor_mut(actor).ok()?.body {
            sensor.set_heard(is_heard);
        }
        Some(self.records.get(&actor)?.description.id.clone())
    }

    /// Whether the sensor of a stream never sends. Lane invasions are found by the client, so that sensor has no
    /// need to.
    pub fn is_silent(&self, stream: u32) -> bool {
        let actor = self
            .sensors
            .iter()
            .find(|(_, candidate)| *candidate == stream)
            .map(|(actor, _)| *actor);
        actor.is_some_and(|id| {
            let is_silent = self.stage.actor(id).is_ok_and(|actor| {
                actor
                    .sensor()
                    .is_some_and(|sensor| sensor.kind == SensorKind::Silent)
            });
            is_silent
                && self
                    .record(id)
                    .is_some_and(|record| record.description.id != "sensor.other.lane_invasion")
        })
    }

    /// Sends what every sensor that is heard has measured in the last step.
    pub fn send_readings(&mut self, dt_s: f64, streams: &Streams, faults: &mut Faults) {
        for index in 0..self.sensors.len() {
            let (actor, stream) = self.sensors[index];
            self.readings.clear();
            let readings = &mut self.readings;
            // Only sensors are listed, and they are taken off the list with their actor.
            let _ = self
                .stage
                .measure(actor, dt_s, |reading| readings.push(reading));
            for index in 0..self.readings.len() {
                let reading = self.readings[index];
                if !faults.loses_message() && self.compose(actor, &reading) {
                    streams.send(stream, &self.message.bytes, self.settings.is_synchronous);
                }
            }
        }
    }

    /// Puts a reading into the message; false if its actor is gone.
    fn compose(&mut self, sensor: u32, reading: &Reading) -> bool {
        let Ok(pose) = self.stage.actor(sensor).map(|actor| actor.pose) else {
            return false;
        };
        let (moment, message) = (self.moment, &mut self.message);
        match reading {
            Reading::Gnss(place) => message.gnss(moment, &pose, place),
            Reading::Imu {
                accelerometer,
                gyroscope,
                compass_rad,
            } => {
                message.imu(moment, &pose, [*accelerometer, *gyroscope], *compass_rad);
            }
            Reading::Collision(contact) => {
                let Some(carrier) = record_of(&self.stage, &self.records, contact.actor) else {
                    return false;
                };
                let solid = solid_description(&self.stage, contact.other);
                let other = other_record(&self.stage, &self.records, contact.other, &solid);
                message.collision(
                    moment,
                    &pose,
                    [carrier, other.unwrap_or(carrier)],
                    contact.impulse,
                );
            }
            Reading::Obstacle {
                carrier,
                other,
                distance_m,
            } => {
                let Some(carrier) = record_of(&self.stage, &self.records, *carrier) else {
                    return false;
                };
                let solid = solid_description(&self.stage, *other);
                let other = other_record(&self.stage, &self.records, *other, &solid);
                message.obstacle(
                    moment,
                    &pose,
                    [carrier, other.unwrap_or(carrier)],
                    *distance_m,
                );
            }
        }
        true
    }
}

fn actor_record<'a>(actor: &Actor, record: &'a Record, token: &'a [u8]) -> ActorRecord<'a> {
    debug_assert!(token.is_empty() || token.len() == TOKEN_BYTES);
    ActorRecord {
        id: actor.id,
        parent: actor.parent,
        description: &record.description,
        bounds: actor.bounds,
        tags: record.tags,
        token,
    }
}

fn record_of<'a>(
    stage: &Stage,
    records: &'a BTreeMap<u32, Record>,
    id: u32,
) -> Option<ActorRecord<'a>> {
    Some(actor_record(stage.actor(id).ok()?, records.get(&id)?, &[]))
}

fn solid_description(stage: &Stage, other: Other) -> Description {
    match other {
        Other::Solid(index) => Description::named(&stage.solids()[index].kind),
        Other::Actor(_) => Description::default(),
    }
}

/// The other party of an event: an actor, or a solid of the map, which has no id.
fn other_record<'a>(
    stage: &Stage,
    records: &'a BTreeMap<u32, Record>,
    other: Other,
    solid: &'a Description,
) -> Option<ActorRecord<'a>> {
    match other {
        Other::Actor(id) => record_of(stage, records, id),
        Other::Solid(_) => Some(ActorRecord {
            id: 0,
            parent: 0,
            description: solid,
            bounds: Bounds::default(),
            tags: &[],
            token: &[],
        }),
    }
}
