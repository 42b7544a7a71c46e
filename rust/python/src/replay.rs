//! Bindings of `carla-online-replay`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carla_online_replay::gather::{Gather, Horizon, Position};
use carla_online_replay::{
    AppendColumns, Buffer, CreateOptions, Error, NameTable, Sampler, SamplerState, Schema,
    StreamPlace, Writer,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::columns::{
    BoundSources, ColumnSpec, ReplayColumns, column_specs, mismatch, take_columns,
};
use crate::convert::{ElementKind, Flag, RawArray};
use crate::error::{ErrorClass, Fault};

/// Below this the work is shorter than releasing the interpreter and getting it back.
const DETACH_BYTES: usize = 4096;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let class = match &error {
            Error::NotReplay { .. } | Error::Corrupt { .. } | Error::Foreign { .. } => {
                ErrorClass::ReplayCorrupt
            }
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

fn raised(error: Error) -> PyErr {
    Fault::from(error).into()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held reached Python as such; the state itself is only counters and scratch memory.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs work without the interpreter where it is long enough to be worth it.
fn detached<T: Send>(py: Python<'_>, payload_bytes: usize, work: impl FnOnce() -> T + Send) -> T {
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

    fn total_appended(&self) -> PyResult<u64> {
        self.buffer.check().map_err(raised)?;
        Ok(self.buffer.ring().total_appended())
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
        let schema = self.buffer.schema();
        let batch = writer.streams();
        Ok(ReplayWriterCore {
            fields: column_specs(py, schema, &[batch], false, ""),
            next: column_specs(py, schema, &[batch], true, ""),
            streams: batch,
            writer: Arc::new(Mutex::new(writer)),
        })
    }

    #[pyo3(signature = (*, seed, n_step, gamma))]
    fn sampler(&self, seed: u64, n_step: u32, gamma: f64) -> PyResult<ReplaySamplerCore> {
        self.buffer.check().map_err(raised)?;
        let sampler = Sampler::new(
            seed,
            Horizon {
                steps: n_step,
                gamma,
            },
        )
        .map_err(raised)?;
        Ok(ReplaySamplerCore {
            buffer: Arc::clone(&self.buffer),
            sampler: Mutex::new(sampler),
        })
    }

    /// Checks arrays once, so that they can be filled many times.
    fn bind(&self, arrays: &Bound<'_, PyDict>, batch: Vec<usize>) -> PyResult<ReplayColumns> {
        self.buffer.check().map_err(raised)?;
        ReplayColumns::bind(self.buffer.schema(), arrays, &batch)
    }

    fn rows_from(
        &self,
        py: Python<'_>,
        first_block: u32,
        wanted: usize,
    ) -> PyResult<(ReplayPositions, Option<u32>)> {
        self.buffer.check().map_err(raised)?;
        let (positions, next_block) = py.detach(|| self.buffer.rows_from(first_block, wanted));
        Ok((ReplayPositions { positions }, next_block))
    }

    fn read(
        &self,
        py: Python<'_>,
        positions: &ReplayPositions,
        columns: &ReplayColumns,
    ) -> PyResult<usize> {
        self.buffer.check().map_err(raised)?;
        columns.require_batch(positions.positions.len())?;
        Ok(py.detach(|| {
            let mut gather = Gather::new(Horizon {
                steps: 1,
                gamma: 1.0,
            });
            let mut arrays = locked(&columns.columns);
            self.buffer
                .read(&positions.positions, &mut gather, &mut arrays)
        }))
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

    fn slice_names(&self) -> PyResult<Vec<String>> {
        self.buffer.names(NameTable::Slices).map_err(raised)
    }

    fn baseline_hashes(&self) -> PyResult<Vec<String>> {
        self.buffer.names(NameTable::Baselines).map_err(raised)
    }
}

/// The writing end of N streams.
#[pyclass(frozen, module = "carla_online._native")]
struct ReplayWriterCore {
    writer: Arc<Mutex<Writer>>,
    streams: usize,
    fields: Vec<ColumnSpec>,
    next: Vec<ColumnSpec>,
}

impl ReplayWriterCore {
    fn take(
        &self,
        rows: &Bound<'_, PyDict>,
        next_values: &Bound<'_, PyDict>,
        mask: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<BoundSources> {
        let kind = ElementKind::new(b'?', size_of::<Flag>());
        let take_mask = |mask| RawArray::input("mask", mask, kind, &[self.streams]);
        let rows = take_columns(rows, &self.fields, "")?;
        let next = take_columns(next_values, &self.next, "next_values ")?;
        let mask = mask.map(take_mask).transpose().map_err(mismatch)?;
        Ok(BoundSources::new(rows, next, mask))
    }
}

fn append(py: Python<'_>, writer: &Mutex<Writer>, sources: &BoundSources) -> PyResult<()> {
    let columns = AppendColumns {
        fields: &sources.fields,
        next: &sources.next,
        mask: sources.mask,
    };
    detached(py, sources.payload_bytes, || {
        locked(writer).append(&columns)
    })
    .map_err(raised)
}

#[pymethods]
impl ReplayWriterCore {
    #[getter]
    fn streams(&self) -> usize {
        self.streams
    }

    #[getter]
    fn is_resumed(&self) -> bool {
        locked(&self.writer).is_resumed()
    }

    fn places(&self) -> Vec<Option<(u32, u32, u16)>> {
        let places = locked(&self.writer).places();
        places
            .into_iter()
            .map(|at| at.map(|at| (at.block, at.generation, at.place)))
            .collect()
    }

    #[pyo3(signature = (rows, next_values, mask))]
    fn append(
        &self,
        py: Python<'_>,
        rows: &Bound<'_, PyDict>,
        next_values: &Bound<'_, PyDict>,
        mask: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        append(py, &self.writer, &self.take(rows, next_values, mask)?)
    }

    #[pyo3(signature = (rows, next_values, mask))]
    fn bind(
        &self,
        rows: &Bound<'_, PyDict>,
        next_values: &Bound<'_, PyDict>,
        mask: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<BoundWriter> {
        Ok(BoundWriter {
            writer: Arc::clone(&self.writer),
            sources: self.take(rows, next_values, mask)?,
        })
    }

    fn close(&self) {
        locked(&self.writer).close();
    }
}

/// Appends what its arrays hold at each call; made by `ReplayWriter.bind`.
#[pyclass(frozen, module = "carla_online._native")]
struct BoundWriter {
    writer: Arc<Mutex<Writer>>,
    sources: BoundSources,
}

#[pymethods]
impl BoundWriter {
    /// Append one row to each stream, or to those of the bound mask, from the bound arrays.
    ///
    /// As `ReplayWriter.append`: all rows or none, acknowledged when it returns, the same errors.
    fn append(&self, py: Python<'_>) -> PyResult<()> {
        append(py, &self.writer, &self.sources)
    }
}

/// Places of rows, listed for reading.
#[pyclass(frozen, module = "carla_online._native")]
struct ReplayPositions {
    positions: Vec<Position>,
}

#[pymethods]
impl ReplayPositions {
    fn __len__(&self) -> usize {
        self.positions.len()
    }
}

/// A sampler's position and scratch memory.
#[pyclass(frozen, module = "carla_online._native")]
struct ReplaySamplerCore {
    buffer: Arc<Buffer>,
    sampler: Mutex<Sampler>,
}

#[pymethods]
impl ReplaySamplerCore {
    #[pyo3(signature = (columns, watermark))]
    fn sample_into(
        &self,
        py: Python<'_>,
        columns: &ReplayColumns,
        watermark: Option<u64>,
    ) -> PyResult<()> {
        self.buffer.check().map_err(raised)?;
        if columns.schema_hash != self.buffer.schema().hash() {
            let message = "the arrays were allocated for a buffer of another schema; allocate them from this sampler";
            return Err(Fault::new(ErrorClass::SchemaMismatch, message).into());
        }
        detached(py, columns.payload_bytes, || {
            let mut sampler = locked(&self.sampler);
            let mut arrays = locked(&columns.columns);
            sampler.sample(self.buffer.ring(), columns.batch, watermark, &mut arrays)
        })
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

/// Adds this file's classes and functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ReplayCore>()?;
    module.add_class::<ReplayWriterCore>()?;
    module.add_class::<BoundWriter>()?;
    module.add_class::<ReplaySamplerCore>()?;
    module.add_class::<ReplayColumns>()?;
    module.add_class::<ReplayPositions>()
}
