//! Every slice alike, however many rows it has: first a slice is drawn, then one of its rows.

use std::collections::BTreeMap;

use crate::catalog::{Catalog, Change};
use crate::error::{Error, Result};
use crate::gather::{Filter, Position};
use crate::ring::Ring;
use crate::storage::Storage;

use super::choice::{Listed, Proposal};
use super::random::{Draw, below};

/// The try whose random word draws the slice: beyond all that draw rows.
const SLICE_ATTEMPT: u64 = 0xFFFF;

/// Which blocks hold rows of which slice.
pub struct Stratified {
    catalog: Catalog,
    offset: usize,
    /// Slices of each block.
    slices_of: Vec<Vec<u16>>,
    /// Blocks of each slice, sorted.
    blocks_of: BTreeMap<u16, Vec<u32>>,
    /// The slices of this batch that aren't known to lack a row that passes, sorted.
    candidates: Vec<u16>,
    listed: BTreeMap<u16, Listed>,
}

impl Stratified {
    /// Strata by the field `slice_id`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if the schema hasn't got it.
    pub fn new(slice_offset: Option<usize>) -> Result<Self> {
        let offset = slice_offset.ok_or_else(|| {
            let cure = "add a field slice_id (u16), or use another mode";
            Error::Argument(format!("the schema has no slices to stratify by; {cure}"))
        })?;
        Ok(Self {
            catalog: Catalog::default(),
            offset,
            slices_of: Vec::new(),
            blocks_of: BTreeMap::new(),
            candidates: Vec::new(),
            listed: BTreeMap::new(),
        })
    }

    /// Takes note of new and evicted blocks.
    pub fn prepare<S: Storage>(&mut self, ring: &Ring<S>) {
        let (slices_of, blocks_of, offset) =
            (&mut self.slices_of, &mut self.blocks_of, self.offset);
        slices_of.resize(ring.geometry().blocks as usize, Vec::new());
        self.catalog.refresh(ring, |change| match change {
            Change::Claimed { block, .. } => {
                for slice in slices_of[block as usize].drain(..) {
                    remove_sorted(blocks_of, slice, block);
                }
            }
            Change::Published {
                block, first, end, ..
            } => {
                let known = &mut slices_of[block as usize];
                for place in first..end {
                    let slice = u16::from_ne_bytes(ring.read_number(block, place, offset));
                    let is_row = ring
                        .mark(block, place)
                        .is_some_and(crate::word::Mark::is_row);
                    if is_row && !known.contains(&slice) {
                        known.push(slice);
                        insert_sorted(blocks_of.entry(slice).or_default(), block);
                    }
                }
            }
        });
        self.candidates.clear();
        self.candidates.extend(self.blocks_of.keys());
        self.listed.clear();
    }

    /// Forgets what was listed: a listed row was evicted.
    pub fn forget_listed(&mut self) {
        self.listed.clear();
    }

    fn slice(&self, draw: Draw) -> Option<u16> {
        let chosen = below(draw.at(SLICE_ATTEMPT).word(), self.candidates.len() as u64);
        self.candidates.get(chosen as usize).copied()
    }

    fn holds<S: Storage>(&self, ring: &Ring<S>, at: Position, slice: u16) -> bool {
        u16::from_ne_bytes(ring.read_number(at.block, at.place, self.offset)) == slice
    }

    /// The slice is the same at every try of a row: a slice whose rows are refused more often must not lose by it.
    pub fn propose<S: Storage>(&self, ring: &Ring<S>, draw: Draw) -> Proposal {
        let drawn = self.slice(draw).and_then(|slice| {
            let blocks = self.blocks_of.get(&slice)?;
            let chosen = below(draw.word(), blocks.len() as u64) as usize;
            Some((slice, *blocks.get(chosen)?))
        });
        let Some((slice, block)) = drawn else {
            return Proposal::NONE;
        };
        let block_rows = u64::from(ring.geometry().block_rows);
        let place = below(draw.second_word(), block_rows) as u32;
        let position = Position { block, place };
        let word = ring.word(block);
        let is_there = place < u32::from(word.count) && self.holds(ring, position, slice);
        Proposal::only_if(is_there, position, word.generation)
    }

    /// As [`super::choice::Choice::choose_listed`]; a slice without a row that passes leaves the batch.
    pub fn choose_listed<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        draw: Draw,
        filter: Filter,
    ) -> Proposal {
        while let Some(slice) = self.slice(draw) {
            if !self.listed.contains_key(&slice) {
                let listed = Listed::weighted(ring, filter, |proposal| {
                    f64::from(u8::from(self.holds(ring, proposal.position(), slice)))
                });
                self.listed.insert(slice, listed);
            }
            let rows = self.listed.get(&slice);
            let proposal = rows.map_or(Proposal::NONE, |rows| rows.choose(draw));
            if !proposal.is_none() {
                return proposal;
            }
            self.candidates.retain(|&candidate| candidate != slice);
        }
        Proposal::NONE
    }
}

fn insert_sorted(blocks: &mut Vec<u32>, block: u32) {
    if let Err(at) = blocks.binary_search(&block) {
        blocks.insert(at, block);
    }
}

fn remove_sorted(blocks_of: &mut BTreeMap<u16, Vec<u32>>, slice: u16, block: u32) {
    if let Some(blocks) = blocks_of.get_mut(&slice) {
        if let Ok(at) = blocks.binary_search(&block) {
            blocks.remove(at);
        }
        if blocks.is_empty() {
            blocks_of.remove(&slice);
        }
    }
}
