//! Pages of 2 MB for mapped files, where the system has them.
//!
//! Rows are drawn at random from hundreds of megabytes, so with pages of 4 kB nearly every row is a miss of the
//! processor's table of pages, and every first touch of a page a fault. Linux maps files in large pages if asked to, where
//! the file system holds them so (seen on ext4 with Linux 6.18); elsewhere the request has no effect (seen on tmpfs).

use memmap2::MmapRaw;

/// Asks for large pages, unless the file outgrows half of the memory: rows come from the disk then, and a page of 2 MB
/// for each would be too much.
pub fn prefer_large(map: &MmapRaw) {
    #[cfg(target_os = "linux")]
    if map.len() <= memory_bytes() / 2 {
        // Refused by kernels without them: the pages stay small.
        let _ = map.advise(memmap2::Advice::HugePage);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = map;
}

#[cfg(target_os = "linux")]
fn memory_bytes() -> usize {
    // SAFETY: only reads numbers of the system.
    let (pages, page_bytes) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    let number = |value| usize::try_from(value).unwrap_or(0);
    number(pages).saturating_mul(number(page_bytes))
}
