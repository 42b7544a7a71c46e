//! The files of a buffer: making them all or none, and opening them with every length checked.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::filesystem;
use crate::header::{COPY_BYTES, Header};
use crate::layout::{CLEAN, Geometry, HEADERS_BYTES, RowLayout};
use crate::manifest::Manifest;
use crate::schema::Schema;

/// The mapped table.
pub const TABLE: &str = "table.bin";
/// The mapped rows.
pub const ROWS: &str = "rows.bin";
/// The file whose bytes the writers lock.
pub const LOCKS: &str = "writers.lock";

/// The checked parts of a buffer's directory.
pub struct Parts {
    /// The manifest.
    pub manifest: Manifest,
    /// Its schema.
    pub schema: Schema,
    /// Layout of a row.
    pub row: RowLayout,
    /// Geometry of the ring.
    pub geometry: Geometry,
    /// The table file.
    pub table: File,
    /// The data file.
    pub rows: File,
}

/// Makes the directory of a new buffer, with all its disk space reserved, or leaves nothing behind.
///
/// # Errors
///
/// [`Error::Exists`], [`Error::DiskFull`], [`Error::FileSystem`], or what the system says.
pub fn create(
    path: &Path,
    manifest: &Manifest,
    schema: &Schema,
    geometry: &Geometry,
) -> Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(Error::Exists {
            path: path.to_owned(),
        });
    }
    let name = path.file_name().ok_or_else(|| {
        Error::Argument(format!(
            "{} doesn't name a directory to create",
            path.display()
        ))
    })?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let made = make_parents(parent)?;
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(format!(".new-{}", std::process::id()));
    let temporary = parent.join(temporary_name);
    let result = fill(&temporary, manifest, schema, geometry, path);
    if result.is_err() {
        // The first error is the one to tell; what can't be removed shows in the listing.
        let _ = fs::remove_dir_all(&temporary);
        for directory in made.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
    result
}

fn make_parents(parent: &Path) -> Result<Vec<PathBuf>> {
    let mut missing: Vec<PathBuf> = parent
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    fs::create_dir_all(parent).map_err(|source| Error::Io {
        action: "making the parent directory",
        path: parent.to_owned(),
        source,
    })?;
    Ok(missing)
}

fn fill(
    temporary: &Path,
    manifest: &Manifest,
    schema: &Schema,
    geometry: &Geometry,
    path: &Path,
) -> Result<()> {
    let failed = |action| {
        move |source| Error::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    DirBuilder::new()
        .mode(0o700)
        .create(temporary)
        .map_err(failed("making the directory"))?;
    filesystem::check_kind(temporary)?;
    let create = |name: &str| {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(temporary.join(name))
    };
    let full = |error: io::Error| full_or_failed(path, temporary, geometry, error);
    // A reservation that runs out of room would fill the disk for everybody else before it fails.
    let needed_bytes = geometry.data_bytes as u64 + geometry.table_bytes() as u64;
    if filesystem::free_bytes(temporary).is_ok_and(|free_bytes| free_bytes < needed_bytes) {
        return Err(full(io::Error::from_raw_os_error(libc::ENOSPC)));
    }
    let rows = create(ROWS).map_err(full)?;
    let mut table = create(TABLE).map_err(full)?;
    filesystem::reserve(&rows, geometry.data_bytes).map_err(full)?;
    filesystem::reserve(&table, geometry.table_bytes()).map_err(full)?;
    let header = Header::new(schema.hash(), geometry);
    let mut head = [header.encode(), header.encode()].concat();
    debug_assert!(head.len() == HEADERS_BYTES && head.len() == 2 * COPY_BYTES);
    head.resize(HEADERS_BYTES + 8 * CLEAN, 0);
    head.extend_from_slice(&1_u64.to_ne_bytes());
    table.write_all(&head).map_err(full)?;
    create(LOCKS).map_err(full)?;
    manifest.write(temporary)?;
    for file in [&rows, &table] {
        file.sync_all().map_err(full)?;
    }
    match filesystem::rename_new(temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists {
            path: path.to_owned(),
        }),
        other => other.map_err(failed("naming the directory")),
    }
}

fn full_or_failed(path: &Path, temporary: &Path, geometry: &Geometry, source: io::Error) -> Error {
    let is_full = matches!(
        source.raw_os_error(),
        Some(libc::ENOSPC | libc::EFBIG | libc::EDQUOT)
    );
    if !is_full {
        return Error::Io {
            action: "reserving disk space",
            path: path.to_owned(),
            source,
        };
    }
    let free_bytes = filesystem::free_bytes(temporary).unwrap_or(0);
    let needed_bytes = geometry.data_bytes as u64 + geometry.table_bytes() as u64;
    Error::DiskFull {
        path: path.to_owned(),
        needed_bytes,
        free_bytes,
    }
}

/// Opens the files of a buffer and checks them against each other.
///
/// # Errors
///
/// [`Error::NotReplay`], [`Error::Foreign`], [`Error::Corrupt`], or what the system says.
pub fn open(path: &Path, is_read_only: bool) -> Result<Parts> {
    let (manifest, schema) = Manifest::read(path)?;
    let row = RowLayout::new(&schema)?;
    let geometry = Geometry::new(&row, manifest.capacity_rows, manifest.block_rows)
        .map_err(|error| corrupt(path, &format!("schema.json: {error}")))?;
    let table = open_file(path, TABLE, is_read_only, geometry.table_bytes())?;
    let rows = open_file(path, ROWS, is_read_only, geometry.data_bytes)?;
    let mut copies = vec![0; HEADERS_BYTES];
    (&table)
        .read_exact(&mut copies)
        .map_err(|error| corrupt(path, &format!("table.bin: {error}")))?;
    let header = Header::decode(path, &copies)?;
    let expected = Header {
        sequence: header.sequence,
        snapshot_checksum: header.snapshot_checksum,
        ..Header::new(schema.hash(), &geometry)
    };
    if header != expected {
        return Err(corrupt(
            path,
            "table.bin and schema.json belong to different buffers; restore both from one copy",
        ));
    }
    Ok(Parts {
        manifest,
        schema,
        row,
        geometry,
        table,
        rows,
    })
}

fn corrupt(path: &Path, reason: &str) -> Error {
    Error::Corrupt {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

fn open_file(path: &Path, name: &str, is_read_only: bool, expected_bytes: usize) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(!is_read_only)
        .open(path.join(name))
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                corrupt(path, &format!("{name} is missing; restore it from a copy"))
            }
            _ => Error::Io {
                action: "opening a file",
                path: path.join(name),
                source: error,
            },
        })?;
    let metadata = file.metadata().map_err(|source| Error::Io {
        action: "opening a file",
        path: path.join(name),
        source,
    })?;
    if !metadata.is_file() || metadata.len() != expected_bytes as u64 {
        let reason = format!(
            "{name} is {} bytes long, it must be a file of {expected_bytes}; restore it from a copy",
            metadata.len()
        );
        return Err(corrupt(path, &reason));
    }
    Ok(file)
}
