//! A ring in private memory, made of atomics only: runs under the model checker and in the oracle tests.

use super::Storage;
use crate::layout::{Geometry, HEADERS_BYTES};
use crate::sync::{AtomicU64, Ordering};

/// Heap memory in the shape of the two files.
pub struct HeapStorage {
    header: Vec<AtomicU64>,
    table: Vec<AtomicU64>,
    data: Vec<AtomicU64>,
}

impl HeapStorage {
    /// Zeroed memory for a ring.
    pub fn new(geometry: &Geometry) -> Self {
        let zeros = |words: usize| (0..words).map(|_| AtomicU64::new(0)).collect();
        Self {
            header: zeros(HEADERS_BYTES / 8),
            table: zeros(geometry.table_words),
            data: zeros(geometry.data_bytes / 8),
        }
    }
}

#[cfg(all(test, not(loom)))]
impl HeapStorage {
    /// The words of the two files: table (headers included) and rows.
    pub fn files(&self) -> [Vec<u64>; 2] {
        let load = |words: &[AtomicU64]| -> Vec<u64> {
            words
                .iter()
                .map(|word| word.load(Ordering::Relaxed))
                .collect()
        };
        let table = [load(&self.header), load(&self.table)].concat();
        [table, load(&self.data)]
    }

    /// Memory with the content of two files.
    pub fn from_files(geometry: &Geometry, [table, rows]: &[Vec<u64>; 2]) -> Self {
        let storage = Self::new(geometry);
        let (header, words) = table.split_at(HEADERS_BYTES / 8);
        let fill = |target: &[AtomicU64], source: &[u64]| {
            assert_eq!(target.len(), source.len(), "the files have the ring's size");
            for (target, &value) in target.iter().zip(source) {
                target.store(value, Ordering::Relaxed);
            }
        };
        fill(&storage.header, header);
        fill(&storage.table, words);
        fill(&storage.data, rows);
        storage
    }
}

impl Storage for HeapStorage {
    fn header(&self, word: usize) -> &AtomicU64 {
        &self.header[word]
    }

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
