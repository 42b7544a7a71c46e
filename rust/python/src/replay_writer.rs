//! The writing end of a replay buffer.

use std::sync::{Arc, Mutex};

use carla_online_replay::layout::RowLayout;
use carla_online_replay::{Schema, Writer};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::columns::{BoundSources, ColumnSpec, column_specs, mismatch, take_columns};
use crate::convert::{ElementKind, Flag, RawArray};
use crate::replay::{detached, locked, raised};

/// The writing end of N streams.
#[pyclass(frozen, module = "carla_online._native")]
pub struct ReplayWriterCore {
    writer: Arc<Mutex<Writer>>,
    streams: usize,
    layout: RowLayout,
    fields: Vec<ColumnSpec>,
    next: Vec<ColumnSpec>,
}

impl ReplayWriterCore {
    /// A writer of rows of that schema.
    pub fn new(py: Python<'_>, schema: &Schema, writer: Writer) -> Self {
        let streams = writer.streams();
        Self {
            fields: column_specs(py, schema, &[streams], false, ""),
            next: column_specs(py, schema, &[streams], true, ""),
            streams,
            layout: writer.buffer().ring().row().clone(),
            writer: Arc::new(Mutex::new(writer)),
        }
    }

    fn take(
        &self,
        rows: &Bound<'_, PyDict>,
        next_values: &Bound<'_, PyDict>,
        mask: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<BoundSources> {
        let rows = take_columns(rows, &self.fields, "")?;
        let next = take_columns(next_values, &self.next, "next_values ")?;
        Ok(BoundSources::new(
            &self.layout,
            rows,
            next,
            self.take_mask(mask)?,
        ))
    }

    fn take_mask(&self, mask: Option<&Bound<'_, PyAny>>) -> PyResult<Option<RawArray>> {
        let kind = ElementKind::new(b'?', size_of::<Flag>());
        let take = |mask| RawArray::input("mask", mask, kind, &[self.streams]);
        mask.map(take).transpose().map_err(mismatch)
    }
}

fn append(py: Python<'_>, writer: &Mutex<Writer>, sources: &BoundSources) -> PyResult<()> {
    detached(py, sources.payload_bytes, || {
        locked(writer).append(&sources.columns)
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

    #[pyo3(signature = (mask))]
    fn end_episodes(&self, mask: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        let mask = self.take_mask(mask)?;
        // SAFETY: the array that keeps the memory outlives the call.
        let source = mask.as_ref().map(|array| unsafe { array.as_source() });
        locked(&self.writer).end_episodes(source).map_err(raised)
    }

    fn close(&self) {
        locked(&self.writer).close();
    }
}

/// Appends what its arrays hold at each call; made by `ReplayWriter.bind`.
#[pyclass(frozen, module = "carla_online._native")]
pub struct BoundWriter {
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
