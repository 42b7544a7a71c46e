//! Checked, typed access to the memory of Python arrays.
//!
//! Every binding takes its arrays through [`Arguments`], so that each one is checked in the same way: element type,
//! shape, C order, writability, and that an output shares no byte with any other argument. Arrays come through the
//! stable ABI's buffer protocol; `NumPy` arrays and `torch` CPU tensors (after `.numpy()`) both provide it.
//!
//! ```ignore
//! let mut arguments = Arguments::new();
//! let actions = arguments.input::<f32>("actions", &actions, &[num_envs, 2])?;
//! let mut obs = arguments.output::<f32>("obs", &obs, &[num_envs, obs_dim])?;
//! py.detach(|| step(actions.as_slice(), obs.as_mut_slice()));
//! ```
//!
//! # What Rust can't check
//!
//! While a call runs without the interpreter, another Python thread could write to an array that the call reads. That
//! is the caller's fault with every `NumPy` function that releases the interpreter, and it is so here: the values read
//! are then unspecified. No element type here has an invalid bit pattern (booleans are [`Flag`]), and no length or
//! index is ever taken from such memory without a check, so memory safety in this crate doesn't rest on it.

mod element;

use std::marker::PhantomData;
use std::ptr::NonNull;

use carla_online_replay::column::{Column, Source};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

pub use element::{Element, ElementKind, Flag};

/// Why an argument was refused; becomes `TypeError` or `ValueError` unless a binding maps it to its own class.
#[derive(Debug)]
pub struct ArgumentFault {
    /// The whole sentence: argument, expected, seen, cure.
    pub message: String,
    /// True where the argument has the wrong type rather than a wrong value.
    pub is_type_fault: bool,
}

impl ArgumentFault {
    fn wrong_type(message: String) -> Self {
        Self {
            message,
            is_type_fault: true,
        }
    }

    fn wrong_value(message: String) -> Self {
        Self {
            message,
            is_type_fault: false,
        }
    }
}

impl From<ArgumentFault> for PyErr {
    fn from(fault: ArgumentFault) -> Self {
        if fault.is_type_fault {
            PyTypeError::new_err(fault.message)
        } else {
            PyValueError::new_err(fault.message)
        }
    }
}

/// One array argument as raw bytes: contiguous, checked, and kept exported while this lives.
pub struct RawArray {
    buffer: PyUntypedBuffer,
    kind: ElementKind,
    is_output: bool,
}

impl RawArray {
    /// Takes an array to read from, of a call without outputs, so that nothing can overlap.
    ///
    /// # Errors
    ///
    /// As [`Arguments::input`].
    pub fn input(
        name: &str,
        object: &Bound<'_, PyAny>,
        kind: ElementKind,
        shape: &[usize],
    ) -> Result<Self, ArgumentFault> {
        Self::checked(name, object, kind, shape, false)
    }

    fn checked(
        name: &str,
        object: &Bound<'_, PyAny>,
        kind: ElementKind,
        shape: &[usize],
        is_output: bool,
    ) -> Result<Self, ArgumentFault> {
        let buffer = export(name, object, || {
            format!("a {kind} array of shape {shape:?}")
        })?;
        check_layout(name, &buffer, kind, shape, is_output)?;
        Ok(Self {
            buffer,
            kind,
            is_output,
        })
    }

    /// What an element is.
    pub fn kind(&self) -> ElementKind {
        self.kind
    }

    /// The array's shape.
    pub fn shape(&self) -> &[usize] {
        self.buffer.shape()
    }

    /// The array's bytes, to read.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: `checked` made sure of a contiguous export, which lives as long as `self`; bytes have no invalid
        // pattern (see the module's text for other threads).
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len_bytes()) }
    }

    /// The array's bytes, to write; empty for an array that was taken as an input.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        let length = if self.is_output { self.len_bytes() } else { 0 };
        // SAFETY: as `as_bytes`; outputs were checked to be writable and to overlap no other argument of their call.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), length) }
    }

    /// The array as a source of rows.
    ///
    /// # Safety
    ///
    /// The source isn't used after `self` is dropped.
    pub unsafe fn as_source(&self) -> Source<'static> {
        // SAFETY: `checked` made sure of a contiguous export, which lives as long as `self`; the caller keeps to that.
        unsafe { Source::from_raw(self.start(), self.len_bytes()) }
    }

    /// The array as a column of a batch; empty for an array that was taken as an input.
    ///
    /// # Safety
    ///
    /// The column isn't used after `self` is dropped, and is the only one made of `self`.
    pub unsafe fn as_column(&self) -> Column<'static> {
        let length = if self.is_output { self.len_bytes() } else { 0 };
        // SAFETY: as `as_source`; outputs were checked to be writable and to overlap no other argument of their call.
        unsafe { Column::from_raw(self.start(), length) }
    }

    fn start(&self) -> NonNull<u8> {
        NonNull::new(self.as_ptr()).unwrap_or(NonNull::dangling())
    }

    /// First byte; dangling but aligned for an empty array.
    pub fn as_ptr(&self) -> *mut u8 {
        if self.buffer.len_bytes() == 0 {
            return std::ptr::NonNull::<u64>::dangling().as_ptr().cast();
        }
        self.buffer.buf_ptr().cast()
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> usize {
        self.buffer.len_bytes()
    }

    fn overlaps(&self, other: &Span) -> bool {
        let start = self.as_ptr() as usize;
        let end = start + self.len_bytes();
        self.len_bytes() > 0 && start < other.end && other.start < end
    }
}

struct Span {
    name: String,
    start: usize,
    end: usize,
    is_output: bool,
}

/// The array arguments of one call: checks each, and all of them for overlap.
#[derive(Default)]
pub struct Arguments {
    spans: Vec<Span>,
}

impl Arguments {
    /// No arguments yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an array to read from, of exactly this shape.
    ///
    /// # Errors
    ///
    /// [`ArgumentFault`] naming the argument, what was expected and what was seen.
    pub fn input<T: Element>(
        &mut self,
        name: &str,
        object: &Bound<'_, PyAny>,
        shape: &[usize],
    ) -> Result<Input<T>, ArgumentFault> {
        Ok(Input {
            array: self.raw(name, object, T::KIND, shape, false)?,
            element: PhantomData,
        })
    }

    /// Takes a writable array of exactly this shape that shares no byte with any other argument.
    ///
    /// # Errors
    ///
    /// As [`Arguments::input`], and for read-only or overlapping memory.
    pub fn output<T: Element>(
        &mut self,
        name: &str,
        object: &Bound<'_, PyAny>,
        shape: &[usize],
    ) -> Result<Output<T>, ArgumentFault> {
        Ok(Output {
            array: self.raw(name, object, T::KIND, shape, true)?,
            element: PhantomData,
        })
    }

    /// Takes an array of floats of either width and of any shape to read from; its shape and kind then say what the
    /// other arguments must be.
    ///
    /// # Errors
    ///
    /// As [`Arguments::input`].
    pub fn floats(
        &mut self,
        name: &str,
        object: &Bound<'_, PyAny>,
    ) -> Result<RawArray, ArgumentFault> {
        let buffer = export(name, object, || "a float32 or float64 array".to_owned())?;
        let kind = match ElementKind::from_format(buffer.format(), buffer.item_size()) {
            Some(f64::KIND) => f64::KIND,
            _ => f32::KIND,
        };
        let shape = buffer.shape().to_vec();
        check_layout(name, &buffer, kind, &shape, false)?;
        let array = RawArray {
            buffer,
            kind,
            is_output: false,
        };
        self.refuse_overlap(name, &array)?;
        Ok(array)
    }

    /// As [`Arguments::input`] and [`Arguments::output`], for an element type known only at run time.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn raw(
        &mut self,
        name: &str,
        object: &Bound<'_, PyAny>,
        kind: ElementKind,
        shape: &[usize],
        is_output: bool,
    ) -> Result<RawArray, ArgumentFault> {
        let array = RawArray::checked(name, object, kind, shape, is_output)?;
        self.refuse_overlap(name, &array)?;
        Ok(array)
    }

    fn refuse_overlap(&mut self, name: &str, array: &RawArray) -> Result<(), ArgumentFault> {
        let is_output = array.is_output;
        let clash = self
            .spans
            .iter()
            .find(|span| (is_output || span.is_output) && array.overlaps(span));
        if let Some(span) = clash {
            return Err(ArgumentFault::wrong_value(format!(
                "{name} shares memory with {}; an output needs memory of its own",
                span.name
            )));
        }
        let start = array.as_ptr() as usize;
        self.spans.push(Span {
            name: name.to_owned(),
            start,
            end: start + array.len_bytes(),
            is_output,
        });
        Ok(())
    }
}

fn export(
    name: &str,
    object: &Bound<'_, PyAny>,
    expected: impl Fn() -> String,
) -> Result<PyUntypedBuffer, ArgumentFault> {
    PyUntypedBuffer::get(object).map_err(|_| {
        ArgumentFault::wrong_type(format!(
            "{name}: expected {}, got {}; pass a NumPy array (tensor.numpy() for torch)",
            expected(),
            object
                .get_type()
                .name()
                .map_or_else(|_| "another object".to_owned(), |name| name.to_string()),
        ))
    })
}

fn check_layout(
    name: &str,
    buffer: &PyUntypedBuffer,
    kind: ElementKind,
    shape: &[usize],
    is_output: bool,
) -> Result<(), ArgumentFault> {
    let seen = ElementKind::from_format(buffer.format(), buffer.item_size());
    if seen != Some(kind) {
        let seen = seen.map_or_else(
            || format!("format {:?}", buffer.format()),
            |seen| seen.to_string(),
        );
        return Err(ArgumentFault::wrong_type(format!(
            "{name}: expected {kind} of shape {shape:?}, got {seen}"
        )));
    }
    if buffer.shape() != shape {
        return Err(ArgumentFault::wrong_value(format!(
            "{name}: expected shape {shape:?} ({kind}), got {:?}",
            buffer.shape()
        )));
    }
    if !buffer.is_c_contiguous() {
        return Err(ArgumentFault::wrong_value(format!(
            "{name}: expected a C-contiguous array, got strides {:?}; pass numpy.ascontiguousarray(...)",
            buffer.strides()
        )));
    }
    if is_output && buffer.readonly() {
        return Err(ArgumentFault::wrong_value(format!(
            "{name}: the array is read-only; an output must be writable"
        )));
    }
    // A consumer may reinterpret the bytes as its element type, so they must be aligned for it.
    if !(buffer.buf_ptr() as usize).is_multiple_of(kind.size_bytes) && buffer.len_bytes() > 0 {
        return Err(ArgumentFault::wrong_value(format!(
            "{name}: the array's memory is not aligned; pass a copy"
        )));
    }
    Ok(())
}

/// A checked array to read from.
pub struct Input<T> {
    array: RawArray,
    element: PhantomData<T>,
}

impl<T: Element> Input<T> {
    /// A checked array of this element type.
    ///
    /// # Errors
    ///
    /// [`ArgumentFault`] if its elements are of another type.
    pub fn typed(name: &str, array: RawArray) -> Result<Self, ArgumentFault> {
        if array.kind() != T::KIND {
            return Err(ArgumentFault::wrong_type(format!(
                "{name}: expected {}, got {}",
                T::KIND,
                array.kind()
            )));
        }
        Ok(Self {
            array,
            element: PhantomData,
        })
    }

    /// The elements in C order.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: `raw` checked type, contiguity and alignment; the export keeps the memory alive while `self` lives;
        // every bit pattern is a valid `T`. No output of the same call overlaps it (see the module's text for threads).
        unsafe {
            std::slice::from_raw_parts(
                self.array.as_ptr().cast(),
                self.array.len_bytes() / size_of::<T>(),
            )
        }
    }
}

/// A checked array to write to; overlaps no other argument of its call.
pub struct Output<T> {
    array: RawArray,
    element: PhantomData<T>,
}

impl<T: Element> Output<T> {
    /// The elements in C order.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as `Input::as_slice`; the memory is writable, and `Arguments` refused any other argument of this
        // call that shares a byte with it, so this is the call's only reference.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.array.as_ptr().cast(),
                self.array.len_bytes() / size_of::<T>(),
            )
        }
    }
}
