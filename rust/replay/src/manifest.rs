//! `schema.json`: what a person can read about a buffer, and the name tables.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::header::{FORMAT_VERSION, foreign};
use crate::schema::{Field, Schema};

/// Name of the file.
pub const FILE: &str = "schema.json";
/// Longest file that is read.
const MAX_BYTES: u64 = 32 << 20;
const FORMAT: &str = "carla-online-replay";
const ENDIANNESS: &str = if cfg!(target_endian = "little") {
    "little"
} else {
    "big"
};

/// The content of `schema.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    version: u32,
    endianness: String,
    /// Rows that were asked for at creation.
    pub capacity_rows: u64,
    /// Rows in a block.
    pub block_rows: u32,
    /// Hexadecimal hash of the fields.
    schema_hash: String,
    fields: Vec<Field>,
    /// Names of slices; a row's `slice_id` is an index into it.
    pub slices: Vec<String>,
    /// Hashes of baselines; a row's `baseline_id` is an index into it.
    pub baselines: Vec<String>,
    /// Hashes of the frozen networks whose features the rows hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backbones: Vec<String>,
}

/// One of the tables of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameTable {
    /// Slices.
    Slices,
    /// Baseline hashes.
    Baselines,
    /// Backbone hashes.
    Backbones,
}

impl Manifest {
    /// The manifest of a new buffer.
    pub fn new(schema: &Schema, capacity_rows: u64, block_rows: u32) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: FORMAT_VERSION,
            endianness: ENDIANNESS.to_owned(),
            capacity_rows,
            block_rows,
            schema_hash: format!("{:016x}", schema.hash()),
            fields: schema.fields().to_vec(),
            slices: Vec::new(),
            baselines: Vec::new(),
            backbones: Vec::new(),
        }
    }

    /// Reads and checks the file of a buffer.
    ///
    /// # Errors
    ///
    /// [`Error::NotReplay`] if there is none, [`Error::Foreign`] for another version or byte order, [`Error::Corrupt`] for
    /// anything that doesn't hold together.
    pub fn read(directory: &Path) -> Result<(Self, Schema)> {
        let path = directory.join(FILE);
        let file = File::open(&path).map_err(|error| Error::NotReplay {
            path: directory.to_owned(),
            reason: format!("{FILE}: {error}"),
        })?;
        let mut text = String::new();
        let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
        let corrupt = |reason: String| Error::Corrupt {
            path: directory.to_owned(),
            reason: format!("{FILE}: {reason}"),
        };
        read.map_err(|error| corrupt(format!("{error}; restore it from a copy")))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(corrupt(format!("longer than {MAX_BYTES} bytes")));
        }
        // The version decides whether the rest can be understood, so it is read by itself first.
        check_identity(directory, &text)?;
        let manifest: Self = serde_json::from_str(&text)
            .map_err(|error| corrupt(format!("{error}; restore it from a copy")))?;
        let schema =
            Schema::new(manifest.fields.clone()).map_err(|error| corrupt(error.to_string()))?;
        let hash = format!("{:016x}", schema.hash());
        if hash != manifest.schema_hash {
            return Err(corrupt(format!(
                "the fields hash to {hash}, the file says {}",
                manifest.schema_hash
            )));
        }
        let longest = usize::from(u16::MAX) + 1;
        let tables = [&manifest.slices, &manifest.baselines, &manifest.backbones];
        if tables.iter().any(|names| names.len() > longest) {
            return Err(corrupt(format!("a table has more than {longest} names")));
        }
        Ok((manifest, schema))
    }

    /// Writes the file by way of a synced temporary one, so that a reader sees the old or the new text.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let temporary = directory.join(format!("{FILE}.new"));
        let failed = |source| Error::Io {
            action: "writing schema.json",
            path: directory.to_owned(),
            source,
        };
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&temporary, directory.join(FILE))?;
            File::open(directory)?.sync_all()
        };
        write().map_err(failed)
    }

    /// The names of a table.
    pub fn table(&mut self, table: NameTable) -> &mut Vec<String> {
        match table {
            NameTable::Slices => &mut self.slices,
            NameTable::Baselines => &mut self.baselines,
            NameTable::Backbones => &mut self.backbones,
        }
    }
}

#[derive(Deserialize)]
struct Identity {
    format: Option<String>,
    version: Option<u32>,
    endianness: Option<String>,
}

fn check_identity(directory: &Path, text: &str) -> Result<()> {
    let identity: Identity = serde_json::from_str(text).map_err(|error| Error::Corrupt {
        path: directory.to_owned(),
        reason: format!("{FILE}: {error}; restore it from a copy"),
    })?;
    if identity.format.as_deref() != Some(FORMAT) {
        let reason = format!(
            "{FILE} has format {:?}, not {FORMAT:?}",
            identity.format.unwrap_or_default()
        );
        return Err(Error::NotReplay {
            path: directory.to_owned(),
            reason,
        });
    }
    if identity.version != Some(FORMAT_VERSION) {
        let seen = identity
            .version
            .map_or_else(|| "none".to_owned(), |version| version.to_string());
        let expected = FORMAT_VERSION.to_string();
        return Err(foreign(
            directory,
            "format version",
            &seen,
            &expected,
            "open it with the release that wrote it",
        ));
    }
    match identity.endianness.as_deref() {
        Some(ENDIANNESS) => Ok(()),
        seen => {
            let seen = seen.unwrap_or("none");
            Err(foreign(
                directory,
                "byte order",
                seen,
                ENDIANNESS,
                "open it on such a machine",
            ))
        }
    }
}
