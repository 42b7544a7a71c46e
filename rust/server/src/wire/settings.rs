//! The settings of an episode.

use crate::msgpack::{Malformed, Packer, Reader};

/// Longest and shortest fixed step, seconds.
const STEP_RANGE_S: (f64, f64) = (1e-4, 1.0);

/// CARLA's `WorldSettings`. Only the first three change anything here; the others are kept and given back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Whether the world waits for ticks.
    pub is_synchronous: bool,
    /// Whether pictures would be left out; there are none.
    pub no_rendering: bool,
    /// Length of a step; none for real time.
    pub fixed_delta_s: Option<f64>,
    substepping: bool,
    max_substep_delta_s: f64,
    max_substeps: i32,
    max_culling_distance_m: f32,
    deterministic_ragdolls: bool,
    tile_stream_distance_m: f32,
    actor_active_distance_m: f32,
    spectator_as_ego: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            is_synchronous: false,
            no_rendering: false,
            fixed_delta_s: None,
            substepping: true,
            max_substep_delta_s: 0.01,
            max_substeps: 10,
            max_culling_distance_m: 0.0,
            deterministic_ragdolls: true,
            tile_stream_distance_m: 3000.0,
            actor_active_distance_m: 2000.0,
            spectator_as_ego: true,
        }
    }
}

impl Settings {
    /// Reads settings. A fixed step of zero means none, as in CARLA; one out of range is clipped.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.tuple(11, |inner| {
            Ok(Self {
                is_synchronous: inner.boolean()?,
                no_rendering: inner.boolean()?,
                fixed_delta_s: inner
                    .optional(Reader::float)?
                    .filter(|step_s| *step_s > 0.0)
                    .map(|step_s| step_s.clamp(STEP_RANGE_S.0, STEP_RANGE_S.1)),
                substepping: inner.boolean()?,
                max_substep_delta_s: inner.float()?,
                max_substeps: inner.number()?,
                max_culling_distance_m: inner.single()?,
                deterministic_ragdolls: inner.boolean()?,
                tile_stream_distance_m: inner.single()?,
                actor_active_distance_m: inner.single()?,
                spectator_as_ego: inner.boolean()?,
            })
        })
    }

    /// Writes them.
    pub fn write(&self, out: &mut Packer) {
        out.array(11);
        out.boolean(self.is_synchronous);
        out.boolean(self.no_rendering);
        if let Some(step_s) = self.fixed_delta_s {
            out.array(2);
            out.boolean(true);
            out.double(step_s);
        } else {
            out.array(1);
            out.boolean(false);
        }
        out.boolean(self.substepping);
        out.double(self.max_substep_delta_s);
        out.integer(self.max_substeps.into());
        out.single(self.max_culling_distance_m);
        out.boolean(self.deterministic_ragdolls);
        out.single(self.tile_stream_distance_m);
        out.single(self.actor_active_distance_m);
        out.boolean(self.spectator_as_ego);
    }
}
