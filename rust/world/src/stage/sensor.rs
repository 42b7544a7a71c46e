//! Sensors that need no picture: what they measure, and when.

use crate::rng::{Purpose, Stream};
use crate::stage::contact::{Contact, Other};
use crate::stage::pose::Vector;

/// The error of one measured value: a bias, and a normal distribution around it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Noise {
    /// Mean of the error.
    pub bias: f64,
    /// Standard deviation.
    pub deviation: f64,
}

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
    /// Latitude, longitude, altitude, with their errors in degrees and metres.
    Gnss([Noise; 3]),
    /// Acceleration, turn rate, compass, with the errors of the first two in m/s2 and rad/s.
    Imu([[Noise; 3]; 2]),
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
    seed: u64,
    draws: u64,
}

impl Sensor {
    /// A sensor that nobody listens to yet.
    pub fn new(kind: SensorKind, period_s: f64, seed: u64) -> Self {
        Self {
            kind,
            period_s,
            is_heard: false,
            since_s: None,
            seed,
            draws: 0,
        }
    }

    /// Somebody listens, or nobody does any more. The next measurement of a new listener is due at once.
    pub fn set_heard(&mut self, is_heard: bool) {
        if is_heard && !self.is_heard {
            self.since_s = None;
        }
        self.is_heard = is_heard;
    }

    /// Errors of the next measurement. The same seed gives the same errors, measurement by measurement.
    pub fn shake(&mut self, noise: &[Noise; 3]) -> [f64; 3] {
        noise.map(|noise| {
            if noise.deviation == 0.0 {
                return noise.bias;
            }
            let mut stream = Stream::new(self.seed, Purpose::Sensor, 0, self.draws);
            let error = noise.bias + noise.deviation * normal(&mut stream);
            self.draws = stream.counter();
            error
        })
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

/// Standard normal. Source: Box and Muller, Annals of Mathematical Statistics 29, 1958.
fn normal(stream: &mut Stream) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - stream.unit()));
    radius * libm::cos(std::f64::consts::TAU * stream.unit())
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
/// Scale of the map's plane along the meridian of its origin.
const SCALE_ON_MERIDIAN: f64 = 0.9996;

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

    /// The place at a location of the map, as the 0.9.16 client's own `Map.transform_to_geolocation` has it: a
    /// transverse Mercator plane of the sphere around the map's origin, with the scale of UTM. CARLA's `y` counts as
    /// north there although it points to the right of `x`; the real sensor calls the same function of its library.
    ///
    /// Source: Snyder, Map Projections: A Working Manual, equations 8-6 to 8-8.
    #[must_use]
    pub fn at(&self, [x, y, z]: Vector) -> Self {
        let plane_m = SCALE_ON_MERIDIAN * EARTH_RADIUS_M;
        let across = f64::from(x) / plane_m;
        let along = f64::from(y) / plane_m + self.latitude_deg.to_radians();
        let latitude = libm::asin(libm::sin(along) / libm::cosh(across));
        let longitude = libm::atan2(libm::sinh(across), libm::cos(along));
        Self {
            latitude_deg: latitude.to_degrees(),
            longitude_deg: self.longitude_deg + longitude.to_degrees(),
            altitude_m: self.altitude_m + f64::from(z),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_of_twenty_steps_measures_first_at_once_and_then_every_twentieth() {
        let mut sensor = Sensor::new(SensorKind::Gnss(Default::default()), 1.0, 0);
        sensor.set_heard(true);
        let due: Vec<u32> = (1..=50)
            .filter(|_| sensor.is_due(f64::from(0.05_f32)))
            .collect();
        assert_eq!(due, [1, 21, 41]);
    }

    #[test]
    fn noise_has_its_bias_and_its_deviation_and_repeats_with_its_seed() {
        let noise = Noise {
            bias: 2.0,
            deviation: 0.5,
        };
        let draw = |seed| {
            let mut sensor = Sensor::new(SensorKind::Silent, 0.0, seed);
            (0..3000)
                .flat_map(|_| sensor.shake(&[noise; 3]))
                .collect::<Vec<f64>>()
        };
        let drawn = draw(1);
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let squared = drawn.iter().map(|value| (value - mean).powi(2));
        let deviation = (squared.sum::<f64>() / drawn.len() as f64).sqrt();
        assert!((mean - 2.0).abs() < 0.02 && (deviation - 0.5).abs() < 0.02);
        assert!(draw(1) == drawn && draw(2) != drawn);
        let exact = Sensor::new(SensorKind::Silent, 0.0, 1).shake(&[Noise::default(); 3]);
        assert_eq!(exact, [0.0; 3]);
    }

    /// What `carla.Map.transform_to_geolocation` of the 0.9.16 wheel answered.
    #[test]
    fn a_place_is_where_the_client_says_it_is() {
        let map = "<header><geoReference><![CDATA[+proj=tmerc +lat_0=49.5 +lon_0=8.25 +k=1]]></geoReference></header>";
        let origin = GeoLocation::of_map(map);
        assert_eq!((origin.latitude_deg, origin.longitude_deg), (49.5, 8.25));
        for (location, latitude_deg, longitude_deg) in [
            (
                [120.0, -35.0, 2.0],
                49.499_685_451_953_496,
                8.251_660_491_206_081,
            ),
            (
                [3000.0, 5000.0, 1.0],
                49.544_926_299_194_48,
                8.291_550_707_078_192,
            ),
            ([0.0, -1000.0, 0.0], 49.491_013_252_459_8, 8.25),
        ] {
            let place = origin.at(location);
            assert!(
                (place.latitude_deg - latitude_deg).abs() < 1e-12,
                "{place:?}"
            );
            assert!(
                (place.longitude_deg - longitude_deg).abs() < 1e-12,
                "{place:?}"
            );
            assert_eq!(place.altitude_m, f64::from(location[2]));
        }
    }
}
