//! How many threads a call uses.
//!
//! Threads live for one call (`std::thread::scope`): a pool would not survive a fork, and environments' worker processes
//! are forked. Starting one costs tens of microseconds, which inputs above [`ELEMENTS_A_THREAD`] don't notice.

use std::num::NonZero;
use std::thread::available_parallelism;

/// Fewer elements than this aren't worth a thread of their own: half a millisecond of work or more.
pub(crate) const ELEMENTS_A_THREAD: usize = 1 << 19;

/// Most threads of one call.
const MAX_THREADS: usize = 64;

/// The caller's number of threads, or one a processor for large inputs; never more than `parts`.
pub(crate) fn choose(asked: Option<usize>, elements: usize, parts: usize) -> usize {
    let threads = asked.unwrap_or_else(|| {
        if elements < 2 * ELEMENTS_A_THREAD {
            return 1;
        }
        let processors = available_parallelism().map_or(1, NonZero::get);
        processors.min(elements / ELEMENTS_A_THREAD)
    });
    threads.clamp(1, MAX_THREADS).min(parts.max(1))
}
