//! Rows of different lengths in one allocation.

/// The items of row `i` are `items[starts[i]..starts[i + 1]]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rows<T> {
    starts: Vec<u32>,
    items: Vec<T>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self {
            starts: vec![0],
            items: Vec::new(),
        }
    }
}

impl<T> Rows<T> {
    /// Sorts entries into `count` rows; entries of one row keep their order.
    pub fn new(count: usize, mut entries: Vec<(u32, T)>) -> Self {
        entries.sort_by_key(|entry| entry.0);
        let mut starts = vec![0; count + 1];
        for (row, _) in &entries {
            starts[*row as usize + 1] += 1;
        }
        for row in 0..count {
            starts[row + 1] += starts[row];
        }
        Self {
            starts,
            items: entries.into_iter().map(|entry| entry.1).collect(),
        }
    }

    pub fn row(&self, row: u32) -> &[T] {
        let (from, to) = self.range(row);
        &self.items[from..to]
    }

    fn range(&self, row: u32) -> (usize, usize) {
        let row = row as usize;
        (self.starts[row] as usize, self.starts[row + 1] as usize)
    }
}
