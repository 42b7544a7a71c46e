//! Bindings of `carla-online-advantage`.

mod groups;
mod time;

use carla_online_advantage::{Error, Real};
use pyo3::prelude::*;

use crate::convert::{Arguments, Element, Flag, Input, Output, RawArray};
use crate::error::{ErrorClass, Fault};

/// Below this the work is shorter than releasing the interpreter and getting it back.
const DETACH_BYTES: usize = 16 * 1024;

/// Adds this file's functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    groups::register(module)?;
    time::register(module)
}

/// A float as both the buffers and the kernels know it.
trait Float: Element + Real {}

impl Float for f32 {}
impl Float for f64 {}

/// The exception for an error; `shape` is that of the arrays that an index may point into, but for the one named.
fn raised(error: Error, shape: &[usize], other: Option<(&str, &[usize])>) -> PyErr {
    if let Error::NotFinite { name, index, value } = error {
        let shape = other
            .filter(|(of, _)| *of == name)
            .map_or(shape, |(_, shape)| shape);
        let place = place(index, shape);
        let message = format!("{name}[{place}] is {value}; only finite values are accepted");
        return Fault::new(ErrorClass::Advantage, message)
            .with("index", index)
            .into();
    }
    Fault::new(ErrorClass::Advantage, error.to_string()).into()
}

/// An index into the flattened array, as indices of each dimension.
fn place(index: usize, shape: &[usize]) -> String {
    let mut rest = index;
    let mut parts: Vec<String> = shape
        .iter()
        .rev()
        .map(|&size| {
            let part = rest % size.max(1);
            rest /= size.max(1);
            part.to_string()
        })
        .collect();
    parts.reverse();
    parts.join(", ")
}

/// Runs work without the interpreter where it is long enough to be worth it.
fn detached<T: Send>(py: Python<'_>, bytes: usize, work: impl FnOnce() -> T + Send) -> T {
    if bytes >= DETACH_BYTES {
        py.detach(work)
    } else {
        work()
    }
}

/// The array arguments of a call whose first array decides element type and shape.
struct Call {
    arguments: Arguments,
    shape: Vec<usize>,
}

impl Call {
    fn input<T: Float>(&mut self, name: &str, object: &Bound<'_, PyAny>) -> PyResult<Input<T>> {
        Ok(self.arguments.input(name, object, &self.shape)?)
    }

    fn shaped<T: Float>(
        &mut self,
        name: &str,
        object: &Bound<'_, PyAny>,
        shape: &[usize],
    ) -> PyResult<Input<T>> {
        Ok(self.arguments.input(name, object, shape)?)
    }

    fn flags(&mut self, name: &str, object: &Bound<'_, PyAny>) -> PyResult<RawArray> {
        Ok(self
            .arguments
            .raw(name, object, Flag::KIND, &self.shape, false)?)
    }

    fn shaped_flags(
        &mut self,
        name: &str,
        object: &Bound<'_, PyAny>,
        shape: &[usize],
    ) -> PyResult<RawArray> {
        Ok(self.arguments.raw(name, object, Flag::KIND, shape, false)?)
    }

    fn optional_flags(
        &mut self,
        name: &str,
        object: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<RawArray>> {
        object.map(|object| self.flags(name, object)).transpose()
    }

    fn output<T: Float>(&mut self, name: &str, object: &Bound<'_, PyAny>) -> PyResult<Output<T>> {
        Ok(self.arguments.output(name, object, &self.shape)?)
    }
}

/// Takes the first array and calls `$run::<f32 or f64>(call, first, ...)`.
macro_rules! for_its_float {
    ($name:literal, $object:expr, $run:ident($($argument:expr),* $(,)?)) => {{
        let mut arguments = $crate::convert::Arguments::new();
        let first = arguments.floats($name, $object)?;
        let call = $crate::advantage::Call { arguments, shape: first.shape().to_vec() };
        if first.kind() == <f32 as $crate::convert::Element>::KIND {
            $run::<f32>(call, $crate::convert::Input::typed($name, first)?, $($argument),*)
        } else {
            $run::<f64>(call, $crate::convert::Input::typed($name, first)?, $($argument),*)
        }
    }};
}
use for_its_float;
