//! What weather does, and what else is drawn for an episode.
//!
//! Weather is CARLA's: fourteen parameters, verbatim. Wetness and puddles act on the tyres; rain, fog and dust act on
//! what is observed: how far others are seen, and how exactly. The rest is for a renderer.

use crate::config::WorldConfig;
use crate::dynamics::Traits;
use crate::observe::{ActorPose, EgoPose, SIGHT_M, Weather};
use crate::rng::{Purpose, Stream};

pub use crate::config::{WEATHER_PARAMETERS, WeatherConfig};

/// What soaks the road, and what drifts over it: the parameters that a share of episodes goes without.
const RAIN: [usize; 3] = [1, 2, 9];
const FOG: [usize; 2] = [6, 13];
/// Grip lost on a soaked road without puddles, and again with them.
const WET_LOSS: f32 = 0.25;
const PUDDLE_LOSS: f32 = 0.25;
/// CARLA's own clear presets have up to this much fog.
const UNSEEN_FOG: f32 = 2.0;
/// Sight lost at the densest fog, the heaviest rain and the thickest dust.
const FOG_LOSS: f32 = 0.8;
const RAIN_LOSS: f32 = 0.4;
const DUST_LOSS: f32 = 0.6;
/// Standard deviations at full haze: of a position, in shares of its distance; of a velocity, m/s.
const POSITION_NOISE: f32 = 0.02;
const VELOCITY_NOISE_MPS: f32 = 0.5;
/// From this haze on, sight counts as low (three quarters of the range are left).
const LOW_VISIBILITY: f32 = 0.25;
/// Below this friction a road counts as wet.
const WET_FRICTION: f32 = 0.95;

/// Kinds of weather by which experience is told apart, in the order of their numbers.
pub const WEATHER_CLASSES: [&str; 3] = ["dry", "wet", "low_visibility"];

/// Names of what is drawn for an episode, in the order of [`Conditions::row`].
pub const DRAWS: [&str; WEATHER_PARAMETERS.len() + 7] = [
    "cloudiness",
    "precipitation",
    "precipitation_deposits",
    "wind_intensity",
    "sun_azimuth_angle",
    "sun_altitude_angle",
    "fog_density",
    "fog_distance",
    "fog_falloff",
    "wetness",
    "scattering_intensity",
    "mie_scattering_scale",
    "rayleigh_scattering_scale",
    "dust_storm",
    "friction",
    "haze",
    "weather_class",
    "throttle_lag_s",
    "full_brake_mps2",
    "steer_gain",
    "traffic_density",
];

/// The weather of given parameters, in the order of [`WEATHER_PARAMETERS`].
pub fn weather_of(parameters: &[f32; WEATHER_PARAMETERS.len()]) -> Weather {
    let share = |index: usize| (parameters[index] / 100.0).clamp(0.0, 1.0);
    let (precipitation, puddles, wetness, dust) = (share(1), share(2), share(9), share(13));
    let fog = ((parameters[6] - UNSEEN_FOG) / (100.0 - UNSEEN_FOG)).clamp(0.0, 1.0);
    let fog_sight = if fog > 0.0 {
        (parameters[7] / SIGHT_M + 1.0 - FOG_LOSS * fog).min(1.0)
    } else {
        1.0
    };
    let sight = fog_sight
        .min(1.0 - RAIN_LOSS * precipitation)
        .min(1.0 - DUST_LOSS * dust);
    Weather {
        haze: 1.0 - sight,
        wetness: wetness.max(puddles),
        friction: 1.0 - WET_LOSS * wetness.max(puddles) - PUDDLE_LOSS * puddles,
    }
}

/// The number of a weather's class in [`WEATHER_CLASSES`].
pub fn weather_class(weather: &Weather) -> usize {
    if weather.haze >= LOW_VISIBILITY {
        2
    } else {
        usize::from(weather.friction < WET_FRICTION)
    }
}

/// What is drawn once for an episode, apart from road and spawns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// CARLA's parameters, in the order of [`WEATHER_PARAMETERS`].
    pub parameters: [f32; WEATHER_PARAMETERS.len()],
    /// What they do.
    pub weather: Weather,
    /// The ego's traits.
    pub traits: Traits,
    /// Factor on the number of vehicles.
    pub density: f64,
}

impl Conditions {
    /// Draws the conditions of an episode: a function of configuration and seed.
    pub fn draw(config: &WorldConfig, seed: u64) -> Self {
        let mut stream = Stream::new(seed, Purpose::Weather, 0, 0);
        let has_rain = stream.unit() < config.weather.rain_share;
        let has_fog = stream.unit() < config.weather.fog_share;
        let mut parameters = config
            .weather
            .ranges()
            .map(|range| stream.between(range) as f32);
        for (indices, is_there) in [(&RAIN[..], has_rain), (&FOG[..], has_fog)] {
            for &index in indices.iter().filter(|_| !is_there) {
                parameters[index] = 0.0;
            }
        }
        let mut stream = Stream::new(seed, Purpose::Conditions, 0, 0);
        let traits = Traits {
            throttle_lag_s: stream.between(config.ego.throttle_lag_s) as f32,
            full_brake_mps2: stream.between(config.ego.full_brake_mps2) as f32,
            steer_gain: stream.between(config.ego.steer_gain) as f32,
            grip_mps2: config.ego.grip_mps2 as f32,
        };
        Self {
            parameters,
            weather: weather_of(&parameters),
            traits,
            density: stream.between(config.traffic.density),
        }
    }

    /// A number of vehicles at this density.
    pub fn vehicles(&self, count: u32) -> u32 {
        (f64::from(count) * self.density).round() as u32
    }

    /// Everything as a row, in the order of [`DRAWS`].
    pub fn row(&self) -> [f64; DRAWS.len()] {
        let mut row = [0.0; DRAWS.len()];
        let (own, rest) = row.split_at_mut(self.parameters.len());
        for (value, &parameter) in own.iter_mut().zip(&self.parameters) {
            *value = f64::from(parameter);
        }
        rest.copy_from_slice(&[
            f64::from(self.weather.friction),
            f64::from(self.weather.haze),
            weather_class(&self.weather) as f64,
            f64::from(self.traits.throttle_lag_s),
            f64::from(self.traits.full_brake_mps2),
            f64::from(self.traits.steer_gain),
            self.density,
        ]);
        row
    }
}

/// Takes from a list of actors those whom haze hides, and blurs the others.
///
/// `actors` may come from any backend. The blur is a function of (seed, frame, place in the list).
pub fn obscure(actors: &mut Vec<ActorPose>, ego: &EgoPose, haze: f32, seed: u64, frame: u32) {
    if haze <= 0.0 {
        return;
    }
    let sight_m = SIGHT_M * (1.0 - haze);
    let mut index = 0_u64;
    actors.retain_mut(|actor| {
        let mut noise = Stream::new(seed, Purpose::Haze, index, u64::from(frame) * 4);
        index += 1;
        let (dx, dy) = (actor.x - ego.x, actor.y - ego.y);
        let distance_m = (dx * dx + dy * dy).sqrt();
        if distance_m > sight_m {
            return false;
        }
        let [x, y] =
            normal_pair(&mut noise).map(|value| value * POSITION_NOISE * haze * distance_m);
        let [vx, vy] = normal_pair(&mut noise).map(|value| value * VELOCITY_NOISE_MPS * haze);
        actor.x += x;
        actor.y += y;
        actor.velocity_mps.0 += vx;
        actor.velocity_mps.1 += vy;
        true
    });
}

/// Two standard normal numbers.
///
/// Source: Box, Muller, "A note on the generation of random normal deviates", 1958.
fn normal_pair(stream: &mut Stream) -> [f32; 2] {
    let radius = (-2.0 * libm::log(1.0 - stream.unit())).sqrt();
    let angle = std::f64::consts::TAU * stream.unit();
    [radius * libm::cos(angle), radius * libm::sin(angle)].map(|value| value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(values: &[(&str, f32)]) -> [f32; WEATHER_PARAMETERS.len()] {
        let mut all = [0.0; WEATHER_PARAMETERS.len()];
        for (name, value) in values {
            let index = WEATHER_PARAMETERS.iter().position(|other| other == name);
            all[index.unwrap()] = *value;
        }
        all
    }

    fn class(values: &[(&str, f32)]) -> &'static str {
        WEATHER_CLASSES[weather_class(&weather_of(&parameters(values)))]
    }

    #[test]
    fn the_names_of_draws_begin_with_carlas_parameters() {
        assert_eq!(DRAWS[..WEATHER_PARAMETERS.len()], WEATHER_PARAMETERS);
        assert_eq!(
            RAIN.map(|at| WEATHER_PARAMETERS[at]),
            ["precipitation", "precipitation_deposits", "wetness"]
        );
        assert_eq!(
            FOG.map(|at| WEATHER_PARAMETERS[at]),
            ["fog_density", "dust_storm"]
        );
    }

    #[test]
    fn carlas_clear_noon_changes_nothing_and_worse_weather_never_helps() {
        let clear = weather_of(&parameters(&[("cloudiness", 5.0), ("fog_density", 2.0)]));
        assert_eq!((clear.haze, clear.friction, clear.wetness), (0.0, 1.0, 0.0));
        for name in [
            "precipitation",
            "precipitation_deposits",
            "wetness",
            "fog_density",
            "dust_storm",
        ] {
            let mut last = clear;
            for step in 1..=20 {
                let next = weather_of(&parameters(&[(name, 5.0 * step as f32)]));
                assert!(
                    next.haze >= last.haze && next.friction <= last.friction,
                    "{name}"
                );
                last = next;
            }
            assert!(last.haze > 0.0 || last.friction < 1.0, "{name}");
            assert!(last.haze <= FOG_LOSS + 1e-6 && last.friction >= 0.5);
        }
    }

    #[test]
    fn classes_follow_grip_and_sight() {
        assert_eq!(class(&[("cloudiness", 100.0)]), "dry");
        assert_eq!(class(&[("wetness", 60.0)]), "wet");
        assert_eq!(
            class(&[("wetness", 60.0), ("fog_density", 80.0)]),
            "low_visibility"
        );
        assert_eq!(
            class(&[("fog_density", 80.0), ("fog_distance", 90.0)]),
            "dry"
        );
    }

    #[test]
    fn draws_stay_in_their_ranges_and_shares() {
        let mut config = WorldConfig::default();
        config.weather.wetness = [20.0, 80.0];
        config.weather.fog_density = [50.0, 60.0];
        config.weather.rain_share = 0.3;
        config.weather.fog_share = 0.0;
        config.ego.steer_gain = [0.9, 1.1];
        let drawn: Vec<_> = (0..2000)
            .map(|seed| Conditions::draw(&config, seed))
            .collect();
        let wet = drawn.iter().filter(|one| one.parameters[9] > 0.0).count();
        assert!((540..660).contains(&wet), "{wet}");
        for one in &drawn {
            assert!(one.parameters[9] == 0.0 || (20.0..80.0).contains(&one.parameters[9]));
            assert_eq!(one.parameters[6], 0.0);
            assert!((0.9..1.1).contains(&one.traits.steer_gain));
            assert_eq!(one.traits.full_brake_mps2, 11.0);
        }
        assert_eq!(Conditions::draw(&config, 7), drawn[7]);
    }
}
