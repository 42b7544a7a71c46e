//! The reading end of a replay buffer.

use std::sync::{Arc, Mutex};

use carla_online_replay::gather::Horizon;
use carla_online_replay::{Buffer, Mode, Part, Sampler, SamplerState};
use pyo3::prelude::*;

use crate::columns::{ReplayColumns, mismatch};
use crate::convert::Arguments;
use crate::error::{ErrorClass, Fault};
use crate::replay::{detached, locked, raised};

/// A sampler's position and scratch memory.
#[pyclass(frozen, module = "carla_online._native")]
pub struct ReplaySamplerCore {
    buffer: Arc<Buffer>,
    sampler: Mutex<Sampler>,
}

/// What a mode is made of: its name and its numbers.
#[derive(FromPyObject)]
pub enum ModeArgument {
    /// Name and two numbers.
    Two(String, f64, f64),
    /// Name and number.
    One(String, f64),
}

impl ReplaySamplerCore {
    /// A sampler of a buffer.
    pub fn new(
        buffer: &Arc<Buffer>,
        seed: u64,
        horizon: Horizon,
        mode: ModeArgument,
        is_checking: bool,
    ) -> PyResult<Self> {
        buffer.check().map_err(raised)?;
        let mode = match &mode {
            ModeArgument::Two(name, exponent, correction) if name == "prioritized" => {
                let (tree, owner) = buffer.priorities(*exponent).map_err(raised)?;
                Mode::Prioritized {
                    tree,
                    owner,
                    correction: *correction,
                }
            }
            ModeArgument::One(name, half_life_rows) if name == "recency" => Mode::Recency {
                half_life_rows: *half_life_rows,
            },
            ModeArgument::One(name, _) if name == "stratified" => Mode::Stratified,
            ModeArgument::One(name, _) if name == "uniform" => Mode::Uniform,
            ModeArgument::One(name, _) | ModeArgument::Two(name, _, _) => {
                let message = format!("there is no sampling mode {name:?}");
                return Err(Fault::new(ErrorClass::Replay, message).into());
            }
        };
        let slice_offset = buffer.ring().row().key.slice_id;
        let sampler =
            Sampler::new(seed, horizon, mode, slice_offset, is_checking).map_err(raised)?;
        Ok(Self {
            buffer: Arc::clone(buffer),
            sampler: Mutex::new(sampler),
        })
    }

    fn check(&self, columns: &ReplayColumns, rows: Option<usize>) -> PyResult<()> {
        self.buffer.check().map_err(raised)?;
        if columns.schema_hash != self.buffer.ring().schema_hash() {
            let message = "the arrays were allocated for a buffer of another schema; allocate them from this sampler";
            return Err(Fault::new(ErrorClass::SchemaMismatch, message).into());
        }
        let Some(rows) = rows else {
            let message = "more rows than can be addressed; ask for fewer";
            return Err(Fault::new(ErrorClass::Replay, message).into());
        };
        columns.require_batch(rows)
    }
}

#[pymethods]
impl ReplaySamplerCore {
    fn sample_into(
        &self,
        py: Python<'_>,
        columns: &ReplayColumns,
        watermark: Option<u64>,
    ) -> PyResult<()> {
        self.sample_part(py, columns, watermark, 0, columns.batch, 0)
    }

    /// Fills `rows` rows of the arrays from `first` on.
    fn sample_part(
        &self,
        py: Python<'_>,
        columns: &ReplayColumns,
        watermark: Option<u64>,
        first: usize,
        rows: usize,
        source: u16,
    ) -> PyResult<()> {
        self.check(columns, first.checked_add(rows))?;
        let part = Part {
            first,
            rows,
            source,
        };
        detached(py, columns.payload_bytes, || {
            let mut sampler = locked(&self.sampler);
            let mut arrays = locked(&columns.columns);
            sampler.sample(self.buffer.ring(), part, watermark, &mut arrays)
        })
        .map_err(raised)
    }

    /// Fills the arrays with windows of `length` rows each.
    fn sample_windows(
        &self,
        py: Python<'_>,
        columns: &ReplayColumns,
        watermark: Option<u64>,
        windows: usize,
        length: usize,
    ) -> PyResult<()> {
        self.check(columns, windows.checked_mul(length))?;
        detached(py, columns.payload_bytes, || {
            let mut sampler = locked(&self.sampler);
            let mut arrays = locked(&columns.columns);
            let ring = self.buffer.ring();
            sampler.sample_windows(ring, windows, length, watermark, &mut arrays)
        })
        .map_err(raised)
    }

    /// Sets priorities of rows; returns how many of the rows were still there.
    fn update_priorities(
        &self,
        py: Python<'_>,
        row_index: &Bound<'_, PyAny>,
        row_generation: &Bound<'_, PyAny>,
        priorities: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        self.buffer.check().map_err(raised)?;
        let rows = priorities.len()?;
        let mut arguments = Arguments::new();
        let indices = arguments
            .input::<u64>("row_index", row_index, &[rows])
            .map_err(mismatch)?;
        let generations = arguments
            .input::<u32>("row_generation", row_generation, &[rows])
            .map_err(mismatch)?;
        let priorities = arguments
            .input::<f32>("priorities", priorities, &[rows])
            .map_err(mismatch)?;
        let tree = locked(&self.sampler)
            .priorities()
            .map(|(tree, owner)| (Arc::clone(tree), owner));
        let Some((tree, owner)) = tree else {
            let message =
                "this sampler doesn't draw by priority; make it with mode=Prioritized(...)";
            return Err(Fault::new(ErrorClass::Replay, message).into());
        };
        detached(py, 16 * rows, || {
            tree.update(
                owner,
                indices.as_slice(),
                generations.as_slice(),
                priorities.as_slice(),
            )
        })
        .map_err(raised)
    }

    fn set_correction(&self, correction: f64) -> PyResult<()> {
        locked(&self.sampler)
            .set_correction(correction)
            .map_err(raised)
    }

    fn state(&self) -> (u64, u64) {
        let SamplerState { seed, draw } = locked(&self.sampler).state();
        (seed, draw)
    }

    fn restore(&self, seed: u64, draw: u64) {
        locked(&self.sampler).restore(SamplerState { seed, draw });
    }
}
