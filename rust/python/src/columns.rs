//! The arrays of replay rows: what each must look like, taken from a dict and kept.

use std::sync::Mutex;

use carla_online_replay::columns::{Columns, Extras};
use carla_online_replay::layout::RowLayout;
use carla_online_replay::{AppendColumns, Dtype, Schema};
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
    batch: &[usize],
    only_linked: bool,
    prefix: &str,
) -> Vec<ColumnSpec> {
    schema
        .fields()
        .iter()
        .filter(|field| field.linked || !only_linked)
        .map(|field| {
            let label = format!("{prefix}{}", field.name);
            let shape = batch.iter().chain(&field.shape).copied().collect();
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
    if arrays.len() != specs.len() {
        refuse_unknown(arrays, &[specs])?;
    }
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

/// Arrays of rows to append, checked once and kept.
pub struct BoundSources {
    /// The arrays as an append takes them.
    pub columns: AppendColumns<'static>,
    /// Bytes of all arrays.
    pub payload_bytes: usize,
    _exports: Vec<RawArray>,
}

impl BoundSources {
    /// Keeps arrays that were taken from the caller.
    pub fn new(
        layout: &RowLayout,
        fields: Vec<RawArray>,
        next: Vec<RawArray>,
        mask: Option<RawArray>,
    ) -> Self {
        // SAFETY: the sources stand beside the exports that keep their memory, and go with them.
        let source = |array: &RawArray| unsafe { array.as_source() };
        let sources = |arrays: &[RawArray]| arrays.iter().map(source).collect::<Vec<_>>();
        let mask_source = mask.as_ref().map(source);
        Self {
            columns: AppendColumns::new(layout, &sources(&fields), &sources(&next), mask_source),
            payload_bytes: fields.iter().chain(&next).map(RawArray::len_bytes).sum(),
            _exports: fields.into_iter().chain(next).chain(mask).collect(),
        }
    }
}

/// Columns that a sampler adds: name, element type, and whether a batch may lack it.
const ADDED: [(&str, u8, usize, bool); 7] = [
    ("n_step_reward", b'f', 4, false),
    ("discount", b'f', 4, false),
    ("row_index", b'u', 8, true),
    ("row_generation", b'u', 4, true),
    ("importance_weight", b'f', 4, true),
    ("source", b'u', 2, true),
    ("valid", b'?', 1, true),
];

/// Arrays that sampled rows are written to, checked once.
#[pyclass(frozen, module = "carla_online._native")]
pub struct ReplayColumns {
    /// The arrays, sorted by what they hold.
    pub columns: Mutex<Columns<'static>>,
    /// Rows that they hold.
    pub batch: usize,
    /// Hash of the schema that they fit.
    pub schema_hash: u64,
    /// Bytes of all arrays.
    pub payload_bytes: usize,
    _exports: Vec<RawArray>,
}

impl ReplayColumns {
    /// Takes the arrays of a whole batch: fields, `next_` fields, and what a sampler adds.
    pub fn bind(
        layout: &RowLayout,
        schema: &Schema,
        arrays: &Bound<'_, PyDict>,
        batch: &[usize],
    ) -> PyResult<Self> {
        let py = arrays.py();
        let fields = column_specs(py, schema, batch, false, "");
        let next = column_specs(py, schema, batch, true, "next_");
        let added: Vec<ColumnSpec> = ADDED
            .into_iter()
            .map(|(label, family, size_bytes, _)| ColumnSpec {
                name: PyString::intern(py, label).unbind(),
                label: label.to_owned(),
                kind: ElementKind::new(family, size_bytes),
                shape: batch.to_vec(),
            })
            .collect();
        refuse_unknown(arrays, &[&fields, &next, &added])?;
        let mut arguments = Arguments::new();
        let mut exports = Vec::new();
        let mut take = |spec: &ColumnSpec| {
            let array = lookup(arrays, spec)?;
            let array = arguments
                .raw(&spec.label, &array, spec.kind, &spec.shape, true)
                .map_err(mismatch)?;
            // SAFETY: made once of each export, and kept beside it.
            let column = unsafe { array.as_column() };
            exports.push(array);
            PyResult::Ok(column)
        };
        let field_columns = fields.iter().map(&mut take).collect::<PyResult<_>>()?;
        let next_columns = next.iter().map(&mut take).collect::<PyResult<_>>()?;
        let mut extras = Vec::new();
        for (spec, (label, _, _, is_optional)) in added.iter().zip(ADDED) {
            let is_absent = is_optional && !arrays.contains(label)?;
            extras.push(if is_absent { None } else { Some(take(spec)?) });
        }
        let mut extras = extras.into_iter();
        let mut added = || extras.next().flatten();
        let (Some(n_step_reward), Some(discount)) = (added(), added()) else {
            let message = "n_step_reward or discount is missing; pass float32 arrays of the batch";
            return Err(Fault::new(ErrorClass::SchemaMismatch, message).into());
        };
        let extras = Extras {
            row_index: added(),
            row_generation: added(),
            importance_weight: added(),
            source: added(),
            valid: added(),
        };
        Ok(Self {
            columns: Mutex::new(Columns::new(
                layout,
                field_columns,
                next_columns,
                [n_step_reward, discount],
                extras,
            )),
            batch: batch.iter().product(),
            schema_hash: schema.hash(),
            payload_bytes: exports.iter().map(RawArray::len_bytes).sum(),
            _exports: exports,
        })
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
