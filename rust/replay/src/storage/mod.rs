//! The memory below a ring: two mapped files, or the heap (tests and the model checker).

pub mod heap;
#[cfg(not(loom))]
pub mod mmap;
#[cfg(not(loom))]
pub mod pages;

use crate::moves::Scatter;
use crate::sync::AtomicU64;

/// Shared memory of a ring. Offsets are checked: a wrong one panics rather than touching other memory.
pub trait Storage: Send + Sync {
    /// A word of the table's two headers.
    fn header(&self, word: usize) -> &AtomicU64;

    /// A word of the table, counted from the end of its headers.
    fn table(&self, word: usize) -> &AtomicU64;

    /// An aligned word of the data, by byte offset.
    fn data_word(&self, offset: usize) -> &AtomicU64;

    /// Copies data that another process may be writing.
    fn read(&self, offset: usize, target: &mut [u8]);

    /// Writes data that another process may be reading. Offset and length are multiples of 8.
    fn write(&self, offset: usize, source: &[u8]);

    /// Copies the items of rows that another process may be writing, from those offsets on, to index `at` of columns
    /// and those after it; may hint that the rows at `ahead` come next.
    fn scatter(&self, starts: &[usize], moves: &mut Scatter<'_>, at: usize, ahead: &[usize]) {
        let _ = ahead;
        for (index, start) in starts.iter().enumerate() {
            moves.each(at + index, |offset, target| {
                self.read(start + offset, target);
            });
        }
    }

    /// Hints that a range of the data will be read.
    fn prefetch(&self, offset: usize, length: usize);
}
