//! An open replay buffer.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as StdOrdering};

use crate::directory::{self, Parts};
use crate::error::{Error, Result};
use crate::flush::{self, Disk};
use crate::layout::{BOOT, CLEAN, Geometry, RowLayout};
use crate::locks::ProcessLock;
use crate::manifest::{Manifest, NameTable};
use crate::priorities::{self, PriorityTree};
use crate::ring::{Liveness, Ring};
use crate::schema::Schema;
use crate::storage::Storage;
use crate::storage::mmap::MmapStorage;
use crate::sync::Ordering;
use crate::{checks, filesystem, fork, recovery};

/// A handle on a buffer's directory, for one process.
pub struct Buffer {
    path: PathBuf,
    schema: Schema,
    ring: Ring<MmapStorage>,
    lock: Option<Arc<ProcessLock>>,
    fork_generation: u64,
    is_closed: AtomicBool,
    warning: Option<&'static str>,
}

/// How a new buffer is laid out.
#[derive(Clone, Copy, Debug)]
pub struct CreateOptions {
    /// Rows to hold, rounded up to whole blocks.
    pub capacity_rows: u64,
    /// Rows in a block.
    pub block_rows: u32,
    /// How many streams will write at the same time, if known: checked against the number of blocks.
    pub streams_hint: Option<u32>,
}

impl Buffer {
    /// Makes a new buffer and opens it for writing. Leaves nothing behind if that fails.
    ///
    /// # Errors
    ///
    /// As [`directory::create`] and [`Buffer::open`]; [`Error::Argument`] for sizes out of range.
    pub fn create(path: &Path, schema: &Schema, options: CreateOptions) -> Result<Self> {
        let geometry = Geometry::new(
            &RowLayout::new(schema)?,
            options.capacity_rows,
            options.block_rows,
        )?;
        if let Some(streams) = options.streams_hint
            && u64::from(streams) * 2 > u64::from(geometry.blocks)
        {
            return Err(Error::Argument(format!(
                "{streams} streams need at least {} blocks, capacity_rows {} gives {} of {} rows; \
                 raise capacity_rows or lower block_rows",
                u64::from(streams) * 2,
                options.capacity_rows,
                geometry.blocks,
                options.block_rows
            )));
        }
        let manifest = Manifest::new(schema, options.capacity_rows, options.block_rows);
        directory::create(path, &manifest, schema, &geometry)?;
        Self::open(path, false, None)
    }

    /// Opens a buffer.
    ///
    /// # Errors
    ///
    /// As [`directory::open`]; [`Error::SchemaMismatch`], [`Error::FileSystem`], [`Error::TooManyProcesses`], and for a
    /// read-only handle [`Error::NeedsRecovery`].
    pub fn open(path: &Path, is_read_only: bool, expected: Option<&Schema>) -> Result<Self> {
        let Parts {
            schema,
            row,
            geometry,
            table,
            rows,
            ..
        } = directory::open(path, is_read_only)?;
        if let Some(differences) = expected.and_then(|expected| schema.differences(expected)) {
            return Err(Error::SchemaMismatch {
                path: path.to_owned(),
                differences,
            });
        }
        let warning = filesystem::check_kind(path)?;
        let lock = if is_read_only {
            None
        } else {
            Some(ProcessLock::obtain(&path.join(directory::LOCKS))?)
        };
        let storage =
            MmapStorage::map(&table, &rows, &geometry, is_read_only).map_err(|source| {
                Error::Io {
                    action: "mapping",
                    path: path.to_owned(),
                    source,
                }
            })?;
        let hash = schema.hash();
        let buffer = Self {
            path: path.to_owned(),
            schema,
            ring: Ring::new(storage, row, geometry, hash),
            lock,
            fork_generation: fork::generation(),
            is_closed: AtomicBool::new(false),
            warning,
        };
        buffer.settle_in(&table)?;
        Ok(buffer)
    }

    /// Makes sure that the table can be trusted, and marks the buffer as being written.
    fn settle_in(&self, table: &File) -> Result<()> {
        let word = |index| self.ring.storage().table(index);
        let boot = filesystem::boot_id();
        let is_same_boot = BOOT
            .iter()
            .zip(boot)
            .all(|(&index, id)| word(index).load(Ordering::Acquire) == id);
        let is_trusted =
            word(CLEAN).load(Ordering::Acquire) == 1 || (is_same_boot && boot != [0, 0]);
        let Some(lock) = &self.lock else {
            return if is_trusted {
                Ok(())
            } else {
                Err(Error::NeedsRecovery {
                    path: self.path.clone(),
                })
            };
        };
        let failed = |source| Error::Io {
            action: "preparing",
            path: self.path.clone(),
            source,
        };
        let _maintenance = lock.maintain().map_err(failed)?;
        if lock.must_sweep() {
            recovery::give_back(&self.ring, table, lock.owner()).map_err(failed)?;
        }
        let is_clean = word(CLEAN).load(Ordering::Acquire) == 1;
        let is_same_boot = BOOT
            .iter()
            .zip(boot)
            .all(|(&index, id)| word(index).load(Ordering::Acquire) == id);
        let is_trusted = is_clean || (is_same_boot && boot != [0, 0]);
        // With company, another process has opened the buffer since the boot, and has rebuilt it if need be.
        if !is_trusted && !lock.has_company() {
            let storage = self.ring.storage();
            checks::rebuild(&self.ring, flush::last_snapshot(&self.ring).as_ref());
            priorities::forget(&self.path).map_err(failed)?;
            storage.sync_rows().map_err(failed)?;
            let table_bytes = self.ring.geometry().table_bytes();
            storage.sync_table(0, table_bytes).map_err(failed)?;
        }
        if is_clean || !is_same_boot {
            for (&index, id) in BOOT.iter().zip(boot) {
                word(index).store(id, Ordering::Release);
            }
            word(CLEAN).store(0, Ordering::Release);
            // On the disk before the first row, or a power cut could leave torn rows under a clean flag.
            self.ring.storage().sync_live_page().map_err(failed)?;
        }
        Ok(())
    }

    /// Fails if the handle can't be used (any more).
    ///
    /// # Errors
    ///
    /// [`Error::Forked`], [`Error::Closed`].
    pub fn check(&self) -> Result<()> {
        if self.fork_generation != fork::generation() {
            return Err(Error::Forked {
                path: self.path.clone(),
            });
        }
        if self.is_closed.load(StdOrdering::Relaxed) {
            return Err(Error::Closed {
                path: self.path.clone(),
            });
        }
        Ok(())
    }

    /// The process's lock, if the handle may write.
    ///
    /// # Errors
    ///
    /// As [`Buffer::check`]; [`Error::ReadOnly`].
    pub fn writing_lock(&self) -> Result<&Arc<ProcessLock>> {
        self.check()?;
        self.lock.as_ref().ok_or_else(|| Error::ReadOnly {
            path: self.path.clone(),
        })
    }

    /// Makes every row that was acknowledged before the call, by whichever process, survive a power cut after it.
    ///
    /// # Errors
    ///
    /// As [`Buffer::writing_lock`]; the system's error, and then only the flush before stands.
    pub fn flush(&self) -> Result<()> {
        let lock = self.writing_lock()?;
        let failed = |source| Error::Io {
            action: "flushing",
            path: self.path.clone(),
            source,
        };
        let _maintenance = lock.maintain().map_err(failed)?;
        flush::flush(&self.ring, self.ring.storage()).map_err(failed)
    }

    /// The shared priorities of the rows, made at the first call, and this process's number among their users.
    ///
    /// # Errors
    ///
    /// As [`Buffer::writing_lock`] and [`priorities::open`].
    pub fn priorities(&self, exponent: f64) -> Result<(Arc<PriorityTree>, u16)> {
        let lock = self.writing_lock()?;
        if !(0.0..=10.0).contains(&exponent) {
            return Err(Error::Argument(format!(
                "exponent is {exponent}; it must lie in [0, 10]"
            )));
        }
        let failed = |source| Error::Io {
            action: "locking",
            path: self.path.clone(),
            source,
        };
        let _maintenance = lock.maintain().map_err(failed)?;
        // What a dead process of this one's number left under way isn't this one's; its own handles share the lock.
        let is_first = lock.must_sweep_priorities();
        let is_alive = |owner| {
            if owner == lock.owner() {
                !is_first
            } else {
                lock.is_alive(owner)
            }
        };
        let hash = self.schema.hash();
        let tree = priorities::open(&self.path, hash, self.ring.geometry(), exponent, is_alive)?;
        Ok((Arc::new(tree), lock.owner()))
    }

    /// Ends the handle's use. The last writer of all processes syncs the files and marks them clean.
    ///
    /// # Errors
    ///
    /// The system's error while syncing; the handle is closed all the same.
    pub fn close(&self) -> Result<()> {
        if self.check().is_err() || self.is_closed.swap(true, StdOrdering::Relaxed) {
            return Ok(());
        }
        let Some(lock) = &self.lock else {
            return Ok(());
        };
        let failed = |source| Error::Io {
            action: "syncing",
            path: self.path.clone(),
            source,
        };
        let _maintenance = lock.maintain().map_err(failed)?;
        // Handles of this process share the lock object: others besides this one and the registry's weak one count.
        if Arc::strong_count(lock) > 1 || lock.has_company() {
            return Ok(());
        }
        flush::flush(&self.ring, self.ring.storage()).map_err(failed)?;
        self.ring.storage().table(CLEAN).store(1, Ordering::Release);
        self.ring.storage().sync_live_page().map_err(failed)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<MmapStorage> {
        &self.ring
    }

    /// Whether the handle can't write.
    pub fn is_read_only(&self) -> bool {
        self.lock.is_none()
    }

    /// Whether the handle was closed.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(StdOrdering::Relaxed)
    }

    /// The name of a copy-on-write file system below the buffer, where a reservation isn't a promise.
    pub fn copy_on_write(&self) -> Option<&'static str> {
        self.warning
    }

    /// The index of a name in a table, which gets it if it is new. Stable for the buffer's life.
    ///
    /// # Errors
    ///
    /// As [`Buffer::check`]; [`Error::ReadOnly`] for a new name on a read-only handle; [`Error::Argument`] when the
    /// table is full.
    pub fn name_index(&self, table: NameTable, name: &str) -> Result<u16> {
        self.check()?;
        let find = |names: &[String]| names.iter().position(|known| known == name);
        let (mut manifest, _) = Manifest::read(&self.path)?;
        if let Some(index) = find(manifest.table(table)) {
            return index_u16(index);
        }
        let lock = self.writing_lock()?;
        let failed = |source| Error::Io {
            action: "locking",
            path: self.path.clone(),
            source,
        };
        let _maintenance = lock.maintain().map_err(failed)?;
        let (mut manifest, _) = Manifest::read(&self.path)?;
        let names = manifest.table(table);
        if let Some(index) = find(names) {
            return index_u16(index);
        }
        let index = index_u16(names.len())?;
        names.push(name.to_owned());
        manifest.write(&self.path)?;
        Ok(index)
    }

    /// The names of a table, by index.
    ///
    /// # Errors
    ///
    /// As [`Buffer::check`] and [`Manifest::read`].
    pub fn names(&self, table: NameTable) -> Result<Vec<String>> {
        self.check()?;
        let (mut manifest, _) = Manifest::read(&self.path)?;
        Ok(std::mem::take(manifest.table(table)))
    }
}

fn index_u16(index: usize) -> Result<u16> {
    u16::try_from(index).map_err(|_| Error::Argument("the name table is full: 65536 names".into()))
}
