//! Actors come and go.

use carla_online_world::stage::Mount;
use carla_online_world::stage::pose::Transform;

use super::Host;
use super::call::{Answer, Call, Done, Refusal};
use super::session::Record;
use crate::wire::layout::{Description, read_transform, write_bounds};

/// Ids of one question.
const MAX_IDS: usize = 100_000;

impl Host {
    /// Puts an actor on the stage and returns its id.
    pub(super) fn spawn(
        &mut self,
        asked: &Description,
        pose: Transform,
        parent: Option<u32>,
    ) -> Result<u32, Refusal> {
        let made = self.blueprints.make(asked).ok_or_else(|| {
            Refusal(format!(
                "there is no blueprint '{}'",
                asked.id.chars().take(80).collect::<String>()
            ))
        })?;
        if self.faults.refuses_spawn() {
            return Err("Spawn failed because of collision at spawn position".into());
        }
        let mount = parent.map(|parent| Mount { parent });
        let id = self
            .session
            .stage
            .spawn(pose, mount, made.bounds, made.body)?;
        let record = Record {
            description: made.description,
            tags: made.tags,
            stream: 0,
        };
        self.session.register(id, record, made.is_sensor);
        Ok(id)
    }
}

fn answer_actor(host: &Host, call: &mut Call<'_>, id: u32) -> Answer {
    let is_known = host
        .session
        .describe(id, host.stream_port, |actor| actor.write(call.out));
    if is_known {
        Ok(Done::Now)
    } else {
        Err(Refusal(format!("there is no actor {id}")))
    }
}

pub(super) fn spawn(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let asked = Description::read(&mut call.arguments)?;
    let pose = read_transform(&mut call.arguments)?;
    let id = host.spawn(&asked, pose, None)?;
    answer_actor(host, call, id)
}

/// The attachment's kind and socket follow; everything here is attached rigidly.
pub(super) fn spawn_with_parent(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let asked = Description::read(&mut call.arguments)?;
    let pose = read_transform(&mut call.arguments)?;
    let parent = call.arguments.number()?;
    let id = host.spawn(&asked, pose, Some(parent))?;
    answer_actor(host, call, id)
}

pub(super) fn destroy(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let id = call.arguments.number()?;
    host.session.destroy(id)?;
    call.out.boolean(true);
    Ok(Done::Now)
}

pub(super) fn spectator(host: &mut Host, call: &mut Call<'_>) -> Answer {
    answer_actor(host, call, host.session.spectator)
}

/// Unknown ids are left out.
pub(super) fn actors_by_id(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let mut ids = call
        .arguments
        .list(MAX_IDS, crate::msgpack::Reader::number::<u32>)?;
    ids.retain(|id| host.session.record(*id).is_some());
    call.out.array(ids.len());
    for id in ids {
        host.session
            .describe(id, host.stream_port, |actor| actor.write(call.out));
    }
    Ok(Done::Now)
}

/// Zeros for an actor that isn't there: a Traffic Manager asks late, and an error would kill its process.
pub(super) fn bounding_box(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let id = call.arguments.number()?;
    let bounds = host
        .session
        .stage
        .actor(id)
        .map(|actor| actor.bounds)
        .unwrap_or_default();
    write_bounds(call.out, &bounds, [0.0; 3], id);
    Ok(Done::Now)
}
