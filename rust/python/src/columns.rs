//! The arrays of replay rows: what each must look like, taken from a dict and kept.

use std::sync::Mutex;

use carla_online_replay::gather::Columns;
use carla_online_replay::{Dtype, Schema};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::convert::{ArgumentFault, Arguments, ElementKind, RawArray};
use crate::error::{ErrorClass, Fault};

/// Turns a refused array into the replay's own exception.
pub fn mismatch(fault: ArgumentFault) -> PyErr {
    Fault::new(ErrorClass::SchemaMismatch, fault.message).into()
}

fn kind_of(dtype: Dtype) -> ElementKind {
    let family = match dtype {
        Dtype::F16 | Dtype::F32 | Dtype::F64 => b'f',
        Dtype::Bool => b'?',
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => b'u',
        Dtype::I32 | Dtype::I64 => b'i',
    };
    ElementKind::new(family, dtype.size_bytes())
}

/// A named array with a leading batch dimension.
pub struct ColumnSpec {
    name: Py<PyString>,
    label: String,
    kind: ElementKind,
    shape: Vec<usize>,
}

/// The columns of a schema's fields (or its linked ones), their names prefixed.
pub fn column_specs(
    py: Python<'_>,
    schema: &Schema,
    batch: usize,
    only_linked: bool,
    prefix: &str,
) -> Vec<ColumnSpec> {
    schema
        .fields()
        .iter()
        .filter(|field| field.linked || !only_linked)
        .map(|field| {
            let label = format!("{prefix}{}", field.name);
            let shape = std::iter::once(batch)
                .chain(field.shape.iter().copied())
                .collect();
            ColumnSpec {
                name: PyString::intern(py, &label).unbind(),
                label,
                kind: kind_of(field.dtype),
                shape,
            }
        })
        .collect()
}

fn lookup<'py>(arrays: &Bound<'py, PyDict>, spec: &ColumnSpec) -> PyResult<Bound<'py, PyAny>> {
    arrays.get_item(&spec.name)?.ok_or_else(|| {
        let message = format!(
            "{} is missing; pass an array of shape {:?} ({})",
            spec.label, spec.shape, spec.kind
        );
        Fault::new(ErrorClass::SchemaMismatch, message).into()
    })
}

fn refuse_unknown(arrays: &Bound<'_, PyDict>, specs: &[&[ColumnSpec]]) -> PyResult<()> {
    if arrays.len() == specs.iter().map(|part| part.len()).sum::<usize>() {
        return Ok(());
    }
    for key in arrays.keys() {
        let key = key.extract::<String>()?;
        if !specs
            .iter()
            .any(|part| part.iter().any(|spec| spec.label == key))
        {
            let message =
                format!("{key} isn't a field of the schema; leave it out, or add it to the schema");
            return Err(Fault::new(ErrorClass::SchemaMismatch, message).into());
        }
    }
    Ok(())
}

/// Takes every column to read from, and nothing else, from a dict.
pub fn take_columns(
    arrays: &Bound<'_, PyDict>,
    specs: &[ColumnSpec],
    context: &str,
) -> PyResult<Vec<RawArray>> {
    refuse_unknown(arrays, &[specs])?;
    let mut taken = Vec::with_capacity(specs.len());
    for spec in specs {
        let array = lookup(arrays, spec)?;
        let array =
            RawArray::input(&spec.label, &array, spec.kind, &spec.shape).map_err(|fault| {
                mismatch(ArgumentFault {
                    message: format!("{context}{}", fault.message),
                    ..fault
                })
            })?;
        taken.push(array);
    }
    Ok(taken)
}

/// Arrays that sampled rows are written to, checked once.
#[pyclass(frozen, module = "carla_online._native")]
pub struct ReplayColumns {
    /// The arrays in the order of `bind`.
    pub arrays: Mutex<Vec<RawArray>>,
    /// Rows that they hold.
    pub batch: usize,
    field_count: usize,
    /// Hash of the schema that they fit.
    pub schema_hash: u64,
    /// Bytes of all arrays.
    pub payload_bytes: usize,
}

impl ReplayColumns {
    /// Takes the arrays of a whole batch: fields, `next_` fields, the two returns.
    pub fn bind(schema: &Schema, arrays: &Bound<'_, PyDict>, batch: usize) -> PyResult<Self> {
        let py = arrays.py();
        let fields = column_specs(py, schema, batch, false, "");
        let next = column_specs(py, schema, batch, true, "next_");
        let returns: Vec<ColumnSpec> = ["n_step_reward", "discount"]
            .into_iter()
            .map(|label| ColumnSpec {
                name: PyString::intern(py, label).unbind(),
                label: label.to_owned(),
                kind: ElementKind::new(b'f', 4),
                shape: vec![batch],
            })
            .collect();
        refuse_unknown(arrays, &[&fields, &next, &returns])?;
        let mut arguments = Arguments::new();
        let mut taken = Vec::new();
        for spec in fields.iter().chain(&next).chain(&returns) {
            let array = lookup(arrays, spec)?;
            taken.push(
                arguments
                    .raw(&spec.label, &array, spec.kind, &spec.shape, true)
                    .map_err(mismatch)?,
            );
        }
        Ok(Self {
            payload_bytes: taken.iter().map(RawArray::len_bytes).sum(),
            arrays: Mutex::new(taken),
            batch,
            field_count: fields.len(),
            schema_hash: schema.hash(),
        })
    }

    /// The arrays in the order of `bind`: fields, next values, the two returns.
    pub fn split<'a>(&self, arrays: &'a mut [RawArray]) -> Columns<'a> {
        let (columns, returns) = arrays.split_at_mut(arrays.len() - 2);
        let (n_step_reward, discount) = returns.split_at_mut(1);
        let (fields, next) = columns.split_at_mut(self.field_count);
        Columns {
            fields: fields.iter_mut().map(RawArray::as_bytes_mut).collect(),
            next: next.iter_mut().map(RawArray::as_bytes_mut).collect(),
            n_step_reward: n_step_reward[0].as_bytes_mut(),
            discount: discount[0].as_bytes_mut(),
        }
    }

    /// Fails if that many rows don't fit.
    pub fn require_batch(&self, rows: usize) -> PyResult<()> {
        if rows <= self.batch {
            return Ok(());
        }
        let message = format!("{rows} rows don't fit into arrays of {}", self.batch);
        Err(Fault::new(ErrorClass::Replay, message).into())
    }
}
