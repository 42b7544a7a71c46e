//! The mapped file of a priority tree. Derived data: a file that doesn't fit is made anew.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use memmap2::{MmapOptions, MmapRaw};

use super::{PriorityTree, Shape, Words};
use crate::error::{Error, Result};
use crate::filesystem;
use crate::layout::Geometry;
use crate::storage::pages::prefer_large;
use crate::sync::{AtomicU64, Ordering};

/// Name of the file.
const FILE: &str = "priorities.bin";
const MAGIC: u64 = u64::from_ne_bytes(*b"COPRIOR0");
/// Header words: magic, schema hash, geometry, exponent, and the machine's boot.
const HEADER_WORDS: usize = 4;
const BOOT: [usize; 2] = [HEADER_WORDS, HEADER_WORDS + 1];

/// A mapped file as atomic words.
pub struct MappedWords {
    map: MmapRaw,
    words: usize,
}

impl MappedWords {
    #[allow(clippy::cast_ptr_alignment)] // mappings start on pages
    pub fn all(&self) -> &[AtomicU64] {
        // SAFETY: the mapping holds that many words (its length was checked against the file's), is aligned to pages,
        // lives as long as `self`, and is only ever accessed atomically.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), self.words) }
    }
}

fn header(schema_hash: u64, geometry: &Geometry, exponent: f64) -> [u64; HEADER_WORDS] {
    let size = u64::from(geometry.blocks) << 32 | u64::from(geometry.block_rows);
    [MAGIC, schema_hash, size, exponent.to_bits()]
}

/// Opens the tree of a buffer's directory, or makes it. The caller holds the buffer's maintenance lock.
///
/// # Errors
///
/// [`Error::Argument`] if the tree was made with another exponent; what the system says.
pub fn open(
    directory: &Path,
    schema_hash: u64,
    geometry: &Geometry,
    exponent: f64,
    is_alive: impl Fn(u16) -> bool,
) -> Result<PriorityTree> {
    let path = directory.join(FILE);
    let failed = |source| Error::Io {
        action: "opening the priorities",
        path: path.clone(),
        source,
    };
    let too_long = || Error::Argument("the ring has too many places for priorities".into());
    let places = usize::try_from(geometry.capacity_rows()).map_err(|_| too_long())?;
    let shape = Shape::new(places).ok_or_else(too_long)?;
    let expected = header(schema_hash, geometry, exponent);
    let (file, is_fresh) = match open_file(&path, &shape) {
        Some(file) => (file, false),
        None => (make(&path, &shape, &expected).map_err(failed)?, true),
    };
    let map = MmapOptions::new()
        .len(8 * shape.words)
        .map_raw(&file)
        .map_err(failed)?;
    prefer_large(&map);
    let words = MappedWords {
        map,
        words: shape.words,
    };
    let seen: Vec<u64> = words.all()[..HEADER_WORDS]
        .iter()
        .map(|word| word.load(Ordering::Acquire))
        .collect();
    if seen[..3] != expected[..3] {
        // Of another buffer, or damaged: nothing in it can be used.
        drop(words);
        fs::remove_file(&path).map_err(failed)?;
        return open(directory, schema_hash, geometry, exponent, is_alive);
    }
    if seen[3] != expected[3] {
        return Err(Error::Argument(format!(
            "the priorities of {} were made with exponent {}, not {exponent}; use that exponent, or delete {FILE} \
             while nobody samples",
            directory.display(),
            f64::from_bits(seen[3]),
        )));
    }
    let boot = filesystem::boot_id();
    let word = |index: usize| &words.all()[index];
    let is_same_boot = BOOT
        .iter()
        .zip(boot)
        .all(|(&index, id)| word(index).load(Ordering::Acquire) == id);
    for (&index, id) in BOOT.iter().zip(boot) {
        word(index).store(id, Ordering::Release);
    }
    let tree = PriorityTree::over(Words::Mapped(words), shape, geometry.block_rows, exponent);
    if !is_fresh && (!is_same_boot || tree.needs_repair(&is_alive)) {
        tree.repair(is_alive);
    }
    Ok(tree)
}

/// Drops the tree of a buffer that nobody has open.
///
/// # Errors
///
/// What the system says.
pub fn forget(directory: &Path) -> std::io::Result<()> {
    match fs::remove_file(directory.join(FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_file(path: &Path, shape: &Shape) -> Option<File> {
    let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    (metadata.is_file() && metadata.len() == 8 * shape.words as u64).then_some(file)
}

/// Makes the file under a temporary name, its space reserved, and renames it.
fn make(path: &Path, shape: &Shape, header: &[u64]) -> std::io::Result<File> {
    use std::os::unix::fs::FileExt;
    let temporary = path.with_extension("new");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    let made = filesystem::reserve(&file, 8 * shape.words).and_then(|()| {
        let bytes: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
        file.write_all_at(&bytes, 0)?;
        fs::rename(&temporary, path)
    });
    if made.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    made.map(|()| file)
}
