use super::*;
use proptest::prelude::*;

const STEP_S: f32 = 0.05;

fn drive(car: &mut CarState, command: Command, seconds: f32) {
    let model = Model::new(Dynamics::Powertrain, STEP_S, &Traits::default());
    for _ in 0..(seconds / STEP_S).round() as u32 {
        model.advance(car, command, 1.0);
    }
}

fn forward(throttle: f32, brake: f32) -> Command {
    Command {
        steer: 0.0,
        throttle,
        brake,
    }
}

/// Deceleration over speed when coasting in one gear, 1/s: 1.01, 0.59, 0.30 by the physics control
/// (recordings: 0.945, 0.501, 0.252).
#[test]
fn coasting_slows_down_as_the_physics_control_says() {
    for (speed, expected) in [(4.0, 1.01), (10.0, 0.59), (14.0, 0.30)] {
        let mut car = CarState::moving(0.0, 0.0, 0.0, speed);
        drive(&mut car, forward(0.0, 0.0), 0.1);
        let rate = (speed - car.speed_mps) / 0.1 / (0.5 * (speed + car.speed_mps));
        assert!(
            (rate / expected - 1.0).abs() < 0.05,
            "at {speed} m/s: {rate} against {expected}"
        );
    }
}

/// Full throttle, m/s2: 6.6 at 4 m/s in gear 1, 7.1 at 9.4 in gear 2, 5.4 at 13 in gear 3.
#[test]
fn full_throttle_pulls_as_the_physics_control_says() {
    for (speed, gear, expected) in [(4.0, 1, 6.6), (9.4, 2, 7.1), (13.0, 3, 5.4)] {
        let mut car = CarState::moving(0.0, 0.0, 0.0, speed);
        assert_eq!(car.gear, gear);
        car.throttle = 1.0;
        drive(&mut car, forward(1.0, 0.0), STEP_S);
        assert!(
            (car.acceleration_mps2 / expected - 1.0).abs() < 0.08,
            "{car:?} against {expected}"
        );
    }
}

#[test]
fn a_full_brake_stops_at_eleven_metres_per_second_squared_and_holds() {
    let mut car = CarState::moving(0.0, 0.0, 0.0, 15.0);
    car.brake = 1.0;
    drive(&mut car, forward(0.0, 1.0), STEP_S);
    assert!((car.acceleration_mps2 + 11.0).abs() < 0.1, "{car:?}");
    drive(&mut car, forward(0.0, 1.0), 3.0);
    let stopped = car;
    assert_eq!(stopped.speed_mps, 0.0);
    drive(
        &mut car,
        Command {
            steer: 1.0,
            ..forward(0.0, 0.0)
        },
        10.0,
    );
    assert_eq!(
        (car.x, car.y, car.yaw_rad),
        (stopped.x, stopped.y, stopped.yaw_rad)
    );
}

#[test]
fn the_car_starts_within_the_measured_launch_lag_and_shifts_up() {
    let mut car = CarState::moving(0.0, 0.0, 0.0, 0.0);
    drive(&mut car, forward(1.0, 0.0), 0.5);
    assert!(car.speed_mps > 0.3, "{car:?}");
    drive(&mut car, forward(1.0, 0.0), 5.0);
    assert!(car.speed_mps > 15.0 && car.gear >= 3, "{car:?}");
}

#[test]
fn positive_steer_turns_right_and_lags_by_an_eighth_of_a_second() {
    let model = Model::new(Dynamics::Powertrain, STEP_S, &Traits::default());
    let mut car = CarState::moving(0.0, 0.0, 0.0, 8.0);
    let command = Command {
        steer: 0.1,
        throttle: 0.0,
        brake: 0.0,
    };
    let mut rates = Vec::new();
    for _ in 0..40 {
        car.speed_mps = 8.0;
        model.advance(&mut car, command, 1.0);
        rates.push(car.yaw_rate_radps);
    }
    assert!(car.y > 0.0 && car.yaw_rad > 0.0);
    let share = rates[1] / rates[39];
    let expected = 1.0 - libm::expf(-0.1 / 0.12);
    assert!(
        (share - expected).abs() < 0.03,
        "{share} against {expected}"
    );
}

#[test]
fn a_circle_closes() {
    let model = Model::new(Dynamics::Kinematic, STEP_S, &Traits::default());
    let mut car = CarState::moving(0.0, 0.0, 0.0, 6.0);
    let command = Command {
        steer: 0.4,
        throttle: 0.0,
        brake: 0.0,
    };
    model.advance(&mut car, command, 1.0);
    let start = car;
    let mut turned = 0.0;
    while turned < std::f32::consts::TAU {
        model.advance(&mut car, command, 1.0);
        turned += car.yaw_rate_radps * STEP_S;
    }
    assert!(
        (car.x - start.x).hypot(car.y - start.y) < 0.4,
        "{start:?} {car:?}"
    );
}

proptest! {
    #[test]
    fn no_command_breaks_the_state_or_the_friction_circle(
        speed in 0.0_f32..40.0,
        commands in prop::collection::vec((-1.0_f32..=1.0, -1.0_f32..=1.0), 1..60),
        friction in 0.2_f32..1.0,
        is_kinematic: bool,
    ) {
        let kind = if is_kinematic { Dynamics::Kinematic } else { Dynamics::Powertrain };
        let model = Model::new(kind, STEP_S, &Traits::default());
        let mut car = CarState::moving(10.0, -3.0, 1.0, speed);
        for (steer, pedal) in commands {
            model.advance(&mut car, Command::from_action([steer, pedal]), friction);
            prop_assert!([car.x, car.y, car.yaw_rad, car.yaw_rate_radps].iter().all(|v| v.is_finite()));
            prop_assert!((0.0..80.0).contains(&car.speed_mps));
            prop_assert!((1..=GEARS).contains(&car.gear));
            if !is_kinematic {
                // Speed falls while the yaw rate still lags, hence a little more than the circle.
                prop_assert!(car.lateral_acceleration_mps2().abs() < 11.0 * friction * 1.25 + 0.1);
                // The last 0.02 m/s vanish at once when the car comes to rest.
                prop_assert!(car.acceleration_mps2.abs() <= 11.0 * friction + 0.02 / STEP_S + 1e-2);
            }
        }
    }
}
