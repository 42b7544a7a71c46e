//! Python bindings: convert, release the interpreter, call, convert. No logic.

use pyo3::prelude::*;

mod columns;
mod convert;
mod error;
mod replay;
mod roads;
mod server;
mod world;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    replay::register(module)?;
    roads::register(module)?;
    server::register(module)?;
    world::register(module)?;
    Ok(())
}
