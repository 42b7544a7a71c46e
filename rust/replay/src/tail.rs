//! How a stream ends: its last row, and the values behind it.

use crate::layout::{FIELDS, LINKED_CHECKSUM};
use crate::ring::Ring;
use crate::storage::Storage;
use crate::word::{BlockLink, BlockWord};

/// What a stream knows of its last row.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// There was a last row.
    pub is_known: bool,
    /// Place `count` holds the last row's next values, and no mark yet.
    pub is_pending: bool,
    /// The last row ended its episode.
    pub is_done: bool,
    /// Its episode.
    pub episode_id: u64,
    /// The last row's next values.
    pub next: Vec<u8>,
}

/// Finds out how a block that nobody writes ends; `None` if its bytes don't pass their checksum.
pub fn read_tail<S: Storage>(ring: &Ring<S>, link: BlockLink, word: BlockWord) -> Option<Tail> {
    let Some(last) = u32::from(word.count).checked_sub(1) else {
        return Some(Tail::default());
    };
    let mark = ring.mark(link.block, last)?;
    if !mark.is_row() {
        return Some(Tail::default());
    }
    let layout = ring.row();
    let offset = ring.geometry().row_offset(layout, link.block, last + 1);
    let mut next = vec![0; layout.linked_end - LINKED_CHECKSUM];
    ring.storage().read(offset + LINKED_CHECKSUM, &mut next);
    let values = next.split_off(FIELDS - LINKED_CHECKSUM);
    let stored = u64::from_le_bytes(next.try_into().ok()?);
    let expected = ring
        .seed(link.block, link.generation)
        .linked(last + 1, &values);
    (stored == u64::from(expected)).then(|| Tail {
        is_known: true,
        is_pending: true,
        is_done: ring.is_done(link.block, last, mark),
        episode_id: u64::from_ne_bytes(ring.read_number(link.block, last, layout.key.episode_id)),
        next: values,
    })
}
