//! The caller's arrays: where rows come from and where sampled rows go.
//!
//! A column is one array, checked once and used many times: an address and a length. It gives out a slice only for the
//! moment of one copy, so nothing here claims the memory between calls, when the caller reads and writes it freely.

use std::marker::PhantomData;
use std::ptr::NonNull;

/// An array to read rows from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    start: NonNull<u8>,
    size_bytes: usize,
    memory: PhantomData<&'a [u8]>,
}

// SAFETY: a source is only an address and a length; `from_raw`'s caller vouches for the memory from any thread.
unsafe impl Send for Source<'_> {}
// SAFETY: as above; a source is only read.
unsafe impl Sync for Source<'_> {}

impl<'a> Source<'a> {
    /// A source over the caller's memory.
    ///
    /// # Safety
    ///
    /// `size_bytes` bytes from `start` are readable for `'a`, from any thread. Whoever writes them while an append
    /// runs gets unspecified values.
    pub unsafe fn from_raw(start: NonNull<u8>, size_bytes: usize) -> Self {
        Self {
            start,
            size_bytes,
            memory: PhantomData,
        }
    }

    /// A source over a slice.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            start: NonNull::from(bytes).cast(),
            size_bytes: bytes.len(),
            memory: PhantomData,
        }
    }

    /// Length of the array.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// First byte.
    pub fn start(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// Item `index` of an array of items of that size.
    #[inline]
    pub fn item(&self, index: usize, size_bytes: usize) -> &[u8] {
        let offset = index * size_bytes;
        assert!(
            offset + size_bytes <= self.size_bytes,
            "item {index} of a source"
        );
        // SAFETY: inside the array (just checked), which is readable (`from_raw`).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), size_bytes) }
    }
}

/// An array that sampled rows are written to.
pub struct Column<'a> {
    start: NonNull<u8>,
    size_bytes: usize,
    memory: PhantomData<&'a mut [u8]>,
}

// SAFETY: as for `Source`; all access goes through `&mut self`.
unsafe impl Send for Column<'_> {}

impl<'a> Column<'a> {
    /// A column over the caller's memory.
    ///
    /// # Safety
    ///
    /// `size_bytes` bytes from `start` are writable for `'a`, from any thread, and no other column of the same batch
    /// shares one of them.
    pub unsafe fn from_raw(start: NonNull<u8>, size_bytes: usize) -> Self {
        Self {
            start,
            size_bytes,
            memory: PhantomData,
        }
    }

    /// A column over a slice.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self {
            size_bytes: bytes.len(),
            start: NonNull::from(bytes).cast(),
            memory: PhantomData,
        }
    }

    /// Length of the array.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// First byte.
    pub fn start(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Item `index` of an array of items of that size.
    #[inline]
    pub fn item(&mut self, index: usize, size_bytes: usize) -> &mut [u8] {
        let offset = index * size_bytes;
        assert!(
            offset + size_bytes <= self.size_bytes,
            "item {index} of a column"
        );
        // SAFETY: inside the array (just checked), which is writable and this column's own (`from_raw`).
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(offset), size_bytes) }
    }

    /// Writes a number as item `index`.
    #[inline]
    pub fn put<const N: usize>(&mut self, index: usize, bytes: [u8; N]) {
        self.item(index, N).copy_from_slice(&bytes);
    }
}
