//! Where sampled rows go.

use crate::column::Column;
use crate::layout::{Item, RowLayout};
use crate::moves::Scatter;
use crate::ring::Ring;
use crate::storage::Storage;

/// Where sampled rows go: one column per field, one per linked field for the next values, and the returns.
///
/// Each column holds `batch` items of its field's size, in schema order.
pub struct Columns<'a> {
    /// One column per field.
    pub fields: Vec<Column<'a>>,
    /// One column per linked field.
    pub next: Vec<Column<'a>>,
    /// Discounted reward sums, f32 in native byte order.
    pub n_step_reward: Column<'a>,
    /// What the next value's estimate is multiplied with, f32 in native byte order.
    pub discount: Column<'a>,
    /// What some samplers tell beside the row.
    pub extras: Extras<'a>,
    row_moves: Scatter<'a>,
    next_moves: Scatter<'a>,
    /// Both, with the reward as the return: all that a row needs whose return is of one step.
    plain_moves: Scatter<'a>,
}

impl<'a> Columns<'a> {
    /// Columns for rows of a layout.
    pub fn new(
        layout: &RowLayout,
        mut fields: Vec<Column<'a>>,
        mut next: Vec<Column<'a>>,
        [mut n_step_reward, discount]: [Column<'a>; 2],
        extras: Extras<'a>,
    ) -> Self {
        let items: Vec<Item> = layout.linked.iter().chain(&layout.rest).copied().collect();
        let row_moves = Scatter::new(&items, &mut fields);
        let next_moves = Scatter::new(&layout.next, &mut next);
        let reward = Item {
            column: 0,
            offset: layout.key.reward,
            size_bytes: 4,
        };
        let returns = Scatter::new(&[reward], std::slice::from_mut(&mut n_step_reward));
        let plain_moves = row_moves
            .joined(&next_moves, layout.stride)
            .joined(&returns, 0);
        Self {
            fields,
            next,
            n_step_reward,
            discount,
            extras,
            row_moves,
            next_moves,
            plain_moves,
        }
    }

    /// Copies rows as they are to index `at` and those after it, with the values behind each and a return of one
    /// step; `ahead` lists rows that come next.
    #[inline]
    pub fn put_plain<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        starts: &[usize],
        at: usize,
        ahead: &[usize],
        gamma: f32,
    ) {
        let moves = &mut self.plain_moves;
        ring.storage().scatter(starts, moves, at, ahead);
        let terminated = &mut self.fields[ring.row().key.terminated_field];
        for at in at..at + starts.len() {
            let is_terminated = terminated.item(at, 1) != [0];
            let discount = if is_terminated { 0.0 } else { gamma };
            self.discount.put(at, discount.to_ne_bytes());
        }
    }

    /// Copies a row to index `at`, with the next values that lie at `next`, and a return.
    #[inline]
    pub fn put<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        [start, next]: [usize; 2],
        at: usize,
        [reward, discount]: [f64; 2],
    ) {
        ring.storage()
            .scatter(&[start], &mut self.row_moves, at, &[]);
        ring.storage()
            .scatter(&[next], &mut self.next_moves, at, &[]);
        self.n_step_reward.put(at, (reward as f32).to_ne_bytes());
        self.discount.put(at, (discount as f32).to_ne_bytes());
    }

    /// Whether the row that was copied to index `at` ended its episode.
    pub fn is_done(&mut self, layout: &RowLayout, at: usize) -> bool {
        let ends = [layout.key.terminated_field, layout.key.truncated_field];
        ends.iter()
            .any(|&field| self.fields[field].item(at, 1) != [0])
    }

    /// Marks a step of a window as a row.
    pub fn set_valid(&mut self, at: usize) {
        if let Some(valid) = &mut self.extras.valid {
            valid.put(at, [1]);
        }
    }

    /// Zeroes everything at an index: a step behind a window's end.
    pub fn clear(&mut self, layout: &RowLayout, at: usize) {
        for (column, span) in self.fields.iter_mut().zip(&layout.spans) {
            column.item(at, span.size_bytes).fill(0);
        }
        for item in &layout.next {
            self.next[item.column].item(at, item.size_bytes).fill(0);
        }
        self.n_step_reward.put(at, [0; 4]);
        self.discount.put(at, [0; 4]);
        if let Some(valid) = &mut self.extras.valid {
            valid.put(at, [0]);
        }
    }
}

/// Columns that only some samplers fill, where the caller has them. Numbers in native byte order.
#[derive(Default)]
pub struct Extras<'a> {
    /// u64: the row's place among all places of the ring.
    pub row_index: Option<Column<'a>>,
    /// u32: generation of the row's block.
    pub row_generation: Option<Column<'a>>,
    /// f32: correction for drawing by priority.
    pub importance_weight: Option<Column<'a>>,
    /// u16: which buffer of a mixture the row comes from.
    pub source: Option<Column<'a>>,
    /// bool: whether this step of a window is a row.
    pub valid: Option<Column<'a>>,
}

impl Extras<'_> {
    /// Whether nothing but the source is told beside the row.
    pub fn are_absent(&self) -> bool {
        let numbers = [
            &self.row_index,
            &self.row_generation,
            &self.importance_weight,
            &self.valid,
        ];
        numbers.iter().all(|column| column.is_none())
    }
}
