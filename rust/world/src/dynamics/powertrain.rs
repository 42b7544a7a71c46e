//! The Lincoln MKZ 2017 as CARLA 0.9 drives it, from the physics control that its recorder writes.
//!
//! Forward: engine torque over the gearbox, engine damping (2.0 without throttle down to 0.05 with
//! full throttle, which is what CARLA calls engine braking), drag, and a brake taken from data. What
//! resists acceleration is the mass plus the engine's inertia reflected through the gears, without
//! which first gear would pull twice as hard as it does. Two lags (throttle 0.2 s, brake 0.1 s) and a
//! shift time of 0.3 s were set by hand on two recordings.
//!
//! Sideways: the yaw rate follows, with a lag of 0.12 s, the one that steering angle and speed ask
//! for; the fit of the same recordings gives the gain and the understeer.
//!
//! Tyres: the vector of both accelerations is scaled back onto the friction circle.

use super::{CarState, Command, FULL_LOCK_RAD, Handling, WHEELBASE_M, interpolate, steering_share};

/// Mass, kg.
pub const MASS_KG: f32 = 1696.0;
/// Forward gears.
pub const GEARS: u8 = 6;
const GEAR_RATIOS: [f32; GEARS as usize] = [4.58, 2.96, 1.91, 1.45, 1.00, 0.75];
const FINAL_RATIO: f32 = 3.21;
const MAX_RPM: f32 = 6500.0;
/// Share of the largest engine speed at which each gear is left upwards.
const SHIFT_UP: [f32; GEARS as usize] = [0.54, 0.50, 0.46, 0.46, 0.46, 10.0];
const SHIFT_DOWN: f32 = 0.23;
const SHIFT_S: f32 = 0.3;
/// Engine speed against torque, rpm and Nm.
const TORQUE: [(f32, f32); 7] = [
    (1000.0, 347.0),
    (1500.0, 523.0),
    (2000.0, 606.0),
    (3000.0, 695.0),
    (4000.0, 677.0),
    (5300.0, 607.0),
    (6500.0, 466.0),
];
const ENGINE_INERTIA: f32 = 1.0;
const DAMPING_FULL: f32 = 0.05;
const DAMPING_IDLE: f32 = 2.0;
const DAMPING_SHIFTING: f32 = 0.35;
const WHEEL_RADIUS_M: f32 = 0.355;
/// Half of air density, drag coefficient 0.30 and the chassis' 2.13 m x 1.51 m.
const DRAG_N_PER_MPS2: f32 = 0.5 * 1.225 * 0.30 * 2.13 * 1.51;
/// Full brake on a dry road, m/s2. CARLA's brake torque alone would give half of it; recordings don't.
pub const FULL_BRAKE_MPS2: f32 = 11.0;
/// Radius of the friction circle on a dry road, m/s2.
pub const GRIP_MPS2: f32 = 11.0;
const STEER_GAIN: f32 = 1.09;
const UNDERSTEER_S2PM2: f32 = 9.4e-4;
/// Below this, without throttle, the car stands.
const STANDSTILL_MPS: f32 = 0.02;
const RPM_PER_RADPS: f32 = 9.549_297;

/// How much of the way to its target each lagged quantity goes in one substep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lags {
    throttle: f32,
    brake: f32,
    yaw_rate: f32,
}

impl Lags {
    pub(super) fn new(dt_s: f32, throttle_lag_s: f32) -> Self {
        let share = |lag_s: f32| 1.0 - libm::expf(-dt_s / lag_s);
        Self {
            throttle: share(throttle_lag_s),
            brake: share(0.1),
            yaw_rate: share(0.12),
        }
    }
}

fn total_ratio(gear: u8) -> f32 {
    GEAR_RATIOS[usize::from(gear.clamp(1, GEARS)) - 1] * FINAL_RATIO
}

fn engine_rpm(gear: u8, speed_mps: f32) -> f32 {
    speed_mps / WHEEL_RADIUS_M * total_ratio(gear) * RPM_PER_RADPS
}

/// The gear in which the automatic box drives steadily at this speed.
pub(super) fn gear_for(speed_mps: f32) -> u8 {
    (1..=GEARS)
        .find(|&gear| engine_rpm(gear, speed_mps) < SHIFT_UP[usize::from(gear) - 1] * MAX_RPM)
        .unwrap_or(GEARS)
}

/// Throttle lag set by hand on two recordings, seconds.
pub const THROTTLE_LAG_S: f32 = 0.2;

/// One substep of everything but the position.
pub(super) fn advance(
    car: &mut CarState,
    command: Command,
    friction: f32,
    dt_s: f32,
    handling: &Handling,
) {
    let lags = &handling.lags;
    car.throttle += (command.throttle - car.throttle) * lags.throttle;
    car.brake += (command.brake - car.brake) * lags.brake;
    change_gear(car, dt_s);

    let driven = drive_acceleration(car);
    let braked = handling.full_brake_mps2 * car.brake;
    let yaw_rate_wanted = wanted_yaw_rate(car.speed_mps, command.steer * handling.steer_gain);
    let (forward, sideways) = (driven - braked, car.speed_mps * yaw_rate_wanted);
    let asked = (forward * forward + sideways * sideways).sqrt();
    // A brake beyond the usual needs tyres that carry it.
    let grip = handling.grip_mps2.max(handling.full_brake_mps2) * friction;
    let share = if asked > grip { grip / asked } else { 1.0 };

    car.speed_mps = (car.speed_mps + forward * share * dt_s).max(0.0);
    if car.speed_mps < STANDSTILL_MPS && command.throttle == 0.0 {
        car.speed_mps = 0.0;
    }
    if car.speed_mps == 0.0 {
        car.yaw_rate_radps = 0.0;
    } else {
        car.yaw_rate_radps += (yaw_rate_wanted * share - car.yaw_rate_radps) * lags.yaw_rate;
    }
}

fn change_gear(car: &mut CarState, dt_s: f32) {
    if car.shift_left_s > 0.0 {
        car.shift_left_s = (car.shift_left_s - dt_s).max(0.0);
        return;
    }
    let share = engine_rpm(car.gear, car.speed_mps) / MAX_RPM;
    if car.gear < GEARS && share > SHIFT_UP[usize::from(car.gear) - 1] {
        car.gear += 1;
        car.shift_left_s = SHIFT_S;
    } else if car.gear > 1 && share < SHIFT_DOWN {
        car.gear -= 1;
        car.shift_left_s = SHIFT_S;
    }
}

/// Acceleration by engine, engine braking and drag, m/s2.
fn drive_acceleration(car: &CarState) -> f32 {
    let ratio = total_ratio(car.gear);
    let drag = DRAG_N_PER_MPS2 * car.speed_mps * car.speed_mps;
    let geared = ratio * ratio / (WHEEL_RADIUS_M * WHEEL_RADIUS_M);
    if car.shift_left_s > 0.0 {
        let damping = DAMPING_SHIFTING * geared * car.speed_mps;
        return -(damping + drag) / (MASS_KG + ENGINE_INERTIA * geared);
    }
    // The clutch slips below the lowest speed of the torque curve, where `interpolate` is constant;
    // beyond the largest speed the limiter cuts.
    let rpm = engine_rpm(car.gear, car.speed_mps);
    let torque = if rpm > MAX_RPM {
        0.0
    } else {
        car.throttle * interpolate(&TORQUE, rpm)
    };
    let damping = DAMPING_IDLE + (DAMPING_FULL - DAMPING_IDLE) * car.throttle;
    let force = torque * ratio / WHEEL_RADIUS_M - damping * geared * car.speed_mps - drag;
    force / (MASS_KG + ENGINE_INERTIA * geared)
}

fn wanted_yaw_rate(speed_mps: f32, steer: f32) -> f32 {
    let wheel_rad = STEER_GAIN * FULL_LOCK_RAD * steer * steering_share(speed_mps);
    speed_mps * wheel_rad / (WHEELBASE_M * (1.0 + UNDERSTEER_S2PM2 * speed_mps * speed_mps))
}

/// Curvature that full lock gives in steady motion at this speed, 1/m.
pub fn curvature_per_steer(speed_mps: f32) -> f32 {
    STEER_GAIN * FULL_LOCK_RAD * steering_share(speed_mps)
        / (WHEELBASE_M * (1.0 + UNDERSTEER_S2PM2 * speed_mps * speed_mps))
}
