//! Weather as CARLA has it: its fourteen parameters by their own names, each drawn uniformly between two values.

use serde::{Deserialize, Serialize};

use super::Check;

macro_rules! weather {
    ($($(#[$doc:meta])* $name:ident: [$default:expr, $low:expr, $high:expr],)*) => {
        /// Ranges of CARLA's weather parameters, and in which share of episodes rain and fog are drawn at all.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct WeatherConfig {
            $($(#[$doc])* pub $name: [f64; 2],)*
            /// Share of episodes with `precipitation`, `precipitation_deposits` and `wetness`; they are 0 in others.
            pub rain_share: f64,
            /// Share of episodes with `fog_density` and `dust_storm`; they are 0 in others.
            pub fog_share: f64,
        }

        impl Default for WeatherConfig {
            fn default() -> Self {
                Self { $($name: [$default, $default],)* rain_share: 1.0, fog_share: 1.0 }
            }
        }

        impl WeatherConfig {
            pub(super) fn check(&self, check: &mut Check) {
                $(check.range(concat!("weather.", stringify!($name)), self.$name, $low, $high);)*
                check.value("weather.rain_share", self.rain_share, 0.0, 1.0);
                check.value("weather.fog_share", self.fog_share, 0.0, 1.0);
            }

            /// The ranges in the order of [`WEATHER_PARAMETERS`].
            pub(crate) const fn ranges(&self) -> [[f64; 2]; WEATHER_PARAMETERS.len()] {
                [$(self.$name),*]
            }
        }

        /// Names of CARLA's weather parameters, in the order of its constructor.
        pub const WEATHER_PARAMETERS: [&str; [$(stringify!($name)),*].len()] = [$(stringify!($name)),*];
    };
}

weather! {
    /// 0 clear to 100 overcast.
    cloudiness: [5.0, 0.0, 100.0],
    /// Rain, 0 to 100; takes sight.
    precipitation: [0.0, 0.0, 100.0],
    /// Puddles, 0 to 100; take grip.
    precipitation_deposits: [0.0, 0.0, 100.0],
    /// 0 to 100.
    wind_intensity: [10.0, 0.0, 100.0],
    /// Degrees.
    sun_azimuth_angle: [0.0, -360.0, 360.0],
    /// Degrees over the horizon.
    sun_altitude_angle: [45.0, -90.0, 90.0],
    /// 0 to 100; takes sight.
    fog_density: [0.0, 0.0, 100.0],
    /// Where fog begins, metres.
    fog_distance: [0.0, 0.0, 10_000.0],
    /// How fast fog thins with height.
    fog_falloff: [0.1, 0.0, 100.0],
    /// Wetness of the road, 0 to 100; takes grip.
    wetness: [0.0, 0.0, 100.0],
    /// How much light fog scatters.
    scattering_intensity: [1.0, 0.0, 100.0],
    /// Scattering by large particles.
    mie_scattering_scale: [0.03, 0.0, 5.0],
    /// Scattering by air.
    rayleigh_scattering_scale: [0.0331, 0.0, 2.0],
    /// Dust, 0 to 100; takes sight.
    dust_storm: [0.0, 0.0, 100.0],
}
