//! The numbers that a vehicle's motion follows, as CARLA's physics control lists them.

use crate::stage::pose::Vector;

/// Members that a curve, the gearbox or the wheels may have.
pub const MAX_TABLE: usize = 64;

/// One forward gear.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gear {
    /// Engine turns for one turn behind the gearbox.
    pub ratio: f32,
    /// Share of the largest engine speed below which the gear is left downwards.
    pub down_ratio: f32,
    /// Share above which it is left upwards.
    pub up_ratio: f32,
}

/// One wheel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wheel {
    /// Grip; 3.5 is CARLA's dry road.
    pub tire_friction: f32,
    /// kg m2/s.
    pub damping_rate: f32,
    /// Full lock, degrees; 0 for a wheel that doesn't steer.
    pub max_steer_angle_deg: f32,
    /// Metres (the wire says centimetres).
    pub radius_m: f32,
    /// Nm.
    pub max_brake_torque: f32,
    /// Nm.
    pub max_handbrake_torque: f32,
    /// Kept and given back; this model's grip is a friction circle.
    pub lateral_stiffness_max_load: f32,
    /// Kept and given back.
    pub lateral_stiffness: f32,
    /// Kept and given back.
    pub longitudinal_stiffness: f32,
    /// In the vehicle's frame, metres.
    pub position_m: Vector,
}

/// CARLA's `VehiclePhysicsControl`.
#[derive(Debug, Clone, PartialEq)]
pub struct VehiclePhysics {
    /// Engine speed (rpm) against torque (Nm).
    pub torque_curve: Vec<[f32; 2]>,
    /// Engine speed at which the limiter cuts.
    pub max_rpm: f32,
    /// Inertia of the engine, kg m2.
    pub moment_of_inertia: f32,
    /// Engine damping with full throttle, kg m2/s.
    pub damping_full_throttle: f32,
    /// Without throttle, clutch engaged.
    pub damping_zero_engaged: f32,
    /// Without throttle, clutch open.
    pub damping_zero_disengaged: f32,
    /// Whether the gearbox shifts by itself.
    pub use_gear_autobox: bool,
    /// CARLA's value; the model's own shift time follows recordings.
    pub gear_switch_time_s: f32,
    /// Kept and given back.
    pub clutch_strength: f32,
    /// Turns of the gearbox for one turn of the wheels.
    pub final_ratio: f32,
    /// Forward gears.
    pub gears: Vec<Gear>,
    /// Mass, kg.
    pub mass_kg: f32,
    /// Drag coefficient.
    pub drag_coefficient: f32,
    /// Kept and given back, metres.
    pub center_of_mass: Vector,
    /// Speed (km/h) against the share of the full lock.
    pub steering_curve: Vec<[f32; 2]>,
    /// Wheels: front left, front right, rear left, rear right.
    pub wheels: Vec<Wheel>,
    /// Kept and given back.
    pub use_sweep_wheel_collision: bool,
}

/// What the motion needs of [`VehiclePhysics`], digested once for many steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Drive {
    pub mass_kg: f32,
    /// Grip relative to CARLA's dry road.
    pub grip: f32,
    pub brake_mps2: f32,
    pub hand_brake_mps2: f32,
    pub full_lock_rad: f32,
    pub wheelbase_m: f32,
    pub wheel_radius_m: f32,
    pub drag_n_per_mps2: f32,
    /// Damping of all wheels, N per m/s.
    pub rolling_n_per_mps: f32,
}

/// Full braking was 11 m/s2 in recordings of a car whose brake torque alone explains 5.31: torque of all brakes (Nm),
/// radius of the wheels (m) times mass (kg).
const RECORDED_BRAKE_MPS2: f32 = 11.0;
const RECORDED_TORQUE: f32 = 4.0 * 800.0;
const RECORDED_RADIUS_M_KG: f32 = 0.355 * 1696.0;
const DRY_FRICTION: f32 = 3.5;

impl Drive {
    /// `width_m` and `height_m` give the cross-section that the air meets.
    pub fn new(physics: &VehiclePhysics, [width_m, height_m]: [f32; 2]) -> Self {
        let wheels = &physics.wheels;
        let count = wheels.len().max(1) as f32;
        let mean = |read: fn(&Wheel) -> f32| wheels.iter().map(read).sum::<f32>() / count;
        let most = |read: fn(&Wheel) -> f32| wheels.iter().map(read).fold(0.0_f32, f32::max);
        let mass_kg = physics.mass_kg.max(1.0);
        let wheel_radius_m = mean(|wheel| wheel.radius_m).max(0.05);
        // Shares first: they are exactly 1 for the recorded car.
        let light = RECORDED_RADIUS_M_KG / (wheel_radius_m * mass_kg);
        let braked = |torque: f32| RECORDED_BRAKE_MPS2 * (torque / RECORDED_TORQUE) * light;
        let along = |sign: f32| {
            wheels
                .iter()
                .map(|wheel| sign * wheel.position_m[0])
                .fold(0.0_f32, f32::max)
        };
        Self {
            mass_kg,
            grip: mean(|wheel| wheel.tire_friction).max(0.0) / DRY_FRICTION,
            brake_mps2: braked(
                wheels
                    .iter()
                    .map(|wheel| wheel.max_brake_torque.max(0.0))
                    .sum(),
            ),
            hand_brake_mps2: braked(
                wheels
                    .iter()
                    .map(|wheel| wheel.max_handbrake_torque.max(0.0))
                    .sum(),
            ),
            full_lock_rad: most(|wheel| wheel.max_steer_angle_deg)
                .to_radians()
                .min(1.5),
            wheelbase_m: (along(1.0) + along(-1.0)).max(0.3),
            wheel_radius_m,
            drag_n_per_mps2: 0.5 * 1.225 * physics.drag_coefficient.max(0.0) * width_m * height_m,
            rolling_n_per_mps: wheels
                .iter()
                .map(|wheel| wheel.damping_rate.max(0.0))
                .sum::<f32>()
                / (wheel_radius_m * wheel_radius_m),
        }
    }
}

/// Piecewise linear over ascending abscissae, constant beyond both ends; 0 for an empty table.
pub(super) fn interpolate(table: &[[f32; 2]], at: f32) -> f32 {
    let Some(&first) = table.first() else {
        return 0.0;
    };
    let mut last = first;
    if at <= last[0] {
        return last[1];
    }
    for &point in &table[1..] {
        if at < point[0] {
            return last[1] + (point[1] - last[1]) * (at - last[0]) / (point[0] - last[0]);
        }
        last = point;
    }
    last[1]
}

impl VehiclePhysics {
    /// The Lincoln MKZ 2017, from a recording of CARLA's that contains its physics control.
    pub fn mkz_2017() -> Self {
        let gear = |ratio, up_ratio| Gear {
            ratio,
            down_ratio: 0.23,
            up_ratio,
        };
        Self {
            torque_curve: vec![
                [1000.0, 347.0],
                [1500.0, 523.0],
                [2000.0, 606.0],
                [3000.0, 695.0],
                [4000.0, 677.0],
                [5300.0, 607.0],
                [6500.0, 466.0],
            ],
            max_rpm: 6500.0,
            moment_of_inertia: 1.0,
            damping_full_throttle: 0.05,
            damping_zero_engaged: 2.0,
            damping_zero_disengaged: 0.35,
            use_gear_autobox: true,
            gear_switch_time_s: 0.5,
            clutch_strength: 10.0,
            final_ratio: 3.21,
            gears: vec![
                gear(4.58, 0.54),
                gear(2.96, 0.50),
                gear(1.91, 0.46),
                gear(1.45, 0.46),
                gear(1.00, 0.46),
                gear(0.75, 0.46),
            ],
            mass_kg: 1696.0,
            drag_coefficient: 0.30,
            center_of_mass: [0.0, 0.0, -0.3],
            steering_curve: vec![[0.0, 1.0], [20.0, 0.9], [60.0, 0.8], [120.0, 0.7]],
            wheels: wheels(2.871, 1.570, 0.355, 800.0),
            use_sweep_wheel_collision: false,
        }
    }

    /// The Nissan Patrol, from the same source.
    pub fn patrol() -> Self {
        let gear = |ratio, up_ratio| Gear {
            ratio,
            down_ratio: 0.25,
            up_ratio,
        };
        Self {
            torque_curve: vec![
                [1000.0, 262.0],
                [1500.0, 531.0],
                [2500.0, 882.0],
                [3100.0, 975.0],
                [3800.0, 975.0],
                [4700.0, 898.0],
                [5500.0, 785.0],
                [6000.0, 633.0],
            ],
            max_rpm: 6000.0,
            damping_full_throttle: 0.15,
            final_ratio: 4.814,
            gears: vec![
                gear(5.08, 0.58),
                gear(2.80, 0.54),
                gear(1.78, 0.50),
                gear(1.26, 0.50),
                gear(1.00, 0.50),
                gear(0.83, 0.50),
            ],
            mass_kg: 2355.0,
            wheels: wheels(2.839, 1.630, 0.390, 1300.0),
            ..Self::mkz_2017()
        }
    }

    /// The MKZ's engine in a body of another size: what is served for vehicles whose numbers nobody has published.
    pub fn scaled(half_length_m: f32, half_width_m: f32, mass_kg: f32) -> Self {
        let base = Self::mkz_2017();
        let share = mass_kg / base.mass_kg;
        Self {
            torque_curve: base
                .torque_curve
                .iter()
                .map(|point| [point[0], point[1] * share])
                .collect(),
            moment_of_inertia: base.moment_of_inertia * share,
            damping_full_throttle: base.damping_full_throttle * share,
            damping_zero_engaged: base.damping_zero_engaged * share,
            damping_zero_disengaged: base.damping_zero_disengaged * share,
            mass_kg,
            wheels: wheels(
                1.17 * half_length_m,
                1.48 * half_width_m,
                0.355,
                800.0 * share,
            ),
            ..base
        }
    }
}

/// Four wheels; the rear ones carry the hand brake, with twice the torque.
fn wheels(wheelbase_m: f32, track_m: f32, radius_m: f32, max_brake_torque: f32) -> Vec<Wheel> {
    [(1.0, -1.0), (1.0, 1.0), (-1.0, -1.0), (-1.0, 1.0)]
        .into_iter()
        .map(|(front, right): (f32, f32)| Wheel {
            tire_friction: DRY_FRICTION,
            damping_rate: 0.25,
            max_steer_angle_deg: if front > 0.0 { 70.0 } else { 0.0 },
            radius_m,
            max_brake_torque,
            max_handbrake_torque: if front > 0.0 {
                0.0
            } else {
                2.0 * max_brake_torque
            },
            lateral_stiffness_max_load: 3.0,
            lateral_stiffness: 20.0,
            longitudinal_stiffness: 3000.0,
            position_m: [0.5 * front * wheelbase_m, 0.5 * right * track_m, radius_m],
        })
        .collect()
}
