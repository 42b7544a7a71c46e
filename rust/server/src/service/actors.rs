//! Moving, pushing and switching actors. Every action takes an actor's id and what follows it on the wire, be it
//! a call's arguments or a command's body.

use carla_online_world::stage::actor::WalkerControl;
use carla_online_world::stage::pose::{Transform, add, scale};

use super::Host;
use super::call::Refusal;
use crate::msgpack::Reader;
use crate::wire::layout::{read_transform, read_vector, read_walker_control};

type Done = Result<(), Refusal>;

pub(super) fn set_transform(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Done {
    let pose = read_transform(rest)?;
    Ok(host.session.stage.place(id, pose)?)
}

pub(super) fn set_location(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Done {
    let location = read_vector(rest)?;
    let rotation = host.session.stage.actor(id)?.pose.rotation;
    Ok(host
        .session
        .stage
        .place(id, Transform { location, rotation })?)
}

pub(super) fn set_target_velocity(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Done {
    let velocity = read_vector(rest)?;
    Ok(host.session.stage.set_velocity(id, velocity)?)
}

pub(super) fn set_target_angular_velocity(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Done {
    host.session.stage.actor_mut(id)?.angular_velocity_degps = read_vector(rest)?;
    Ok(())
}

pub(super) fn add_impulse(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Done {
    let impulse = read_vector(rest)?;
    Ok(host.session.stage.push(id, impulse)?)
}

pub(super) fn add_force(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Done {
    let force = read_vector(rest)?;
    Ok(host.session.stage.add_force(id, force)?)
}

/// Only turning about the vertical axis is simulated; the body turns like a box of its mass.
pub(super) fn add_angular_impulse(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Done {
    let impulse = read_vector(rest)?;
    let actor = host.session.stage.actor_mut(id)?;
    let [length, width, _] = actor.bounds.half;
    let inertia = actor.mass_kg() * (length * length + width * width) / 3.0;
    if inertia > 0.0 {
        let turn = scale(impulse, 1.0 / inertia).map(f32::to_degrees);
        actor.angular_velocity_degps = add(actor.angular_velocity_degps, [0.0, 0.0, turn[2]]);
    }
    Ok(())
}

pub(super) fn set_simulate_physics(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Done {
    let is_on = rest.boolean()?;
    Ok(host.session.stage.set_physics_on(id, is_on)?)
}

pub(super) fn set_collisions(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Done {
    host.session.stage.actor_mut(id)?.collides = rest.boolean()?;
    Ok(())
}

pub(super) fn set_gravity(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Done {
    host.session.stage.actor_mut(id)?.has_gravity = rest.boolean()?;
    Ok(())
}

pub(super) fn apply_walker_control(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Done {
    let control = read_walker_control(rest)?;
    Ok(host.session.stage.walk(id, control)?)
}

/// A walker that its client moves: the height is that of its feet.
pub(super) fn apply_walker_state(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Done {
    let mut pose = read_transform(rest)?;
    let speed_mps = rest.single()?;
    let stage = &mut host.session.stage;
    pose.location[2] += stage.actor(id)?.bounds.half[2];
    stage.place(id, pose)?;
    let (cos, sin) = pose.rotation.heading();
    let direction = [cos, sin, 0.0];
    stage.walk(
        id,
        WalkerControl {
            direction,
            speed_mps,
            jump: false,
        },
    )?;
    Ok(stage.set_velocity(id, scale(direction, speed_mps))?)
}

/// Known, and without effect here.
pub(super) fn accept(host: &mut Host, id: u32, _: &mut Reader<'_>) -> Done {
    host.session.stage.actor(id)?;
    Ok(())
}
