//! Bindings of `carla-online-world`.

use pyo3::prelude::*;

/// Adds this file's classes and functions to the extension module.
pub fn register(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
