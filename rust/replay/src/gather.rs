//! Copying rows out of the ring into columns, n steps ahead, with the check that nothing moved meanwhile.

use crate::columns::Columns;
use crate::ring::Ring;
use crate::storage::Storage;
use crate::sync::{Ordering, fence};
use crate::word::{BlockLink, BlockWord, Mark};

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

impl Filter {
    /// Every published row.
    pub const ALL: Self = Self {
        watermark: u64::MAX,
        only_sampleable: false,
    };
}

/// One place of the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Blocks that the return under way touched, beside its first.
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

    /// Every place of a block with a row that passes.
    pub fn list_block<S: Storage>(
        ring: &Ring<S>,
        block: u32,
        filter: Filter,
    ) -> impl Iterator<Item = Position> + '_ {
        let is_hopeless = ring.least_step(block) > filter.watermark;
        let count = if is_hopeless {
            0
        } else {
            ring.word(block).count
        };
        (0..u32::from(count))
            .map(move |place| Position { block, place })
            .filter(move |&position| passing_mark(ring, position, filter).is_some())
    }

    /// Whether returns are of one step.
    pub fn is_of_one_step(&self) -> bool {
        self.horizon.steps == 1
    }

    /// The discount of one step.
    pub fn gamma(&self) -> f32 {
        self.horizon.gamma as f32
    }

    /// Copies one row to index `at` of the columns and returns the generation of its block. `None` if the place holds
    /// no row that passes, or was reused during the copy; the columns at that index are then unspecified.
    #[inline]
    pub fn row<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        position: Position,
        filter: Filter,
        columns: &mut Columns<'_>,
        at: usize,
    ) -> Option<u32> {
        let word = ring.word(position.block);
        if position.place >= u32::from(word.count) {
            return None;
        }
        let mark = passing_mark(ring, position, filter)?;
        self.visited.clear();
        let window = self.window(ring, position, mark, word, filter);
        let layout = ring.row();
        let start = ring
            .geometry()
            .row_offset(layout, position.block, position.place);
        let end = window.end;
        let next = ring.geometry().row_offset(layout, end.block, end.place + 1);
        columns.put(ring, [start, next], at, [window.reward, window.discount]);
        if mark.has(Mark::CUT | Mark::QUARANTINED) {
            patch(ring, mark, columns, at);
        }
        fence(Ordering::Acquire);
        let generation = word.generation;
        let start = BlockLink {
            block: position.block,
            generation,
        };
        let is_whole = ring.is_still(start) && self.visited.iter().all(|&link| ring.is_still(link));
        is_whole.then_some(generation)
    }

    /// Walks from a row to the end of its return: the horizon, the episode's end, a broken link, or the watermark.
    #[inline]
    fn window<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        start: Position,
        mark: Mark,
        word: BlockWord,
        filter: Filter,
    ) -> Window {
        let key = &ring.row().key;
        let mut window = Window {
            end: start,
            reward: 0.0,
            discount: 1.0,
        };
        let (mut mark, mut count) = (mark, u32::from(word.count));
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
            let Some((position, limit)) = follow(ring, window.end, count, &mut self.visited) else {
                break;
            };
            let Some(next_mark) = passing_mark(ring, position, filter) else {
                break;
            };
            (window.end, mark, count) = (position, next_mark, limit);
        }
        window
    }
}

/// The place after a row of an open episode, with its block's count; notes a block that it enters.
pub fn follow<S: Storage>(
    ring: &Ring<S>,
    from: Position,
    count: u32,
    visited: &mut Vec<BlockLink>,
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
    visited.push(link);
    Some((
        Position {
            block: link.block,
            place: 0,
        },
        u32::from(word.count),
    ))
}

/// Writes what flags say over what the fields say.
#[cold]
fn patch<S: Storage>(ring: &Ring<S>, mark: Mark, columns: &mut Columns<'_>, at: usize) {
    let key = &ring.row().key;
    if mark.has(Mark::CUT) {
        columns.fields[key.truncated_field].put(at, [1]);
    }
    if let Some(field) = key
        .quarantined_field
        .filter(|_| mark.has(Mark::QUARANTINED))
    {
        columns.fields[field].put(at, [1]);
    }
}

/// The mark of a place if a row stands there that passes the filter.
#[inline]
pub fn passing_mark<S: Storage>(ring: &Ring<S>, at: Position, filter: Filter) -> Option<Mark> {
    let mark = ring.mark(at.block, at.place).filter(|mark| mark.is_row())?;
    let key = &ring.row().key;
    if filter.watermark != u64::MAX
        && u64::from_ne_bytes(ring.read_number(at.block, at.place, key.step_id)) > filter.watermark
    {
        return None;
    }
    if !filter.only_sampleable {
        return Some(mark);
    }
    let is_quarantined = mark.has(Mark::QUARANTINED) || ring.is_barred_by_field(at.block, at.place);
    let is_weightless = key.weight.is_some_and(|offset| {
        f32::from_ne_bytes(ring.read_number(at.block, at.place, offset)) == 0.0
    });
    (!is_quarantined && !is_weightless).then_some(mark)
}
