use super::*;
use crate::Dynamics;
use crate::dynamics::{CarState, Command, Model, Traits};

fn drive(vehicle: &mut Vehicle, motion: &mut Motion, seconds: f32) {
    let pace = Pace::new(0.05);
    for _ in 0..(seconds / 0.05) as u32 {
        vehicle.advance(motion, 1.0, &pace);
    }
}

fn parked() -> (Vehicle, Motion) {
    let motion = Motion {
        x: 0.0,
        y: 0.0,
        yaw_rad: 0.4,
        vx: 0.0,
        vy: 0.0,
        yaw_rate_radps: 0.0,
    };
    (
        Vehicle::new(VehiclePhysics::mkz_2017(), 2.13, 1.51, true),
        motion,
    )
}

fn speed(motion: &Motion) -> f32 {
    motion.vx * libm::cosf(motion.yaw_rad) + motion.vy * libm::sinf(motion.yaw_rad)
}

/// Oracle: the world's own car, whose constants are the same numbers. To the bit: what differs by a rounding at each step
/// is a car's width off after a kilometre.
#[test]
fn driving_forward_is_the_worlds_dynamics() {
    let (mut vehicle, mut motion) = parked();
    let (model, pace) = (
        Model::new(Dynamics::Powertrain, 0.05, &Traits::default()),
        Pace::new(0.05),
    );
    let mut car = CarState::moving(0.0, 0.0, 0.4, 0.0);
    for step in 0..600_u32 {
        let phase = step as f32 * 0.05;
        // Every few seconds it brakes down to a standstill, with and without a trace of throttle.
        let pedal = libm::sinf(0.5 * phase) + 0.2;
        let command = Command::from_action([0.3 * libm::sinf(1.3 * phase), pedal]);
        vehicle.control = VehicleControl {
            throttle: command.throttle,
            steer: command.steer,
            brake: command.brake,
            ..VehicleControl::default()
        };
        vehicle.advance(&mut motion, 1.0, &pace);
        model.advance(&mut car, command, 1.0);
        let (vx, vy) = car.velocity_mps();
        let driven = Motion {
            x: car.x,
            y: car.y,
            yaw_rad: car.yaw_rad,
            vx,
            vy,
            yaw_rate_radps: car.yaw_rate_radps,
        };
        assert_eq!(motion, driven, "step {step}");
    }
    assert!(car.x.hypot(car.y) > 50.0);
}

#[test]
fn without_grip_and_air_a_velocity_stays_and_the_engine_is_powerless() {
    let (mut vehicle, mut motion) = parked();
    let mut physics = vehicle.physics();
    physics
        .wheels
        .iter_mut()
        .for_each(|wheel| wheel.tire_friction = 0.0);
    physics.drag_coefficient = 0.0;
    vehicle.set_physics(physics);
    (motion.vx, motion.vy) = (0.0, 27.778);
    vehicle.control.throttle = 1.0;
    drive(&mut vehicle, &mut motion, 5.0);
    assert_eq!((motion.vx, motion.vy), (0.0, 27.778));
}

#[test]
fn a_push_to_the_side_is_caught_by_the_tyres() {
    let (mut vehicle, mut motion) = parked();
    motion.yaw_rad = 0.0;
    (motion.vx, motion.vy) = (10.0, 4.0);
    drive(&mut vehicle, &mut motion, 1.0);
    assert!(motion.vy.abs() < 1e-3 && motion.vx > 9.0, "{motion:?}");
}

#[test]
fn reverse_drives_backwards_and_the_brake_stops_without_turning_round() {
    let (mut vehicle, mut motion) = parked();
    vehicle.control = VehicleControl {
        throttle: 0.6,
        reverse: true,
        ..VehicleControl::default()
    };
    drive(&mut vehicle, &mut motion, 3.0);
    assert!(speed(&motion) < -3.0 && vehicle.gear() == -1, "{motion:?}");
    vehicle.control = VehicleControl {
        brake: 1.0,
        ..VehicleControl::default()
    };
    drive(&mut vehicle, &mut motion, 3.0);
    assert_eq!((motion.vx, motion.vy), (0.0, 0.0));
}

#[test]
fn a_control_that_does_not_stick_acts_for_one_step() {
    let (mut vehicle, mut motion) = parked();
    vehicle.is_sticky = false;
    vehicle.control.throttle = 1.0;
    drive(&mut vehicle, &mut motion, 0.1);
    assert_eq!(vehicle.control, VehicleControl::default());
    assert!(speed(&motion) > 0.0);
}
