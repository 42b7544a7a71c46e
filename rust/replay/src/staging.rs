//! A row on its way into the ring: where its bytes come from, and the private memory in which they are put together.

use crate::layout::{FIELDS, KeyOffsets, RowLayout};

/// A transition on its way into a row. Targets cover their whole part of the row; padding in them is zero and stays so.
pub trait RowSource {
    /// Copies the linked fields.
    fn copy_linked(&self, layout: &RowLayout, target: &mut [u8]);
    /// Copies the other fields.
    fn copy_rest(&self, layout: &RowLayout, target: &mut [u8]);
    /// Copies the next values, laid out as the linked fields.
    fn copy_next(&self, layout: &RowLayout, target: &mut [u8]);
    /// Whether the linked fields are bit for bit these.
    fn linked_is(&self, layout: &RowLayout, image: &[u8]) -> bool;
}

/// Private memory in which a row is put together, so that its checksum is that of the bytes stored, whatever another
/// thread does to the caller's arrays meanwhile.
#[derive(Debug)]
pub struct Staging {
    /// Linked fields.
    pub linked: Vec<u8>,
    /// All others.
    pub rest: Vec<u8>,
}

impl Staging {
    /// Staging for rows of that layout.
    pub fn new(layout: &RowLayout) -> Self {
        Self {
            linked: vec![0; layout.linked_end - FIELDS],
            rest: vec![0; layout.end - layout.linked_end],
        }
    }
}

/// What the protocol reads from a row's unlinked fields.
#[derive(Clone, Copy, Debug)]
pub struct RowFacts {
    /// The episode.
    pub episode_id: u64,
    /// The row's number.
    pub step_id: u64,
    /// It is terminated or truncated.
    pub is_done: bool,
    /// It is appended as a quarantined one.
    pub is_barred: bool,
}

impl RowFacts {
    /// Reads them from the bytes behind the linked fields.
    #[inline]
    pub fn read(layout: &RowLayout, rest: &[u8]) -> Self {
        let KeyOffsets {
            terminated,
            truncated,
            episode_id,
            step_id,
            quarantined,
            ..
        } = layout.key;
        let number = |offset: usize| {
            let start = offset - layout.linked_end;
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&rest[start..start + 8]);
            u64::from_ne_bytes(bytes)
        };
        let is_set = |offset: usize| rest[offset - layout.linked_end] != 0;
        Self {
            episode_id: number(episode_id),
            step_id: number(step_id),
            is_done: is_set(terminated) || is_set(truncated),
            is_barred: quarantined.is_some_and(is_set),
        }
    }
}
