//! The proof that a writing process lives: a classic fcntl lock on its own byte of `writers.lock`.
//!
//! The kernel drops the lock when the process ends, however it ends. `flock` and open-file-description locks are shared
//! with forked children and would outlive the process; classic locks belong to the process alone. Their known trap is
//! that closing *any* descriptor of the file drops them, so a process opens the file once, through a registry, and keeps
//! it open until its last handle on the buffer is gone; [`ProcessLock::renew`] notices if somebody else in the process
//! did it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::{Error, Result};
use crate::fork;
use crate::ring::Liveness;
use crate::word::MAX_OWNERS;

/// Byte that serialises opening, recovery and changes of `schema.json`; owner n has byte n.
const MAINTENANCE: u16 = 0;

/// This process's lock on one buffer.
pub struct ProcessLock {
    file: Option<File>,
    owner: u16,
    fork_generation: u64,
    maintenance: Mutex<()>,
    is_swept: AtomicBool,
    has_priorities: AtomicBool,
}

type Registry = Mutex<HashMap<(u64, u64, u64), Weak<ProcessLock>>>;
static REGISTRY: std::sync::LazyLock<Registry> = std::sync::LazyLock::new(Registry::default);

fn request(kind: libc::c_int, byte: u16) -> libc::flock {
    // SAFETY: `flock` is a plain C struct of integers; all zeros is a valid value.
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    request.l_type = kind as libc::c_short;
    request.l_whence = libc::SEEK_SET as libc::c_short;
    request.l_start = byte.into();
    request.l_len = 1;
    request
}

fn control(file: &File, command: libc::c_int, request: &mut libc::flock) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open (`file` is borrowed) and the request outlives the call.
        if unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(request)) } != -1 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn try_lock(file: &File, byte: u16) -> io::Result<bool> {
    match control(file, libc::F_SETLK, &mut request(libc::F_WRLCK, byte)) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

impl ProcessLock {
    /// This process's lock for a lock file; the same object for every handle of the process.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyProcesses`], or the system's error.
    pub fn obtain(path: &Path) -> Result<Arc<Self>> {
        let failed = |source| Error::Io {
            action: "locking",
            path: path.to_owned(),
            source,
        };
        // Identity first, by name: opening and closing the file again would drop the lock we may already hold.
        let metadata = std::fs::metadata(path).map_err(failed)?;
        let key = (metadata.dev(), metadata.ino(), fork::generation());
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = registry.get(&key).and_then(Weak::upgrade) {
            return Ok(lock);
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        for owner in 1..=MAX_OWNERS {
            if try_lock(&file, owner).map_err(failed)? {
                let lock = Arc::new(Self {
                    file: Some(file),
                    owner,
                    fork_generation: key.2,
                    maintenance: Mutex::new(()),
                    is_swept: AtomicBool::new(false),
                    has_priorities: AtomicBool::new(false),
                });
                registry.retain(|_, lock| lock.strong_count() > 0);
                registry.insert(key, Arc::downgrade(&lock));
                return Ok(lock);
            }
        }
        Err(Error::TooManyProcesses {
            path: path.to_owned(),
            limit: MAX_OWNERS,
        })
    }

    /// The number under which this process owns blocks.
    pub fn owner(&self) -> u16 {
        self.owner
    }

    /// Takes the process's lock again; false if another process got its number, that is, if it was lost.
    pub fn renew(&self) -> bool {
        self.file
            .as_ref()
            .is_some_and(|file| try_lock(file, self.owner).unwrap_or(false))
    }

    /// True for the first caller: blocks of an earlier process with this number are to be given back once.
    pub fn must_sweep(&self) -> bool {
        !self.is_swept.swap(true, Ordering::Relaxed)
    }

    /// True for the first caller, as [`ProcessLock::must_sweep`], for the priorities.
    pub fn must_sweep_priorities(&self) -> bool {
        !self.has_priorities.swap(true, Ordering::Relaxed)
    }

    /// Whether any other process holds a writer's byte.
    pub fn has_company(&self) -> bool {
        let mut asked = request(libc::F_WRLCK, 1);
        asked.l_len = i64::from(MAX_OWNERS);
        self.ask(asked)
    }

    fn ask(&self, mut asked: libc::flock) -> bool {
        // When in doubt, alive: taking a living writer's block is the one thing that must not happen.
        self.file
            .as_ref()
            .is_none_or(|file| match control(file, libc::F_GETLK, &mut asked) {
                Ok(()) => asked.l_type != libc::F_UNLCK as libc::c_short,
                Err(_) => true,
            })
    }

    /// Waits for the maintenance lock, against threads and other processes alike.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn maintain(&self) -> io::Result<Maintenance<'_>> {
        let thread = self
            .maintenance
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        control(
            file,
            libc::F_SETLKW,
            &mut request(libc::F_WRLCK, MAINTENANCE),
        )?;
        Ok(Maintenance {
            file,
            _thread: thread,
        })
    }
}

impl Liveness for ProcessLock {
    fn is_alive(&self, owner: u16) -> bool {
        owner == self.owner || self.ask(request(libc::F_WRLCK, owner))
    }
}

impl Drop for ProcessLock {
    fn drop(&mut self) {
        // In a forked child, closing the inherited descriptor would drop the child's own locks on the same file.
        if self.fork_generation != fork::generation() {
            std::mem::forget(self.file.take());
        }
    }
}

/// The maintenance lock, until dropped.
pub struct Maintenance<'a> {
    file: &'a File,
    _thread: MutexGuard<'a, ()>,
}

impl Drop for Maintenance<'_> {
    fn drop(&mut self) {
        // Unlocking can fail only for a closed descriptor, and `file` is borrowed; the end of the process unlocks too.
        let _ = control(
            self.file,
            libc::F_SETLK,
            &mut request(libc::F_UNLCK, MAINTENANCE),
        );
    }
}
