//! Sensors that need no picture: what they measure, and when.

use crate::stage::contact::{Contact, Other};
use crate::stage::pose::Vector;

/// What a sensor measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SensorKind {
    /// Contacts of the actor that it is fixed to.
    Collision,
    /// The nearest thing ahead.
    Obstacle {
        /// How far it looks, metres.
        distance_m: f32,
        /// How wide, metres.
        hit_radius_m: f32,
        /// Whether the map's solids and props are left out.
        only_dynamics: bool,
    },
    /// Latitude, longitude, altitude.
    Gnss,
    /// Acceleration, turn rate, compass.
    Imu,
    /// Exists and stays silent: cameras, lidars, radars; and the lane invasion sensor, whose events the
    /// client computes.
    Silent,
}

/// A sensor and its clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sensor {
    /// What it measures.
    pub kind: SensorKind,
    /// Time between two measurements, seconds; 0 for every step.
    pub period_s: f64,
    /// Whether somebody listens; the clock starts with the first listener.
    pub is_heard: bool,
    since_s: Option<f64>,
}

impl Sensor {
    /// A sensor that nobody listens to yet.
    pub fn new(kind: SensorKind, period_s: f64) -> Self {
        Self {
            kind,
            period_s,
            is_heard: false,
            since_s: None,
        }
    }

    /// Somebody listens, or nobody does any more. The next measurement of a new listener is due at once.
    pub fn set_heard(&mut self, is_heard: bool) {
        if is_heard && !self.is_heard {
            self.since_s = None;
        }
        self.is_heard = is_heard;
    }

    /// Moves the clock; whether a measurement is due.
    pub fn is_due(&mut self, dt_s: f64) -> bool {
        let since_s = self.since_s.map(|since_s| since_s + dt_s);
        // Sums of a step's length fall short of a round period by rounding only.
        let is_due = since_s.is_none_or(|since_s| since_s + 1e-6 >= self.period_s);
        self.since_s = if is_due { Some(0.0) } else { since_s };
        is_due
    }
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// A contact of this step.
    Collision(Contact),
    /// Something ahead.
    Obstacle {
        /// The actor that carries the sensor.
        carrier: u32,
        /// What is there.
        other: Other,
        /// How far, metres.
        distance_m: f32,
    },
    /// Degrees, degrees, metres.
    Gnss(GeoLocation),
    /// In the sensor's frame.
    Imu {
        /// m/s2, gravity included.
        accelerometer: Vector,
        /// rad/s.
        gyroscope: Vector,
        /// Radians clockwise from north, in [0, 2 pi).
        compass_rad: f32,
    },
}

/// A place on the earth.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GeoLocation {
    /// Degrees, north.
    pub latitude_deg: f64,
    /// Degrees, east.
    pub longitude_deg: f64,
    /// Metres.
    pub altitude_m: f64,
}

const EARTH_RADIUS_M: f64 = 6_378_137.0;

impl GeoLocation {
    /// The origin of a map: `lat_0` and `lon_0` of its geographic reference; zeros without one.
    pub fn of_map(xodr: &str) -> Self {
        let reference = xodr
            .split_once("<geoReference>")
            .and_then(|(_, rest)| rest.split_once("</geoReference>"))
            .map_or("", |(reference, _)| reference);
        let read = |name: &str| {
            let (_, rest) = reference.split_once(name)?;
            let end = rest
                .find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c)))
                .unwrap_or(rest.len());
            rest[..end]
                .parse::<f64>()
                .ok()
                .filter(|value| value.is_finite())
        };
        Self {
            latitude_deg: read("+lat_0=").unwrap_or(0.0).clamp(-89.0, 89.0),
            longitude_deg: read("+lon_0=").unwrap_or(0.0),
            altitude_m: 0.0,
        }
    }

    /// The place at a location of the map: metres east and south on a Mercator plane scaled at the origin,
    /// as CARLA's GNSS sensor has it.
    #[must_use]
    pub fn at(&self, [x, y, z]: Vector) -> Self {
        use std::f64::consts::PI;
        let scale = libm::cos(self.latitude_deg.to_radians());
        let east_m = scale * EARTH_RADIUS_M * self.longitude_deg.to_radians() + f64::from(x);
        let north_m =
            scale * EARTH_RADIUS_M * libm::log(libm::tan((90.0 + self.latitude_deg) * PI / 360.0))
                - f64::from(y);
        Self {
            latitude_deg: 360.0 * libm::atan(libm::exp(north_m / (EARTH_RADIUS_M * scale))) / PI
                - 90.0,
            longitude_deg: east_m * 180.0 / (PI * EARTH_RADIUS_M * scale),
            altitude_m: self.altitude_m + f64::from(z),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_of_twenty_steps_measures_first_at_once_and_then_every_twentieth() {
        let mut sensor = Sensor::new(SensorKind::Gnss, 1.0);
        sensor.set_heard(true);
        let due: Vec<u32> = (1..=50)
            .filter(|_| sensor.is_due(f64::from(0.05_f32)))
            .collect();
        assert_eq!(due, [1, 21, 41]);
    }

    #[test]
    fn a_metre_to_the_north_is_a_metre_on_the_meridian() {
        let map = "<header><geoReference><![CDATA[+proj=tmerc +lat_0=49.5 +lon_0=8.25 +k=1]]></geoReference></header>";
        let origin = GeoLocation::of_map(map);
        assert_eq!((origin.latitude_deg, origin.longitude_deg), (49.5, 8.25));
        let north = origin.at([0.0, -1000.0, 2.0]);
        let metres = (north.latitude_deg - 49.5).to_radians() * EARTH_RADIUS_M;
        assert!((metres - 1000.0).abs() < 0.5, "{metres}");
        assert!((north.longitude_deg - 8.25).abs() < 1e-12 && north.altitude_m == 2.0);
    }
}
