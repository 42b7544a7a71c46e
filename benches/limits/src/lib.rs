//! The limits that `make bench` measures the package against: plain loops, as tight as Rust compiles them.
//!
//! Nothing here protects anything: no generations, no locks, no checks of arguments beyond their lengths. Each loop
//! does the work that can't be left out and no more, so that its time is what the machine takes for it. The arrays are
//! bound once; a call then costs a call and the work.

use pyo3::prelude::*;

mod advantage;
mod append;
mod bound;
mod gather;
mod ring;

/// Copies `source` to `target`: what the memory allows.
#[pyfunction]
fn copy(source: &Bound<'_, PyAny>, target: &Bound<'_, PyAny>) -> PyResult<bound::Loop> {
    let source = bound::Array::get(source)?;
    let target = bound::Array::get(target)?;
    bound::require(source.len_bytes() == target.len_bytes(), "lengths differ")?;
    // SAFETY: both arrays live as long as the loop and have the same length.
    Ok(bound::Loop::new(move || unsafe {
        target
            .pointer()
            .copy_from_nonoverlapping(source.pointer(), source.len_bytes());
    }))
}

#[pymodule]
fn _limits(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ring::Ring>()?;
    module.add_class::<bound::Loop>()?;
    module.add_function(wrap_pyfunction!(copy, module)?)?;
    module.add_function(wrap_pyfunction!(advantage::group_advantages, module)?)?;
    module.add_function(wrap_pyfunction!(advantage::gae, module)?)
}
