//! Copying rows out of the ring into columns, n steps ahead, with the check that nothing moved meanwhile.

use crate::ring::Ring;
use crate::storage::Storage;
use crate::sync::{Ordering, fence};
use crate::word::{BlockLink, Mark};

/// Where sampled rows go: one column per field, one per linked field for the next values, and the returns.
///
/// Each column holds `batch` items of its field's size, in schema order.
pub struct Columns<'a> {
    /// One column per field.
    pub fields: Vec<&'a mut [u8]>,
    /// One column per linked field.
    pub next: Vec<&'a mut [u8]>,
    /// Discounted reward sums, f32 in native byte order.
    pub n_step_reward: &'a mut [u8],
    /// What the next value's estimate is multiplied with, f32 in native byte order.
    pub discount: &'a mut [u8],
}

/// How far returns look ahead.
#[derive(Clone, Copy, Debug)]
pub struct Horizon {
    /// Most rows in a return, at least 1.
    pub steps: u32,
    /// Discount per step, in [0, 1].
    pub gamma: f64,
}

/// Which rows may be returned.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// Highest `step_id`.
    pub watermark: u64,
    /// Whether quarantined rows and rows of weight 0 are passed over.
    pub only_sampleable: bool,
}

/// One place of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Block.
    pub block: u32,
    /// Place in the block.
    pub place: u32,
}

/// A return's reach: the rows it sums, and where its next values lie.
struct Window {
    end: Position,
    reward: f64,
    discount: f64,
}

/// Copies rows; keeps its lists between calls.
pub struct Gather {
    horizon: Horizon,
    visited: Vec<BlockLink>,
}

impl Gather {
    /// A copier for returns of that reach.
    pub fn new(horizon: Horizon) -> Self {
        Self {
            horizon,
            visited: Vec::new(),
        }
    }

    /// Hints that a row will be copied.
    #[inline]
    pub fn prefetch<S: Storage>(ring: &Ring<S>, position: Position) {
        let layout = ring.row();
        let offset = ring
            .geometry()
            .row_offset(layout, position.block, position.place);
        // Beyond some lines the processor's own prefetcher is faster than hints (measured on 27 kB rows).
        ring.storage()
            .prefetch(offset, (layout.stride + layout.linked_end).min(1536));
    }

    /// Every place with a row that passes, in (block, place) order.
    pub fn list<S: Storage>(&self, ring: &Ring<S>, filter: Filter) -> Vec<Position> {
        (0..ring.claimed_blocks())
            .flat_map(|block| Self::list_block(ring, block, filter))
            .collect()
    }

    /// As [`Gather::list`], of one block.
    pub fn list_block<S: Storage>(
        ring: &Ring<S>,
        block: u32,
        filter: Filter,
    ) -> impl Iterator<Item = Position> + '_ {
        (0..u32::from(ring.word(block).count))
            .map(move |place| Position { block, place })
            .filter(move |&position| passing_mark(ring, position, filter).is_some())
    }

    /// Copies one row to index `at` of the columns. False if the place holds no row that passes, or was reused during
    /// the copy; the columns at that index are then unspecified.
    pub fn row<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        position: Position,
        filter: Filter,
        columns: &mut Columns<'_>,
        at: usize,
    ) -> bool {
        let word = ring.word(position.block);
        if position.place >= u32::from(word.count) {
            return false;
        }
        let Some(mark) = passing_mark(ring, position, filter) else {
            return false;
        };
        self.visited.clear();
        self.visited.push(BlockLink {
            block: position.block,
            generation: word.generation,
        });
        let window = self.window(ring, position, mark, u32::from(word.count), filter);
        copy_fields(ring, position, columns, at);
        patch(ring, mark, columns, at);
        copy_next(ring, window.end, columns, at);
        store_f32(columns.n_step_reward, at, window.reward);
        store_f32(columns.discount, at, window.discount);
        fence(Ordering::Acquire);
        self.visited.iter().all(|&link| ring.is_still(link))
    }

    /// Walks from a row to the end of its return: the horizon, the episode's end, a broken link, or the watermark.
    fn window<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        start: Position,
        mark: Mark,
        count: u32,
        filter: Filter,
    ) -> Window {
        let key = &ring.row().key;
        let mut window = Window {
            end: start,
            reward: 0.0,
            discount: 1.0,
        };
        let (mut mark, mut count) = (mark, count);
        for step in 1..=self.horizon.steps {
            let Position { block, place } = window.end;
            window.reward += window.discount
                * f64::from(f32::from_ne_bytes(
                    ring.read_number(block, place, key.reward),
                ));
            window.discount *= self.horizon.gamma;
            if ring.read_number::<1>(block, place, key.terminated) != [0] {
                window.discount = 0.0;
                break;
            }
            if step == self.horizon.steps || ring.is_done(block, place, mark) {
                break;
            }
            let Some((position, limit)) = self.follow(ring, window.end, count) else {
                break;
            };
            let Some(next_mark) = passing_mark(ring, position, filter) else {
                break;
            };
            (window.end, mark, count) = (position, next_mark, limit);
        }
        window
    }

    /// The place after a row of an open episode, with its block's count.
    fn follow<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        from: Position,
        count: u32,
    ) -> Option<(Position, u32)> {
        if from.place + 1 < ring.geometry().block_rows {
            let next = Position {
                place: from.place + 1,
                ..from
            };
            return (next.place < count).then_some((next, count));
        }
        let link = ring.successor(from.block)?;
        let word = ring.word(link.block);
        if word.generation != link.generation || word.count == 0 {
            return None;
        }
        self.visited.push(link);
        Some((
            Position {
                block: link.block,
                place: 0,
            },
            u32::from(word.count),
        ))
    }
}

/// Writes what flags say over what the fields say.
fn patch<S: Storage>(ring: &Ring<S>, mark: Mark, columns: &mut Columns<'_>, at: usize) {
    let key = &ring.row().key;
    if mark.has(Mark::CUT) {
        columns.fields[key.truncated_field][at] = 1;
    }
    if let Some(field) = key
        .quarantined_field
        .filter(|_| mark.has(Mark::QUARANTINED))
    {
        columns.fields[field][at] = 1;
    }
}

/// The mark of a place if a row stands there that passes the filter.
#[inline]
fn passing_mark<S: Storage>(ring: &Ring<S>, at: Position, filter: Filter) -> Option<Mark> {
    let mark = ring.mark(at.block, at.place).filter(|mark| mark.is_row())?;
    let key = &ring.row().key;
    if u64::from_ne_bytes(ring.read_number(at.block, at.place, key.step_id)) > filter.watermark {
        return None;
    }
    if !filter.only_sampleable {
        return Some(mark);
    }
    let is_quarantined = mark.has(Mark::QUARANTINED)
        || key
            .quarantined
            .is_some_and(|offset| ring.read_number::<1>(at.block, at.place, offset) != [0]);
    let is_weightless = key.weight.is_some_and(|offset| {
        f32::from_ne_bytes(ring.read_number(at.block, at.place, offset)) == 0.0
    });
    (!is_quarantined && !is_weightless).then_some(mark)
}

fn copy_fields<S: Storage>(ring: &Ring<S>, from: Position, columns: &mut Columns<'_>, at: usize) {
    let layout = ring.row();
    let offset = ring.geometry().row_offset(layout, from.block, from.place);
    for (span, column) in layout.spans.iter().zip(&mut columns.fields) {
        let target = &mut column[at * span.size_bytes..(at + 1) * span.size_bytes];
        ring.storage().read(offset + span.offset, target);
    }
}

fn copy_next<S: Storage>(ring: &Ring<S>, last: Position, columns: &mut Columns<'_>, at: usize) {
    let layout = ring.row();
    let offset = ring
        .geometry()
        .row_offset(layout, last.block, last.place + 1);
    for (&field, column) in layout.linked.iter().zip(&mut columns.next) {
        let span = layout.spans[field];
        ring.storage().read(
            offset + span.offset,
            &mut column[at * span.size_bytes..(at + 1) * span.size_bytes],
        );
    }
}

fn store_f32(column: &mut [u8], at: usize, value: f64) {
    column[4 * at..4 * at + 4].copy_from_slice(&(value as f32).to_ne_bytes());
}
