//! Lines for the user, fetched by whoever runs the server: its own threads print nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Lines that wait at most; older ones are forgotten.
const MAX_LINES: usize = 1000;

/// A list of lines, shared by threads.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<VecDeque<String>>>);

impl Journal {
    /// Adds a line.
    pub fn write(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// Takes all lines.
    pub fn take(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
            .collect()
    }
}
