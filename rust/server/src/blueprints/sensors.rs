//! Sensors. Those that need a picture or rays exist, with their attributes, and stay silent; lidars and radars
//! have no `sensor_tick`, so that scripts which wait for every sensor that has one don't wait for them.

use carla_online_world::stage::sensor::{Noise, Sensor, SensorKind};

use super::AttributeKind::{Boolean, Float, Integer};
use super::{Attribute, Blueprint, Product, number};
use crate::wire::layout::Description;

const CAMERAS: &[&str] = &[
    "rgb",
    "depth",
    "normals",
    "semantic_segmentation",
    "instance_segmentation",
    "optical_flow",
    "dvs",
    "cosmos_visualization",
];
const LENS: &[(&str, &str)] = &[
    ("lens_circle_falloff", "5.0"),
    ("lens_circle_multiplier", "0.0"),
    ("lens_k", "-1.0"),
    ("lens_kcube", "0.0"),
    ("lens_x_size", "0.08"),
    ("lens_y_size", "0.08"),
];
const RGB: &[(&str, &str)] = &[
    ("gamma", "2.2"),
    ("fstop", "1.4"),
    ("iso", "100.0"),
    ("shutter_speed", "200.0"),
    ("focal_distance", "1000.0"),
    ("motion_blur_intensity", "0.45"),
    ("lens_flare_intensity", "0.1"),
    ("bloom_intensity", "0.675"),
    ("chromatic_aberration_intensity", "0.0"),
    ("exposure_compensation", "0.0"),
    ("temp", "6500.0"),
    ("tint", "0.0"),
];
const LIDAR: &[(&str, &str)] = &[
    ("range", "10.0"),
    ("rotation_frequency", "10.0"),
    ("upper_fov", "10.0"),
    ("lower_fov", "-30.0"),
    ("horizontal_fov", "360.0"),
];
const LIDAR_LOSS: &[(&str, &str)] = &[
    ("atmosphere_attenuation_rate", "0.004"),
    ("dropoff_general_rate", "0.45"),
    ("dropoff_intensity_limit", "0.8"),
    ("dropoff_zero_intensity", "0.4"),
    ("noise_stddev", "0.0"),
];
const RADAR: &[(&str, &str)] = &[
    ("horizontal_fov", "30.0"),
    ("vertical_fov", "30.0"),
    ("range", "100.0"),
];

fn tick() -> Attribute {
    Attribute::new("sensor_tick", Float, "0.0")
}

fn floats(values: &'static [(&'static str, &'static str)]) -> impl Iterator<Item = Attribute> {
    values
        .iter()
        .map(|&(id, value)| Attribute::new(id, Float, value))
}

fn blueprint(id: &str, attributes: impl IntoIterator<Item = Attribute>) -> Blueprint {
    Blueprint::new(
        id,
        Product::Sensor,
        [Attribute::role()].into_iter().chain(attributes).collect(),
    )
}

fn camera(name: &str) -> Blueprint {
    let size = |id, value| Attribute::new(id, Integer, value);
    let mut attributes = vec![
        tick(),
        size("image_size_x", "800"),
        size("image_size_y", "600"),
        Attribute::new("fov", Float, "90.0"),
    ];
    attributes.extend(floats(LENS));
    if name == "rgb" {
        attributes.extend(floats(RGB));
        attributes.push(Attribute::new(
            "enable_postprocess_effects",
            Boolean,
            "true",
        ));
    }
    blueprint(&format!("sensor.camera.{name}"), attributes)
}

pub(super) fn blueprints() -> Vec<Blueprint> {
    let integer = |id, value| Attribute::new(id, Integer, value);
    let lidar = || {
        [
            integer("channels", "32"),
            integer("points_per_second", "56000"),
        ]
        .into_iter()
        .chain(floats(LIDAR))
    };
    let others = [
        blueprint("sensor.other.collision", []),
        blueprint("sensor.other.lane_invasion", []),
        blueprint(
            "sensor.other.obstacle",
            [
                tick(),
                Attribute::new("only_dynamics", Boolean, "false"),
                Attribute::new("debug_linetrace", Boolean, "false"),
            ]
            .into_iter()
            .chain(floats(&[("distance", "5.0"), ("hit_radius", "0.5")])),
        ),
        blueprint(
            "sensor.other.gnss",
            [tick(), integer("noise_seed", "0")]
                .into_iter()
                .chain(floats(GNSS_NOISE)),
        ),
        blueprint(
            "sensor.other.imu",
            [tick(), integer("noise_seed", "0")]
                .into_iter()
                .chain(floats(IMU_NOISE)),
        ),
        blueprint(
            "sensor.other.radar",
            [integer("points_per_second", "1500")]
                .into_iter()
                .chain(floats(RADAR)),
        ),
        blueprint(
            "sensor.lidar.ray_cast",
            lidar()
                .chain(floats(LIDAR_LOSS))
                .chain([integer("noise_seed", "0")]),
        ),
        blueprint("sensor.lidar.ray_cast_semantic", lidar()),
    ];
    CAMERAS
        .iter()
        .map(|name| camera(name))
        .chain(others)
        .collect()
}

const GNSS_NOISE: &[(&str, &str)] = &[
    ("noise_alt_bias", "0.0"),
    ("noise_alt_stddev", "0.0"),
    ("noise_lat_bias", "0.0"),
    ("noise_lat_stddev", "0.0"),
    ("noise_lon_bias", "0.0"),
    ("noise_lon_stddev", "0.0"),
];
const IMU_NOISE: &[(&str, &str)] = &[
    ("noise_accel_stddev_x", "0.0"),
    ("noise_accel_stddev_y", "0.0"),
    ("noise_accel_stddev_z", "0.0"),
    ("noise_gyro_bias_x", "0.0"),
    ("noise_gyro_bias_y", "0.0"),
    ("noise_gyro_bias_z", "0.0"),
    ("noise_gyro_stddev_x", "0.0"),
    ("noise_gyro_stddev_y", "0.0"),
    ("noise_gyro_stddev_z", "0.0"),
];

/// The noise of one value: `noise_VALUE_stddev` and `noise_VALUE_bias`, followed by the axis.
fn noise(description: &Description, value: &str, axis: &str) -> Noise {
    let read = |what: &str| {
        let id = format!("noise_{value}_{what}{axis}");
        f64::from(number(description, &id, 0.0))
    };
    Noise {
        bias: read("bias"),
        deviation: read("stddev").max(0.0),
    }
}

/// The sensor that a description asks for.
pub(super) fn sensor(description: &Description) -> Sensor {
    let kind = match description.id.as_str() {
        "sensor.other.collision" => SensorKind::Collision,
        "sensor.other.gnss" => {
            SensorKind::Gnss(["lat", "lon", "alt"].map(|value| noise(description, value, "")))
        }
        "sensor.other.imu" => SensorKind::Imu(
            ["accel", "gyro"]
                .map(|what| ["_x", "_y", "_z"].map(|axis| noise(description, what, axis))),
        ),
        "sensor.other.obstacle" => SensorKind::Obstacle {
            distance_m: number(description, "distance", 5.0).max(0.0),
            hit_radius_m: number(description, "hit_radius", 0.5).max(0.0),
            only_dynamics: matches!(
                description.attribute("only_dynamics"),
                Some("true" | "True")
            ),
        },
        _ => SensorKind::Silent,
    };
    Sensor::new(
        kind,
        f64::from(number(description, "sensor_tick", 0.0).max(0.0)),
        number(description, "noise_seed", 0.0) as u64,
    )
}
