//! Maps errors of the Rust crates to the exception classes of `carla_online.errors`.
//!
//! A crate's error becomes a [`Fault`] (class, message, fields) in that crate's binding file, by
//! `impl From<crate::Error> for Fault`; here the fault becomes the Python exception, its fields become attributes.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The exception class in `carla_online.errors` that a fault becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// `ConfigError`
    Config,
    /// `SimulatorError`
    Simulator,
    /// `EpisodeEnded`
    EpisodeEnded,
    /// `AdvantageError`
    Advantage,
    /// `CheckpointError`
    Checkpoint,
    /// `MapError`
    Map,
    /// `ReplayError`
    Replay,
    /// `SchemaMismatch`
    SchemaMismatch,
    /// `ReplayCorrupt`
    ReplayCorrupt,
    /// `ReplayForked`
    ReplayForked,
    /// `ReplayClosed`
    ReplayClosed,
}

impl ErrorClass {
    fn name(self) -> &'static str {
        match self {
            Self::Config => "ConfigError",
            Self::Simulator => "SimulatorError",
            Self::EpisodeEnded => "EpisodeEnded",
            Self::Advantage => "AdvantageError",
            Self::Checkpoint => "CheckpointError",
            Self::Map => "MapError",
            Self::Replay => "ReplayError",
            Self::SchemaMismatch => "SchemaMismatch",
            Self::ReplayCorrupt => "ReplayCorrupt",
            Self::ReplayForked => "ReplayForked",
            Self::ReplayClosed => "ReplayClosed",
        }
    }
}

/// A value that becomes an attribute of the exception.
#[derive(Clone, Debug)]
pub enum FieldValue {
    /// A Python `str`.
    Text(String),
    /// A Python `int`.
    Integer(i128),
    /// A Python `float`.
    Float(f64),
}

impl From<String> for FieldValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<u64> for FieldValue {
    fn from(value: u64) -> Self {
        Self::Integer(value.into())
    }
}

impl From<usize> for FieldValue {
    fn from(value: usize) -> Self {
        Self::Integer(value as i128)
    }
}

impl From<f64> for FieldValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

/// An error on its way to Python.
#[derive(Debug)]
pub struct Fault {
    class: ErrorClass,
    message: String,
    fields: Vec<(&'static str, FieldValue)>,
}

impl Fault {
    /// A fault without fields.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// Adds an attribute that the exception will carry.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<FieldValue>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    fn to_exception(&self, py: Python<'_>) -> PyResult<PyErr> {
        let class = py
            .import("carla_online.errors")?
            .getattr(self.class.name())?;
        let exception = class.call1((PyString::new(py, &self.message),))?;
        for (name, value) in &self.fields {
            match value {
                FieldValue::Text(text) => exception.setattr(*name, text)?,
                FieldValue::Integer(number) => exception.setattr(*name, *number)?,
                FieldValue::Float(number) => exception.setattr(*name, *number)?,
            }
        }
        Ok(PyErr::from_value(exception))
    }
}

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> Self {
        // Building the exception can itself fail (a damaged installation): the message must survive that.
        Python::attach(|py| {
            fault.to_exception(py).unwrap_or_else(|cause| {
                let error = PyRuntimeError::new_err(fault.message.clone());
                error.set_cause(py, Some(cause));
                error
            })
        })
    }
}
