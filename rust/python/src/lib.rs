//! Python bindings: convert, release the interpreter, call, convert. No logic.

use pyo3::prelude::*;

mod advantage;
mod columns;
mod convert;
mod dynamics;
mod error;
mod mirror;
mod replay;
mod replay_sampler;
mod replay_writer;
mod roads;
mod safety;
mod scores;
mod server;
mod world;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    advantage::register(module)?;
    replay::register(module)?;
    roads::register(module)?;
    server::register(module)?;
    world::register(module)?;
    dynamics::register(module)?;
    mirror::register(module)?;
    safety::register(module)?;
    scores::register(module)?;
    Ok(())
}
