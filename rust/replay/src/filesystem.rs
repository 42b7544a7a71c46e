//! What the buffer needs to know from the file system: its kind, its room, and a reservation.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result};

/// File systems that don't keep mappings coherent between machines, or run through a user process that can stall or
/// fail any access.
const REFUSED: [(u32, &str); 14] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x0BD0_0BD0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x7375_7245, "Coda"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
];
/// File systems that copy on write: a reservation there doesn't promise room for an overwrite.
const WARNED: [(u32, &str); 3] = [
    (0x9123_683E, "btrfs"),
    (0x2FC1_2FC1, "ZFS"),
    (0xCA45_1A4E, "bcachefs"),
];

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn magic(path: &Path) -> io::Result<u32> {
    let path = c_path(path)?;
    // SAFETY: `statfs` is a plain C struct; all zeros is a valid value, and the call fills it.
    let mut info: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string and the struct outlives the call.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut info) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(info.f_type as u32)
}

/// Refuses network and FUSE file systems; returns the name of a copy-on-write one, to warn about.
///
/// # Errors
///
/// [`Error::FileSystem`], or the system's error.
pub fn check_kind(path: &Path) -> Result<Option<&'static str>> {
    let magic = magic(path).map_err(|source| Error::Io {
        action: "looking at the file system",
        path: path.to_owned(),
        source,
    })?;
    judge(path, magic)
}

fn judge(path: &Path, magic: u32) -> Result<Option<&'static str>> {
    let name_in = |list: &[(u32, &'static str)]| {
        list.iter()
            .find(|(known, _)| *known == magic)
            .map(|&(_, name)| name)
    };
    match name_in(&REFUSED) {
        Some(name) => Err(Error::FileSystem {
            path: path.to_owned(),
            name,
        }),
        None => Ok(name_in(&WARNED)),
    }
}

/// Bytes that this user can still write.
///
/// # Errors
///
/// The system's error.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = c_path(path)?;
    // SAFETY: as in `magic`.
    let mut info: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: as in `magic`.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut info) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(info.f_bavail.saturating_mul(info.f_frsize))
}

/// Reserves the file's whole length on the disk, zeroed.
///
/// # Errors
///
/// The system's error: no room, a size limit, or no support for reservations.
pub fn reserve(file: &File, length: usize) -> io::Result<()> {
    let length = libc::off_t::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    loop {
        // SAFETY: the descriptor is open (`file` is borrowed).
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Renames a directory, failing if the new name exists (a plain rename would replace an empty directory).
///
/// # Errors
///
/// The system's error; `AlreadyExists` if the new name is taken.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    // SAFETY: both are C strings that outlive the call.
    let result = unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The running boot of the machine, as two words; zeros where the system doesn't tell.
pub fn boot_id() -> [u64; 2] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let hex: String = text
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(32)
        .collect();
    let part = |range: std::ops::Range<usize>| {
        hex.get(range)
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .unwrap_or(0)
    };
    [part(0..16), part(16..32)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_fuse_are_refused_by_name_and_btrfs_is_named() {
        let path = Path::new("/somewhere");
        for (magic, name) in [
            (0x6969, "NFS"),
            (0x6573_5546, "FUSE"),
            (0xFF53_4D42, "CIFS"),
        ] {
            let message = judge(path, magic).unwrap_err().to_string();
            assert!(
                message.contains(name) && message.contains("/somewhere"),
                "{message}"
            );
        }
        assert_eq!(judge(path, 0x9123_683E).unwrap(), Some("btrfs"));
        assert_eq!(judge(path, 0xEF53).unwrap(), None);
    }
}
