//! Arrays whose memory was looked up once, and the loops that run over them.

use std::sync::{Mutex, PoisonError};

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Raises `ValueError` unless a condition holds.
pub fn require(condition: bool, message: &str) -> PyResult<()> {
    if condition {
        Ok(())
    } else {
        Err(PyValueError::new_err(message.to_owned()))
    }
}

/// The memory of a C-contiguous array, kept alive.
pub struct Array {
    pointer: *mut u8,
    buffer: PyUntypedBuffer,
}

// SAFETY: the pointer is the buffer's, which may move between threads; only benchmarks use it, one thread at a time.
unsafe impl Send for Array {}

impl Array {
    /// Looks up the memory of an array.
    pub fn get(array: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyUntypedBuffer::get(array)?;
        require(buffer.is_c_contiguous(), "an array isn't C-contiguous")?;
        Ok(Self {
            pointer: buffer.buf_ptr().cast(),
            buffer,
        })
    }

    /// Its first byte.
    pub fn pointer(&self) -> *mut u8 {
        self.pointer
    }

    /// Its length.
    pub fn len_bytes(&self) -> usize {
        self.buffer.len_bytes()
    }

    /// Its first element, once [`Array::of`] has checked that there are as many as needed.
    pub fn elements<T>(&self) -> *mut T {
        self.pointer.cast()
    }

    /// Looks up an array that must hold so many elements of `T`.
    pub fn of<T>(array: &Bound<'_, PyAny>, count: usize) -> PyResult<Self> {
        let array = Self::get(array)?;
        require(
            array.len_bytes() == count * size_of::<T>()
                && array.pointer.addr().is_multiple_of(align_of::<T>()),
            "an array has another length than its shape says",
        )?;
        Ok(array)
    }
}

/// Work over arrays that were bound once; calling it does the work.
#[pyclass(frozen)]
pub struct Loop {
    run: Mutex<Box<dyn FnMut() + Send>>,
}

impl Loop {
    /// A loop that does this at each call.
    pub fn new(run: impl FnMut() + Send + 'static) -> Self {
        Self {
            run: Mutex::new(Box::new(run)),
        }
    }
}

#[pymethods]
impl Loop {
    fn __call__(&self) {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        run();
    }
}

/// Copies one item; the short ones, which most fields are, without a call.
///
/// # Safety
///
/// `source` is readable and `target` writable for `size` bytes, and the two don't overlap.
#[inline]
pub unsafe fn copy_item(source: *const u8, target: *mut u8, size: usize) {
    // SAFETY: the caller's promise, for exactly `size` bytes in each arm.
    unsafe {
        match size {
            1 => target.write(source.read()),
            2 => target
                .cast::<[u8; 2]>()
                .write_unaligned(source.cast::<[u8; 2]>().read_unaligned()),
            4 => target
                .cast::<[u8; 4]>()
                .write_unaligned(source.cast::<[u8; 4]>().read_unaligned()),
            8 => target
                .cast::<[u8; 8]>()
                .write_unaligned(source.cast::<[u8; 8]>().read_unaligned()),
            _ => target.copy_from_nonoverlapping(source, size),
        }
    }
}
