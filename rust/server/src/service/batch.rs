//! `apply_batch`: many commands in one message.

use std::time::Instant;

use super::call::{Answer, Call, Done, Refusal};
use super::{Action, Host, actors, lights, vehicles};
use crate::msgpack::{Malformed, Reader};
use crate::wire::layout::{Description, read_transform};

/// Commands of one batch.
const MAX_COMMANDS: usize = 100_000;
/// Commands behind `.then` of one spawn.
const MAX_FOLLOWING: usize = 1000;
const SPAWN: u8 = 0;
const CONSOLE: u8 = 20;

fn destroy(host: &mut Host, id: u32, _: &mut Reader<'_>) -> Result<(), Refusal> {
    Ok(host.session.destroy(id)?)
}

/// What a command does to its actor, by CARLA's number.
fn action(number: u8) -> Option<Action> {
    Some(match number {
        1 => destroy,
        2 => vehicles::apply_control,
        3 => vehicles::apply_ackermann,
        4 => actors::apply_walker_control,
        5 => vehicles::apply_physics,
        6 => actors::set_transform,
        7 => actors::apply_walker_state,
        8 => actors::set_target_velocity,
        9 => actors::set_target_angular_velocity,
        10 => actors::add_impulse,
        11 => actors::add_force,
        12 | 13 => actors::add_angular_impulse,
        14 => actors::set_simulate_physics,
        15 => actors::set_gravity,
        // The client registers the vehicle with its own Traffic Manager.
        16 | 17 => actors::accept,
        18 => vehicles::set_light_flags,
        19 => actors::set_location,
        21 => lights::set_state,
        _ => return None,
    })
}

/// `[[[number, body]]...], do_tick`; the result is a bare list of responses.
pub(super) fn apply(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let count = call.arguments.array()?;
    if count > MAX_COMMANDS {
        return Err(Refusal(format!(
            "a batch may hold {MAX_COMMANDS} commands, this one has {count}"
        )));
    }
    call.out.array(count);
    for _ in 0..count {
        let mut command = call.arguments;
        // Where the next one begins doesn't depend on whether this one can be read.
        call.arguments.skip()?;
        let result = run(host, &mut command, None);
        call.out.array(1);
        call.out.array(2);
        match result {
            Ok(id) => {
                call.out.unsigned(1);
                call.out.unsigned(id.into());
            }
            Err(Refusal(message)) => {
                call.out.unsigned(0);
                call.out.array(1);
                call.out.text(&message);
            }
        }
    }
    if call.arguments.boolean()? && host.session.settings.is_synchronous {
        let step_s = host.session.settings.fixed_delta_s.unwrap_or(0.05);
        host.tick(step_s, Instant::now());
    }
    Ok(Done::Now)
}

/// One command; `actor` stands in for the id behind `.then`. The id of the actor it was for.
fn run(host: &mut Host, command: &mut Reader<'_>, actor: Option<u32>) -> Result<u32, Refusal> {
    const EXPECTED: Malformed = Malformed {
        expected: "a command",
        at: 0,
    };
    if command.array()? == 0 || command.array()? < 2 {
        return Err(EXPECTED.into());
    }
    let number: u8 = command.number()?;
    let members = command.array()?;
    match number {
        SPAWN if actor.is_none() => spawn(host, command, members),
        CONSOLE => Ok(0),
        _ => {
            let action =
                action(number).ok_or_else(|| Refusal(format!("there is no command {number}")))?;
            let written: u32 = command.number()?;
            let id = actor.unwrap_or(written);
            action(host, id, command)?;
            Ok(id)
        }
    }
}

/// `[description, pose, optional parent, attachment, socket, [command...]]`. Without a parent the attachment is
/// memory that the client never set: it isn't looked at.
fn spawn(host: &mut Host, body: &mut Reader<'_>, members: usize) -> Result<u32, Refusal> {
    let asked = Description::read(body)?;
    let pose = read_transform(body)?;
    let parent = if members > 2 {
        body.optional(Reader::number)?
    } else {
        None
    };
    let id = host.spawn(&asked, pose, parent)?;
    if members > 5 {
        body.skip()?;
        body.skip()?;
        let count = body.array()?.min(MAX_FOLLOWING);
        for _ in 0..count {
            let mut command = *body;
            body.skip()?;
            // A command that fails doesn't undo the spawn.
            let _ = run(host, &mut command, Some(id));
        }
    }
    Ok(id)
}
