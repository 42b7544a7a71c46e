//! The least that an append can cost: a call that finds its arrays' memory, and the copy into the row.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::{exceptions::PyValueError, ffi};

use crate::bound::copy_item;
use crate::ring::{Rows, Span};

/// Most arrays of one call.
const MAX_ARRAYS: usize = 32;
const CAPSULE: &CStr = c"limits.append";

/// Where the next rows go.
pub struct State {
    rows: Arc<Rows>,
    spans: Vec<Span>,
    streams: usize,
    checksum: bool,
    /// Rows are put together here first, where nobody can change them between checksum and store.
    private: Option<Vec<u8>>,
    first_block: usize,
    place: usize,
    /// Keeps the checksums from being optimised away.
    digest: u32,
}

impl State {
    /// A state at the first place of the first blocks.
    pub fn new(
        rows: Arc<Rows>,
        spans: Vec<Span>,
        streams: usize,
        checksum: bool,
        is_private: bool,
    ) -> Self {
        let reach_bytes = spans.iter().map(|&(offset, size)| offset + size).max();
        Self {
            private: is_private.then(|| vec![0; reach_bytes.unwrap_or(0)]),
            rows,
            spans,
            streams,
            checksum,
            first_block: 0,
            place: 0,
            digest: 0,
        }
    }

    /// Copies one item of each array into the next place of each stream's block.
    ///
    /// # Safety
    ///
    /// `source(i)` is readable for `streams` items of span `i`, and every span lies inside its block.
    #[inline]
    pub unsafe fn append(&mut self, source: impl Fn(usize) -> *const u8) {
        for stream in 0..self.streams {
            let row = self.rows.row(self.first_block + stream, self.place);
            let target = self
                .private
                .as_mut()
                .map_or(row, |private| private.as_mut_ptr());
            for (index, &(offset, size)) in self.spans.iter().enumerate() {
                // SAFETY: the caller's promise; the ring's memory belongs to nobody else, and the private row is as
                // long as the spans reach.
                unsafe { copy_item(source(index).add(stream * size), target.add(offset), size) };
            }
            if let Some(private) = &self.private {
                self.digest ^= crc32c::crc32c(private);
                // SAFETY: every span lies inside its block.
                unsafe { row.copy_from_nonoverlapping(private.as_ptr(), private.len()) };
            } else if self.checksum {
                // SAFETY: a row's whole stride lies inside its block.
                let bytes = unsafe { std::slice::from_raw_parts(row, self.rows.stride) };
                self.digest ^= crc32c::crc32c(bytes);
            }
        }
        self.place += 1;
        if self.place == self.rows.block_rows {
            self.place = 0;
            self.first_block += self.streams;
            if self.first_block + self.streams > self.rows.blocks {
                self.first_block = 0;
            }
        }
    }
}

/// Makes the function. Its state and its definition live until the process ends.
pub fn function(
    py: Python<'_>,
    rows: Arc<Rows>,
    spans: Vec<Span>,
    streams: usize,
    checksum: bool,
) -> PyResult<Py<PyAny>> {
    if spans.len() > MAX_ARRAYS {
        return Err(PyValueError::new_err("too many arrays"));
    }
    let state = Box::leak(Box::new(State::new(rows, spans, streams, checksum, false)));
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: c"append".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFast: append,
        },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: ptr::null(),
    }));
    // SAFETY: the state is leaked, so the capsule's pointer stays valid; the name is a constant.
    let capsule = unsafe {
        Bound::from_owned_ptr_or_err(
            py,
            ffi::PyCapsule_New(ptr::from_mut(state).cast(), CAPSULE.as_ptr(), None),
        )?
    };
    // SAFETY: the definition is leaked; the function keeps the capsule.
    let function = unsafe {
        Bound::from_owned_ptr_or_err(
            py,
            ffi::PyCFunction_NewEx(definition, capsule.as_ptr(), ptr::null_mut()),
        )?
    };
    Ok(function.unbind())
}

/// Takes one array a span.
///
/// # Safety
///
/// Called by the interpreter, with the capsule made in [`function`].
unsafe extern "C" fn append(
    capsule: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter passes `count` arguments and holds its lock; the capsule's pointer is the leaked state,
    // which only this function uses; each view that was filled is released once.
    unsafe {
        let state = ffi::PyCapsule_GetPointer(capsule, CAPSULE.as_ptr()).cast::<State>();
        if state.is_null() {
            return ptr::null_mut();
        }
        let state = &mut *state;
        let mut views = [const { MaybeUninit::<ffi::Py_buffer>::uninit() }; MAX_ARRAYS];
        let mut filled = 0;
        let mut fits = count as usize == state.spans.len();
        while fits && filled < state.spans.len() {
            let view = views[filled].as_mut_ptr();
            if ffi::PyObject_GetBuffer(*arguments.add(filled), view, ffi::PyBUF_SIMPLE) != 0 {
                break;
            }
            fits = (*view).len as usize == state.streams * state.spans[filled].1;
            filled += 1;
        }
        let complete = fits && filled == state.spans.len();
        if complete {
            state.append(|index| (*views[index].as_ptr()).buf.cast());
        }
        for view in &mut views[..filled] {
            ffi::PyBuffer_Release(view.as_mut_ptr());
        }
        if complete {
            ffi::Py_INCREF(ffi::Py_None());
            return ffi::Py_None();
        }
        if ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_SetString(
                ffi::PyExc_ValueError,
                c"one array a field is needed, each of `streams` items".as_ptr(),
            );
        }
        ptr::null_mut()
    }
}
