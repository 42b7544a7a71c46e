//! Traffic lights.

use carla_online_world::stage::lights::{Colour, Light};

use super::Host;
use super::call::{Answer, Call, Done, Refusal};
use crate::msgpack::Reader;
use crate::wire::layout::write_bounds;

const LONGEST_S: f32 = 1e6;

pub(super) fn set_state(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Result<(), Refusal> {
    let state = Colour::from_number(rest.number()?);
    host.session.stage.light_mut(id)?.show(state);
    Ok(())
}

fn set_time(
    host: &mut Host,
    id: u32,
    rest: &mut Reader<'_>,
    time: fn(&mut Light) -> &mut f32,
) -> Result<(), Refusal> {
    let seconds = rest.single()?.clamp(0.0, LONGEST_S);
    *time(host.session.stage.light_mut(id)?) = seconds;
    Ok(())
}

pub(super) fn set_green_time(
    host: &mut Host,
    id: u32,
    rest: &mut Reader<'_>,
) -> Result<(), Refusal> {
    set_time(host, id, rest, |light| &mut light.green_s)
}

pub(super) fn set_yellow_time(
    host: &mut Host,
    id: u32,
    rest: &mut Reader<'_>,
) -> Result<(), Refusal> {
    set_time(host, id, rest, |light| &mut light.yellow_s)
}

pub(super) fn set_red_time(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Result<(), Refusal> {
    set_time(host, id, rest, |light| &mut light.red_s)
}

pub(super) fn reset_group(host: &mut Host, id: u32, _: &mut Reader<'_>) -> Result<(), Refusal> {
    Ok(host.session.stage.reset_lights(Some(id))?)
}

pub(super) fn reset_all(host: &mut Host, _: &mut Call<'_>) -> Answer {
    host.session.stage.reset_lights(None)?;
    Ok(Done::Now)
}

pub(super) fn freeze_all(host: &mut Host, call: &mut Call<'_>) -> Answer {
    host.session.stage.freeze_lights(call.arguments.boolean()?);
    Ok(Done::Now)
}

pub(super) fn group(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let group = host
        .session
        .stage
        .light_mut(call.arguments.number()?)?
        .group;
    let members = || {
        let lights = host
            .session
            .stage
            .actors()
            .iter()
            .filter_map(|actor| Some((actor.id, actor.light()?.group)));
        lights.filter(move |(_, candidate)| *candidate == group)
    };
    call.out.array(members().count());
    members().for_each(|(id, _)| call.out.unsigned(id.into()));
    Ok(Done::Now)
}

pub(super) fn boxes(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let actor = host.session.stage.actor(call.arguments.number()?)?;
    actor
        .light()
        .ok_or_else(|| Refusal("the actor is not a traffic light".into()))?;
    call.out.array(1);
    write_bounds(call.out, &actor.bounds, [0.0; 3], actor.id);
    Ok(Done::Now)
}
