//! What only vehicles have.

use super::Host;
use super::call::{Answer, Call, Done, Refusal};
use crate::msgpack::Reader;
use crate::wire::layout::{read_ackermann, read_vector, read_vehicle_control};
use crate::wire::physics;

const MAX_WHEELS: usize = 64;

pub(super) fn apply_control(
    host: &mut Host,
    id: u32,
    rest: &mut Reader<'_>,
) -> Result<(), Refusal> {
    let control = read_vehicle_control(rest)?;
    let vehicle = host.session.stage.vehicle_mut(id)?;
    (vehicle.control, vehicle.ackermann) = (control, None);
    Ok(())
}

pub(super) fn apply_ackermann(
    host: &mut Host,
    id: u32,
    rest: &mut Reader<'_>,
) -> Result<(), Refusal> {
    let control = read_ackermann(rest)?;
    host.session.stage.vehicle_mut(id)?.ackermann = Some(control);
    Ok(())
}

pub(super) fn apply_ackermann_settings(
    host: &mut Host,
    id: u32,
    rest: &mut Reader<'_>,
) -> Result<(), Refusal> {
    let gains = rest.tuple(6, |inner| {
        let mut gains = [0.0; 6];
        for gain in &mut gains {
            *gain = inner.single()?;
        }
        Ok(gains)
    })?;
    host.session.stage.vehicle_mut(id)?.ackermann_gains = gains;
    Ok(())
}

pub(super) fn apply_physics(
    host: &mut Host,
    id: u32,
    rest: &mut Reader<'_>,
) -> Result<(), Refusal> {
    let physics = physics::read(rest)?;
    host.session.stage.vehicle_mut(id)?.set_physics(physics);
    Ok(())
}

pub(super) fn enable_constant_velocity(
    host: &mut Host,
    id: u32,
    rest: &mut Reader<'_>,
) -> Result<(), Refusal> {
    let velocity = read_vector(rest)?;
    host.session.stage.vehicle_mut(id)?.constant_velocity = Some(velocity);
    Ok(())
}

pub(super) fn disable_constant_velocity(
    host: &mut Host,
    id: u32,
    _: &mut Reader<'_>,
) -> Result<(), Refusal> {
    host.session.stage.vehicle_mut(id)?.constant_velocity = None;
    Ok(())
}

/// `[flags]` as the call sends it.
pub(super) fn set_lights(host: &mut Host, id: u32, rest: &mut Reader<'_>) -> Result<(), Refusal> {
    let flags = rest.tuple(1, Reader::number)?;
    host.session.stage.vehicle_mut(id)?.lights = flags;
    Ok(())
}

/// `flags` as the command sends it.
pub(super) fn set_light_flags(
    host: &mut Host,
    id: u32,
    rest: &mut Reader<'_>,
) -> Result<(), Refusal> {
    let flags = rest.number()?;
    host.session.stage.vehicle_mut(id)?.lights = flags;
    Ok(())
}

pub(super) fn lights(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let flags = host
        .session
        .stage
        .vehicle_mut(call.arguments.number()?)?
        .lights;
    call.out.array(1);
    call.out.unsigned(flags.into());
    Ok(Done::Now)
}

pub(super) fn all_lights(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let vehicles = || {
        host.session
            .stage
            .actors()
            .iter()
            .filter_map(|actor| Some((actor.id, actor.vehicle()?.lights)))
    };
    call.out.array(vehicles().count());
    for (id, flags) in vehicles() {
        call.out.array(2);
        call.out.unsigned(id.into());
        call.out.unsigned(flags.into());
    }
    Ok(Done::Now)
}

pub(super) fn ackermann_settings(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let gains = host
        .session
        .stage
        .vehicle_mut(call.arguments.number()?)?
        .ackermann_gains;
    call.out.array(gains.len());
    gains.iter().for_each(|gain| call.out.single(*gain));
    Ok(Done::Now)
}

pub(super) fn physics(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let actor = host.session.stage.actor(call.arguments.number()?)?;
    let vehicle = actor
        .vehicle()
        .ok_or_else(|| Refusal("the actor is not a vehicle".into()))?;
    physics::write(call.out, &vehicle.physics(), |wheel| {
        vehicle.wheel_position(&actor.pose, wheel)
    });
    Ok(Done::Now)
}

pub(super) fn wheel_steer_angle(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let actor = host.session.stage.actor(call.arguments.number()?)?;
    let wheel: usize = call.arguments.number()?;
    let vehicle = actor
        .vehicle()
        .ok_or_else(|| Refusal("the actor is not a vehicle".into()))?;
    call.out
        .single(vehicle.wheel_angle_deg(wheel.min(MAX_WHEELS), actor.forward_mps()));
    Ok(Done::Now)
}

/// `[speed, steer, throttle, brake, rpm, gear, drag, [wheel...]]`; the wheels roll without slip.
pub(super) fn telemetry(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let actor = host.session.stage.actor(call.arguments.number()?)?;
    let vehicle = actor
        .vehicle()
        .ok_or_else(|| Refusal("the actor is not a vehicle".into()))?;
    let (physics, speed) = (vehicle.physics(), actor.forward_mps());
    call.out.array(8);
    for value in [
        speed,
        vehicle.control.steer,
        vehicle.control.throttle,
        vehicle.control.brake,
    ] {
        call.out.single(value);
    }
    call.out.single(vehicle.engine_rpm(speed));
    call.out.integer(vehicle.gear().into());
    call.out.single(physics.drag_coefficient);
    call.out.array(physics.wheels.len());
    for wheel in &physics.wheels {
        // Friction, slips and forces: only friction and the turning rate are known.
        let mut values = [0.0; 11];
        values[0] = wheel.tire_friction;
        values[3] = speed / wheel.radius_m.max(0.05);
        call.out.array(values.len());
        values.iter().for_each(|value| call.out.single(*value));
    }
    Ok(Done::Now)
}
