//! Notices forks: a handle that crossed one must not be used.
//!
//! Classic fcntl locks aren't inherited, so a forked child would write without the proof that it lives. The kernel's
//! process number could tell the two apart, but asking for it costs a system call an append; a hook that counts forks
//! costs one load.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(0);
static HOOK: Once = Once::new();

extern "C" fn count_fork() {
    // Runs in the child, where only async-signal-safe work is allowed: an atomic add is.
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// How many forks lie between the first handle's process and this one.
pub fn generation() -> u64 {
    HOOK.call_once(|| {
        // SAFETY: the hook is a plain function that stays loaded (extension modules are never unloaded) and does
        // nothing but an atomic add. Failure (out of memory) would leave forks uncounted; the lock on `writers.lock`,
        // which the child doesn't have, then still makes its first claim fail.
        unsafe { libc::pthread_atfork(None, None, Some(count_fork)) };
    });
    GENERATION.load(Ordering::Relaxed)
}
