//! Reading without drawing: every row, every complete episode.

use std::collections::HashSet;

use crate::buffer::Buffer;
use crate::columns::Columns;
use crate::gather::{Filter, Gather, Horizon, Position, follow};
use crate::ring::Ring;
use crate::storage::Storage;
use crate::word::{BlockLink, Mark};

/// A row in one use of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where.
    pub position: Position,
    /// Generation of the block.
    pub generation: u32,
}

/// Rows of several sequences, one sequence after another.
#[derive(Clone, Debug, Default)]
pub struct Sequences {
    /// The rows.
    pub rows: Vec<Listed>,
    /// Rows of each sequence.
    pub lengths: Vec<usize>,
}

impl Buffer {
    /// Lists the rows of the next blocks, about `wanted` of them, and the block to go on from (`None` at the end).
    pub fn rows_from(&self, first_block: u32, wanted: usize) -> (Vec<Listed>, Option<u32>) {
        let ring = self.ring();
        let mut found = Vec::new();
        for block in first_block..ring.claimed_blocks() {
            if found.len() >= wanted {
                return (found, Some(block));
            }
            let generation = ring.word(block).generation;
            let rows = Gather::list_block(ring, block, Filter::ALL);
            found.extend(rows.map(|position| Listed {
                position,
                generation,
            }));
        }
        (found, None)
    }

    /// Lists the complete episodes that start in the next blocks, until there are `wanted` rows, and the block to go on
    /// from (`None` at the end). Complete: from the first row to one that terminated or was truncated.
    pub fn episodes_from(&self, first_block: u32, wanted: usize) -> (Sequences, Option<u32>) {
        let ring = self.ring();
        let mut found = Sequences::default();
        for block in first_block..ring.claimed_blocks() {
            if found.rows.len() >= wanted {
                return (found, Some(block));
            }
            for position in Gather::list_block(ring, block, Filter::ALL) {
                let mark = ring.mark(block, position.place);
                if mark.is_some_and(|mark| mark.has(Mark::START)) {
                    let (rows, is_complete) = walk(ring, position);
                    if is_complete {
                        found.lengths.push(rows.len());
                        found.rows.extend(rows);
                    }
                }
            }
        }
        (found, None)
    }

    /// Copies listed rows to the front of the columns; returns how many were still there.
    pub fn read(&self, rows: &[Listed], columns: &mut Columns<'_>) -> usize {
        let mut gather = Gather::new(Horizon {
            steps: 1,
            gamma: 1.0,
        });
        let mut kept = 0;
        for listed in rows {
            let found = gather.row(self.ring(), listed.position, Filter::ALL, columns, kept);
            kept += usize::from(found == Some(listed.generation));
        }
        kept
    }
}

/// The rows from one to the end of its chain, and whether the episode ended there.
pub fn walk<S: Storage>(ring: &Ring<S>, start: Position) -> (Vec<Listed>, bool) {
    let mut rows = Vec::new();
    let mut links = Vec::new();
    let mut word = ring.word(start.block);
    let mut generation = word.generation;
    let mut position = start;
    // A chain is no longer than the ring; damaged links could lead in a circle.
    for _ in 0..ring.geometry().capacity_rows() {
        let Some(mark) = ring
            .mark(position.block, position.place)
            .filter(|mark| mark.is_row())
        else {
            break;
        };
        rows.push(Listed {
            position,
            generation,
        });
        if ring.is_done(position.block, position.place, mark) {
            return (rows, true);
        }
        links.clear();
        let Some((next, _)) = follow(ring, position, u32::from(word.count), &mut links) else {
            break;
        };
        if let Some(link) = links.first() {
            generation = link.generation;
            word = ring.word(link.block);
        }
        position = next;
    }
    (rows, false)
}

/// Every chain of rows, complete or not, ordered by the `step_id` of its first row.
pub fn chains<S: Storage>(ring: &Ring<S>) -> Vec<Vec<Listed>> {
    let continued: HashSet<BlockLink> = (0..ring.claimed_blocks())
        .filter_map(|block| ring.successor(block))
        .filter(|&link| ring.is_still(link))
        .collect();
    let mut found: Vec<(u64, Vec<Listed>)> = Vec::new();
    for block in 0..ring.claimed_blocks() {
        let generation = ring.word(block).generation;
        let is_continued = continued.contains(&BlockLink { block, generation });
        let mut has_open_row_before = is_continued;
        for place in 0..u32::from(ring.word(block).count) {
            let Some(mark) = ring.mark(block, place) else {
                break;
            };
            if mark.is_row() && !has_open_row_before {
                let step_id = ring.read_number(block, place, ring.row().key.step_id);
                let (rows, _) = walk(ring, Position { block, place });
                found.push((u64::from_ne_bytes(step_id), rows));
            }
            has_open_row_before = mark.is_row() && !ring.is_done(block, place, mark);
        }
    }
    found.sort_by_key(|&(step_id, _)| step_id);
    found.into_iter().map(|(_, rows)| rows).collect()
}
