//! The physics control of a vehicle. Lengths of wheels are centimetres on the wire.

use carla_online_world::stage::physics::{Gear, MAX_TABLE, VehiclePhysics, Wheel};
use carla_online_world::stage::pose::Vector;

use crate::msgpack::{Malformed, Packer, Reader};
use crate::wire::layout::{read_vector, write_vector};

type Result<T> = std::result::Result<T, Malformed>;
const CM_PER_M: f32 = 100.0;

fn read_curve(reader: &mut Reader<'_>) -> Result<Vec<[f32; 2]>> {
    reader.list(MAX_TABLE, |point| {
        point.tuple(2, |point| Ok([point.single()?, point.single()?]))
    })
}

fn read_gear(reader: &mut Reader<'_>) -> Result<Gear> {
    reader.tuple(3, |inner| {
        Ok(Gear {
            ratio: inner.single()?,
            down_ratio: inner.single()?,
            up_ratio: inner.single()?,
        })
    })
}

fn read_wheel(reader: &mut Reader<'_>) -> Result<Wheel> {
    reader.tuple(10, |inner| {
        Ok(Wheel {
            tire_friction: inner.single()?,
            damping_rate: inner.single()?,
            max_steer_angle_deg: inner.single()?,
            radius_m: inner.single()? / CM_PER_M,
            max_brake_torque: inner.single()?,
            max_handbrake_torque: inner.single()?,
            lateral_stiffness_max_load: inner.single()?,
            lateral_stiffness: inner.single()?,
            longitudinal_stiffness: inner.single()?,
            position_m: read_vector(inner)?.map(|value| value / CM_PER_M),
        })
    })
}

/// Reads a physics control.
pub fn read(reader: &mut Reader<'_>) -> Result<VehiclePhysics> {
    reader.tuple(17, |inner| {
        Ok(VehiclePhysics {
            torque_curve: read_curve(inner)?,
            max_rpm: inner.single()?,
            moment_of_inertia: inner.single()?,
            damping_full_throttle: inner.single()?,
            damping_zero_engaged: inner.single()?,
            damping_zero_disengaged: inner.single()?,
            use_gear_autobox: inner.boolean()?,
            gear_switch_time_s: inner.single()?,
            clutch_strength: inner.single()?,
            final_ratio: inner.single()?,
            gears: inner.list(MAX_TABLE, read_gear)?,
            mass_kg: inner.single()?,
            drag_coefficient: inner.single()?,
            center_of_mass: read_vector(inner)?,
            steering_curve: read_curve(inner)?,
            wheels: inner.list(MAX_TABLE, read_wheel)?,
            use_sweep_wheel_collision: inner.boolean()?,
        })
    })
}

fn write_curve(out: &mut Packer, curve: &[[f32; 2]]) {
    out.array(curve.len());
    for point in curve {
        out.array(2);
        point.iter().for_each(|value| out.single(*value));
    }
}

/// Writes a physics control; `position` gives where each wheel is in the world, metres.
pub fn write(out: &mut Packer, physics: &VehiclePhysics, position: impl Fn(usize) -> Vector) {
    out.array(17);
    write_curve(out, &physics.torque_curve);
    out.single(physics.max_rpm);
    out.single(physics.moment_of_inertia);
    out.single(physics.damping_full_throttle);
    out.single(physics.damping_zero_engaged);
    out.single(physics.damping_zero_disengaged);
    out.boolean(physics.use_gear_autobox);
    out.single(physics.gear_switch_time_s);
    out.single(physics.clutch_strength);
    out.single(physics.final_ratio);
    out.array(physics.gears.len());
    for gear in &physics.gears {
        out.array(3);
        [gear.ratio, gear.down_ratio, gear.up_ratio]
            .iter()
            .for_each(|value| out.single(*value));
    }
    out.single(physics.mass_kg);
    out.single(physics.drag_coefficient);
    write_vector(out, physics.center_of_mass);
    write_curve(out, &physics.steering_curve);
    out.array(physics.wheels.len());
    for (index, wheel) in physics.wheels.iter().enumerate() {
        out.array(10);
        for value in [
            wheel.tire_friction,
            wheel.damping_rate,
            wheel.max_steer_angle_deg,
            wheel.radius_m * CM_PER_M,
            wheel.max_brake_torque,
            wheel.max_handbrake_torque,
            wheel.lateral_stiffness_max_load,
            wheel.lateral_stiffness,
            wheel.longitudinal_stiffness,
        ] {
            out.single(value);
        }
        write_vector(out, position(index).map(|value| value * CM_PER_M));
    }
    out.boolean(physics.use_sweep_wheel_collision);
}
