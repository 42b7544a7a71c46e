//! Rows in private memory, laid out as the replay lays them out: fixed rows in blocks, one block a stream.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use pyo3::prelude::*;

use crate::append;
use crate::bound::{Array, Loop, require};
use crate::gather;

/// Offset and length of a field in a row. An offset beyond the stride lies in the next row: a linked next value.
pub type Span = (usize, usize);

/// Memory that is read at random lies in pages of this size where the system has them, as `NumPy`'s arrays do.
const LARGE_PAGE_BYTES: usize = 2 << 20;

fn prefer_large_pages(base: *mut u8, size_bytes: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: a hint about whole pages of our own allocation; refused by kernels without such pages.
    unsafe {
        libc::madvise(base.cast(), size_bytes, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (base, size_bytes);
}

/// The memory of a ring.
pub struct Rows {
    base: *mut u8,
    layout: Layout,
    /// Number of blocks.
    pub blocks: usize,
    /// Rows in a block.
    pub block_rows: usize,
    /// Distance of rows.
    pub stride: usize,
    /// Distance of blocks.
    pub block_stride: usize,
    /// One word a block: generation in the upper half, published rows in the lower.
    pub words: Vec<AtomicU64>,
}

// SAFETY: plain memory; benchmarks use it from one thread at a time.
unsafe impl Send for Rows {}
// SAFETY: as above.
unsafe impl Sync for Rows {}

impl Rows {
    /// Where a row starts.
    #[inline]
    pub fn row(&self, block: usize, place: usize) -> *mut u8 {
        debug_assert!(block < self.blocks && place <= self.block_rows);
        self.base
            .wrapping_add(block * self.block_stride + place * self.stride)
    }

    /// Whether a field of every row lies inside its block.
    pub fn holds(&self, spans: &[Span]) -> bool {
        spans.iter().all(|&(offset, size)| {
            offset + size + (self.block_rows - 1) * self.stride <= self.block_stride
        })
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // SAFETY: allocated in `Ring::new` with this layout.
        unsafe { dealloc(self.base, self.layout) };
    }
}

/// A ring of rows without any protection.
#[pyclass(frozen)]
pub struct Ring {
    rows: Arc<Rows>,
}

#[pymethods]
impl Ring {
    #[new]
    #[pyo3(signature = (*, blocks, block_rows, stride, block_stride))]
    fn new(blocks: usize, block_rows: usize, stride: usize, block_stride: usize) -> PyResult<Self> {
        require(
            blocks > 0 && block_rows > 0 && block_stride >= block_rows * stride,
            "rows don't fit into their blocks",
        )?;
        let layout = Layout::from_size_align(blocks * block_stride, LARGE_PAGE_BYTES)
            .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?;
        // SAFETY: the layout isn't empty.
        let base = unsafe { alloc(layout) };
        if base.is_null() {
            handle_alloc_error(layout);
        }
        prefer_large_pages(base, layout.size());
        // SAFETY: the whole allocation.
        unsafe { base.write_bytes(0, layout.size()) };
        // Bytes that no two neighbouring rows share.
        for offset in (0..layout.size()).step_by(64) {
            // SAFETY: inside the allocation.
            unsafe { base.add(offset).write((offset / 64) as u8) };
        }
        let words = (0..blocks)
            .map(|_| AtomicU64::new((1 << 32) | block_rows as u64))
            .collect();
        Ok(Self {
            rows: Arc::new(Rows {
                base,
                layout,
                blocks,
                block_rows,
                stride,
                block_stride,
                words,
            }),
        })
    }

    /// Returns a bare `METH_FASTCALL` function that takes one array a span, each of `streams` items, and copies them
    /// into the next place of `streams` blocks; with `checksum` it also computes each row's CRC32C.
    #[pyo3(signature = (spans, *, streams, checksum))]
    fn appender(
        &self,
        py: Python<'_>,
        spans: Vec<Span>,
        streams: usize,
        checksum: bool,
    ) -> PyResult<Py<PyAny>> {
        require(self.rows.holds(&spans), "a field lies outside its block")?;
        require(
            streams > 0 && streams <= self.rows.blocks,
            "too many streams",
        )?;
        append::function(py, Arc::clone(&self.rows), spans, streams, checksum)
    }

    /// Returns a loop that copies as the appender does, from arrays bound once. With `private`, each row is put together
    /// and summed up in private memory before it is stored, as the replay does.
    #[pyo3(signature = (spans, arrays, *, streams, checksum, private))]
    fn append_loop(
        &self,
        spans: Vec<Span>,
        arrays: Vec<Bound<'_, PyAny>>,
        streams: usize,
        checksum: bool,
        private: bool,
    ) -> PyResult<Loop> {
        require(self.rows.holds(&spans), "a field lies outside its block")?;
        require(
            streams > 0 && streams <= self.rows.blocks,
            "too many streams",
        )?;
        let arrays = bind(&spans, &arrays, streams)?;
        let mut state =
            append::State::new(Arc::clone(&self.rows), spans, streams, checksum, private);
        Ok(Loop::new(move || {
            // SAFETY: each array holds `streams` items of its span's size, and the spans lie inside the blocks.
            unsafe { state.append(|index| arrays[index].pointer().cast_const()) };
        }))
    }

    /// Returns a loop that draws rows uniformly and copies their fields into the arrays, one a span.
    ///
    /// With `guarded`, each row's block word is read before and after the copy and compared, as the replay does.
    #[pyo3(signature = (spans, arrays, *, batch, seed, guarded))]
    fn gather_loop(
        &self,
        spans: Vec<Span>,
        arrays: Vec<Bound<'_, PyAny>>,
        batch: usize,
        seed: u64,
        guarded: bool,
    ) -> PyResult<Loop> {
        require(self.rows.holds(&spans), "a field lies outside its block")?;
        let arrays = bind(&spans, &arrays, batch)?;
        let mut state = gather::State::new(Arc::clone(&self.rows), spans, arrays, batch, seed);
        Ok(if guarded {
            Loop::new(move || state.gather::<true>())
        } else {
            Loop::new(move || state.gather::<false>())
        })
    }
}

fn bind(spans: &[Span], arrays: &[Bound<'_, PyAny>], items: usize) -> PyResult<Vec<Array>> {
    require(spans.len() == arrays.len(), "one array a span is needed")?;
    arrays
        .iter()
        .zip(spans)
        .map(|(array, &(_, size))| {
            let array = Array::get(array)?;
            require(
                array.len_bytes() == items * size,
                "an array has another length",
            )?;
            Ok(array)
        })
        .collect()
}
