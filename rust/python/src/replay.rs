//! Bindings of `carla-online-replay`: the buffer; writers and samplers have files of their own.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carla_online_replay::gather::Horizon;
use carla_online_replay::listing::Listed;
use carla_online_replay::{Buffer, CreateOptions, Error, NameTable, Schema, StreamPlace, Writer};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::columns::ReplayColumns;
use crate::error::{ErrorClass, Fault};
use crate::replay_sampler::{ModeArgument, ReplaySamplerCore};
use crate::replay_writer::{BoundWriter, ReplayWriterCore};

/// Below this the work is shorter than releasing the interpreter and getting it back.
const DETACH_BYTES: usize = 4096;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let class = match &error {
            Error::NotReplay { .. }
            | Error::Corrupt { .. }
            | Error::Foreign { .. }
            | Error::BadRow { .. } => ErrorClass::ReplayCorrupt,
            Error::SchemaMismatch { .. } | Error::Schema(_) => ErrorClass::SchemaMismatch,
            Error::Forked { .. } => ErrorClass::ReplayForked,
            Error::Closed { .. } => ErrorClass::ReplayClosed,
            _ => ErrorClass::Replay,
        };
        let fault = Self::new(class, error.to_string());
        match error {
            Error::DiskFull {
                needed_bytes,
                free_bytes,
                ..
            } => fault
                .with("needed_bytes", needed_bytes)
                .with("free_bytes", free_bytes),
            Error::TooFewRows { size, .. } => fault.with("size", size),

            Error::SchemaMismatch { differences, .. } => fault.with("differences", differences),
            Error::Foreign { seen, expected, .. } => {
                fault.with("seen", seen).with("expected", expected)
            }
            _ => fault,
        }
    }
}

/// The exception of an error.
pub fn raised(error: Error) -> PyErr {
    Fault::from(error).into()
}

/// A mutex's content.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held reached Python as such; the state itself is only counters and scratch memory.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs work without the interpreter where it is long enough to be worth it.
pub fn detached<T: Send>(
    py: Python<'_>,
    payload_bytes: usize,
    work: impl FnOnce() -> T + Send,
) -> T {
    if payload_bytes >= DETACH_BYTES {
        py.detach(work)
    } else {
        work()
    }
}

/// A row that fails its checksum: block, place, what is wrong.
type BadRow = (u32, u32, &'static str);

/// An open buffer.
#[pyclass(frozen, module = "carla_online._native")]
struct ReplayCore {
    buffer: Arc<Buffer>,
}

#[pymethods]
impl ReplayCore {
    #[staticmethod]
    #[pyo3(signature = (path, fields_json, *, capacity_rows, block_rows, streams_hint))]
    fn create(
        py: Python<'_>,
        path: PathBuf,
        fields_json: &str,
        capacity_rows: u64,
        block_rows: u32,
        streams_hint: Option<u32>,
    ) -> PyResult<Self> {
        let schema = Schema::from_json(fields_json).map_err(raised)?;
        let options = CreateOptions {
            capacity_rows,
            block_rows,
            streams_hint,
        };
        let buffer = py
            .detach(|| Buffer::create(&path, &schema, options))
            .map_err(raised)?;
        Ok(Self {
            buffer: Arc::new(buffer),
        })
    }

    #[staticmethod]
    #[pyo3(signature = (path, *, read_only, expected_json))]
    fn open(
        py: Python<'_>,
        path: PathBuf,
        read_only: bool,
        expected_json: Option<&str>,
    ) -> PyResult<Self> {
        let expected = expected_json
            .map(Schema::from_json)
            .transpose()
            .map_err(raised)?;
        let buffer = py
            .detach(|| Buffer::open(&path, read_only, expected.as_ref()))
            .map_err(raised)?;
        Ok(Self {
            buffer: Arc::new(buffer),
        })
    }

    #[getter]
    fn fields_json(&self) -> PyResult<String> {
        self.buffer.schema().to_json().map_err(raised)
    }

    #[getter]
    fn capacity_rows(&self) -> u64 {
        self.buffer.ring().geometry().capacity_rows()
    }

    #[getter]
    fn block_rows(&self) -> u32 {
        self.buffer.ring().geometry().block_rows
    }

    #[getter]
    fn copy_on_write(&self) -> Option<&'static str> {
        self.buffer.copy_on_write()
    }

    #[getter]
    fn is_closed(&self) -> bool {
        self.buffer.is_closed()
    }

    fn size(&self) -> PyResult<u64> {
        self.buffer.check().map_err(raised)?;
        Ok(self.buffer.ring().size())
    }

    /// Places in use, those of episodes' last observations included.
    fn stored_places(&self) -> PyResult<u64> {
        self.buffer.check().map_err(raised)?;
        Ok(self.buffer.ring().stored_places())
    }

    fn total_appended(&self) -> PyResult<u64> {
        self.buffer.check().map_err(raised)?;
        Ok(self.buffer.ring().total_appended())
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.buffer.flush()).map_err(raised)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.buffer.close()).map_err(raised)
    }

    #[pyo3(signature = (*, streams, first_stream, resume))]
    fn writer(
        &self,
        py: Python<'_>,
        streams: u32,
        first_stream: u32,
        resume: Option<Vec<Option<(u32, u32, u16)>>>,
    ) -> PyResult<ReplayWriterCore> {
        let place = |(block, generation, place)| StreamPlace {
            block,
            generation,
            place,
        };
        let resume: Option<Vec<_>> =
            resume.map(|places| places.into_iter().map(|at| at.map(place)).collect());
        let writer = Writer::new(
            Arc::clone(&self.buffer),
            first_stream,
            streams,
            resume.as_deref(),
        )
        .map_err(raised)?;
        Ok(ReplayWriterCore::new(py, self.buffer.schema(), writer))
    }

    #[pyo3(signature = (*, seed, n_step, gamma, mode, check))]
    fn sampler(
        &self,
        py: Python<'_>,
        seed: u64,
        n_step: u32,
        gamma: f64,
        mode: ModeArgument,
        check: bool,
    ) -> PyResult<ReplaySamplerCore> {
        let horizon = Horizon {
            steps: n_step,
            gamma,
        };
        py.detach(|| ReplaySamplerCore::new(&self.buffer, seed, horizon, mode, check))
    }

    /// Checks arrays once, so that they can be filled many times.
    fn bind(&self, arrays: &Bound<'_, PyDict>, batch: Vec<usize>) -> PyResult<ReplayColumns> {
        self.buffer.check().map_err(raised)?;
        ReplayColumns::bind(
            self.buffer.ring().row(),
            self.buffer.schema(),
            arrays,
            &batch,
        )
    }

    fn rows_from(
        &self,
        py: Python<'_>,
        first_block: u32,
        wanted: usize,
    ) -> PyResult<(ReplayRows, Option<u32>)> {
        self.buffer.check().map_err(raised)?;
        let (rows, next_block) = py.detach(|| self.buffer.rows_from(first_block, wanted));
        Ok((ReplayRows { rows }, next_block))
    }

    /// Complete episodes: their rows, one after another, and how many each has.
    fn episodes_from(
        &self,
        py: Python<'_>,
        first_block: u32,
        wanted: usize,
    ) -> PyResult<(ReplayRows, Vec<usize>, Option<u32>)> {
        self.buffer.check().map_err(raised)?;
        let (found, next_block) = py.detach(|| self.buffer.episodes_from(first_block, wanted));
        Ok((ReplayRows { rows: found.rows }, found.lengths, next_block))
    }

    fn read(&self, py: Python<'_>, rows: &ReplayRows, columns: &ReplayColumns) -> PyResult<usize> {
        self.buffer.check().map_err(raised)?;
        columns.require_batch(rows.rows.len())?;
        Ok(py.detach(|| self.buffer.read(&rows.rows, &mut locked(&columns.columns))))
    }

    #[pyo3(signature = (target, *, capacity_rows, block_rows))]
    fn compact(
        &self,
        py: Python<'_>,
        target: PathBuf,
        capacity_rows: u64,
        block_rows: u32,
    ) -> PyResult<u64> {
        let options = CreateOptions {
            capacity_rows,
            block_rows,
            streams_hint: None,
        };
        py.detach(|| self.buffer.compact(&target, options))
            .map_err(raised)
    }

    fn verify(&self, py: Python<'_>) -> PyResult<(u64, u64, Vec<BadRow>)> {
        let report = py.detach(|| self.buffer.verify()).map_err(raised)?;
        let listed = report
            .bad_rows
            .into_iter()
            .map(|row| (row.block, row.place, row.reason))
            .collect();
        Ok((report.rows_checked, report.bad_count, listed))
    }

    fn last_step_id(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        py.detach(|| self.buffer.last_step_id()).map_err(raised)
    }

    fn open_episodes(&self, py: Python<'_>) -> PyResult<Vec<(u64, u64)>> {
        let found = py.detach(|| self.buffer.open_episodes()).map_err(raised)?;
        Ok(found
            .into_iter()
            .map(|episode| (episode.episode_id, episode.step_id))
            .collect())
    }

    fn close_open_episodes(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| self.buffer.close_open_episodes())
            .map_err(raised)
    }

    fn quarantine(&self, py: Python<'_>, first_step_id: u64, last_step_id: u64) -> PyResult<u64> {
        py.detach(|| self.buffer.quarantine(first_step_id, last_step_id))
            .map_err(raised)
    }

    fn slice_id(&self, py: Python<'_>, name: &str) -> PyResult<u16> {
        py.detach(|| self.buffer.name_index(NameTable::Slices, name))
            .map_err(raised)
    }

    fn baseline_id(&self, py: Python<'_>, hash: &str) -> PyResult<u16> {
        py.detach(|| self.buffer.name_index(NameTable::Baselines, hash))
            .map_err(raised)
    }

    fn backbone_id(&self, py: Python<'_>, hash: &str) -> PyResult<u16> {
        py.detach(|| self.buffer.name_index(NameTable::Backbones, hash))
            .map_err(raised)
    }

    fn slice_names(&self) -> PyResult<Vec<String>> {
        self.buffer.names(NameTable::Slices).map_err(raised)
    }

    fn baseline_hashes(&self) -> PyResult<Vec<String>> {
        self.buffer.names(NameTable::Baselines).map_err(raised)
    }

    fn backbone_hashes(&self) -> PyResult<Vec<String>> {
        self.buffer.names(NameTable::Backbones).map_err(raised)
    }
}

/// Rows, listed for reading.
#[pyclass(frozen, module = "carla_online._native")]
struct ReplayRows {
    rows: Vec<Listed>,
}

#[pymethods]
impl ReplayRows {
    fn __len__(&self) -> usize {
        self.rows.len()
    }

    /// Some of the rows; an end beyond the last one is cut.
    fn part(&self, first: usize, rows: usize) -> Self {
        let part = self.rows.iter().skip(first).take(rows);
        Self {
            rows: part.copied().collect(),
        }
    }
}

/// Adds this file's classes and functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ReplayCore>()?;
    module.add_class::<ReplayWriterCore>()?;
    module.add_class::<BoundWriter>()?;
    module.add_class::<ReplaySamplerCore>()?;
    module.add_class::<ReplayColumns>()?;
    module.add_class::<ReplayRows>()
}
