//! A ring in private memory, made of atomics only: runs under the model checker and in the oracle tests.

use super::Storage;
use crate::layout::Geometry;
use crate::sync::{AtomicU64, Ordering};

/// Heap memory in the shape of the two files.
pub struct HeapStorage {
    table: Vec<AtomicU64>,
    data: Vec<AtomicU64>,
}

impl HeapStorage {
    /// Zeroed memory for a ring.
    pub fn new(geometry: &Geometry) -> Self {
        let zeros = |words: usize| (0..words).map(|_| AtomicU64::new(0)).collect();
        Self {
            table: zeros(geometry.table_words),
            data: zeros(geometry.data_bytes / 8),
        }
    }
}

impl Storage for HeapStorage {
    fn table(&self, word: usize) -> &AtomicU64 {
        &self.table[word]
    }

    fn data_word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8), "data words are aligned");
        &self.data[offset / 8]
    }

    fn read(&self, offset: usize, target: &mut [u8]) {
        let mut position = offset;
        let mut rest = target;
        while !rest.is_empty() {
            let word = self.data[position / 8]
                .load(Ordering::Relaxed)
                .to_ne_bytes();
            let start = position % 8;
            let length = rest.len().min(8 - start);
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(&word[start..start + length]);
            position += length;
            rest = later;
        }
    }

    fn write(&self, offset: usize, source: &[u8]) {
        assert!(
            offset.is_multiple_of(8) && source.len().is_multiple_of(8),
            "writes are whole words"
        );
        for (word, bytes) in self.data[offset / 8..]
            .iter()
            .zip(source.as_chunks::<8>().0)
        {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
    }

    fn prefetch(&self, _offset: usize, _length: usize) {}
}
