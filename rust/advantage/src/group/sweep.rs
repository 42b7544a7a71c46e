//! All groups, in blocks of a fixed number of groups, so that sums over groups don't depend on threads either.

use std::thread;

use super::one::{Members, one};
use super::tile::{MAX_SIZE, TILE, run_of_tiles};
use super::{Divisor, Groups, Inputs, Outputs, Settings, Summary};
use crate::error::{Error, Result};
use crate::lanes::{fold, for_widest_registers};
use crate::real::{Real, require_finite};
use crate::threads::choose;

/// Groups of a block; threads take whole blocks.
const GROUPS_A_BLOCK: usize = 256;

/// Sums over a block.
#[derive(Clone, Copy, Default)]
struct BlockSums {
    elements: usize,
    degenerate_groups: usize,
    squares: f64,
    freedom: usize,
    /// Not finite if something in the block isn't.
    bound: f64,
    /// First group whose weights have no mean.
    bad_weights: Option<usize>,
}

/// A run of whole blocks: one thread's work.
struct Run<'a, T> {
    inputs: Inputs<'a, T>,
    groups: Groups<'a>,
    outputs: Outputs<'a, T>,
}

impl<T: Real> Run<'_, T> {
    fn len(&self) -> usize {
        self.outputs.degenerate.len()
    }

    /// Splits off the first `groups` groups.
    fn split(self, groups: usize) -> (Self, Self) {
        let (first, second, elements) = match self.groups {
            Groups::Rows { groups: all, size } => (
                Groups::Rows { groups, size },
                Groups::Rows {
                    groups: all - groups,
                    size,
                },
                groups * size,
            ),
            Groups::Offsets(offsets) => (
                Groups::Offsets(&offsets[..=groups]),
                Groups::Offsets(&offsets[groups..]),
                (offsets[groups] - offsets[0]) as usize,
            ),
        };
        let (rewards, more_rewards) = self.inputs.rewards.split_at(elements);
        let (mask, more_mask) = split_option(self.inputs.mask, elements);
        let (lengths, more_lengths) = split_option(self.inputs.lengths, elements);
        let (advantages, more_advantages) = self.outputs.advantages.split_at_mut(elements);
        let (degenerate, more_degenerate) = self.outputs.degenerate.split_at_mut(groups);
        let (group_std, more_std) = self.outputs.group_std.split_at_mut(groups);
        let run = |groups, rewards, mask, lengths, advantages, degenerate, group_std| Self {
            inputs: Inputs {
                rewards,
                mask,
                lengths,
            },
            groups,
            outputs: Outputs {
                advantages,
                degenerate,
                group_std,
            },
        };
        (
            run(
                first, rewards, mask, lengths, advantages, degenerate, group_std,
            ),
            run(
                second,
                more_rewards,
                more_mask,
                more_lengths,
                more_advantages,
                more_degenerate,
                more_std,
            ),
        )
    }
}

fn split_option<U>(slice: Option<&[U]>, at: usize) -> (Option<&[U]>, Option<&[U]>) {
    slice.map(|slice| slice.split_at(at)).unzip()
}

/// Computes every group with one divisor.
pub(super) fn sweep<T: Real>(
    inputs: Inputs<'_, T>,
    groups: Groups<'_>,
    outputs: &mut Outputs<'_, T>,
    settings: &Settings,
    divisor: Divisor,
    threads: Option<usize>,
) -> Result<Summary> {
    let blocks = outputs.degenerate.len().div_ceil(GROUPS_A_BLOCK);
    let threads = choose(threads, inputs.rewards.len(), blocks);
    let share = blocks.div_ceil(threads) * GROUPS_A_BLOCK;
    let mut rest = Run {
        inputs,
        groups,
        outputs: Outputs {
            advantages: &mut *outputs.advantages,
            degenerate: &mut *outputs.degenerate,
            group_std: &mut *outputs.group_std,
        },
    };
    let sums = if threads == 1 {
        run_blocks(rest, settings, divisor)
    } else {
        thread::scope(|scope| {
            let mut handles = Vec::with_capacity(threads);
            while rest.len() > share {
                let (run, behind) = rest.split(share);
                rest = behind;
                handles.push(scope.spawn(move || run_blocks(run, settings, divisor)));
            }
            let last = run_blocks(rest, settings, divisor);
            let mut sums = Vec::with_capacity(blocks);
            for handle in handles {
                sums.extend(handle.join().map_err(|_| Error::Thread)?);
            }
            sums.extend(last);
            Ok(sums)
        })?
    };
    summarise(&inputs, &sums)
}

fn summarise<T: Real>(inputs: &Inputs<'_, T>, sums: &[BlockSums]) -> Result<Summary> {
    if !sums.iter().all(|block| block.bound.is_finite()) {
        require_finite("rewards", inputs.rewards, inputs.mask)?;
        return Err(Error::Overflow {
            what: "the spread of a group",
        });
    }
    for (index, block) in sums.iter().enumerate() {
        if let Some(within) = block.bad_weights {
            return Err(Error::Weights {
                group: index * GROUPS_A_BLOCK + within,
            });
        }
    }
    let squares: f64 = sums.iter().map(|block| block.squares).sum();
    let freedom: usize = sums.iter().map(|block| block.freedom).sum();
    Ok(Summary {
        elements: sums.iter().map(|block| block.elements).sum(),
        degenerate_groups: sums.iter().map(|block| block.degenerate_groups).sum(),
        pooled_std: if freedom == 0 {
            0.0
        } else {
            (squares / freedom as f64).sqrt()
        },
    })
}

fn run_blocks<T: Real>(
    mut run: Run<'_, T>,
    settings: &Settings,
    divisor: Divisor,
) -> Vec<BlockSums> {
    let mut sums = Vec::with_capacity(run.len().div_ceil(GROUPS_A_BLOCK));
    while run.len() > 0 {
        let groups = run.len().min(GROUPS_A_BLOCK);
        let (block, rest) = run.split(groups);
        run = rest;
        sums.push(one_block(block, settings, divisor));
    }
    sums
}

for_widest_registers! {
    fn one_block<T>(block: Run<'_, T>, settings: &Settings, divisor: Divisor) -> BlockSums = one_block_inlined
}

#[inline(always)]
fn one_block_inlined<T: Real>(
    block: Run<'_, T>,
    settings: &Settings,
    divisor: Divisor,
) -> BlockSums {
    let mut sums = BlockSums::default();
    let mut begin = 0;
    let is_plain = block.inputs.mask.is_none() && block.inputs.lengths.is_none();
    match block.groups {
        Groups::Rows { groups, size } if is_plain && (2..=MAX_SIZE).contains(&size) => {
            let tiles = groups / TILE;
            begin = tiles * TILE;
            let Run {
                inputs,
                mut outputs,
                ..
            } = block;
            let lanes = run_of_tiles(size, tiles, inputs.rewards, &mut outputs, settings, divisor);
            sums.elements += begin * size;
            sums.degenerate_groups += lanes.degenerate_groups;
            sums.freedom += (begin - lanes.degenerate_groups) * (size - settings.ddof);
            sums.squares += fold(lanes.squares);
            sums.bound += fold(lanes.bound);
            let groups = block.groups;
            single_groups(
                begin,
                &inputs,
                groups,
                &mut outputs,
                settings,
                divisor,
                &mut sums,
            );
        }
        _ => {
            let mut outputs = block.outputs;
            single_groups(
                begin,
                &block.inputs,
                block.groups,
                &mut outputs,
                settings,
                divisor,
                &mut sums,
            );
        }
    }
    sums
}

#[inline(always)]
fn single_groups<T: Real>(
    begin: usize,
    inputs: &Inputs<'_, T>,
    groups: Groups<'_>,
    outputs: &mut Outputs<'_, T>,
    settings: &Settings,
    divisor: Divisor,
    sums: &mut BlockSums,
) {
    for group in begin..outputs.degenerate.len() {
        let (start, end) = match groups {
            Groups::Rows { size, .. } => (group * size, (group + 1) * size),
            Groups::Offsets(offsets) => (
                (offsets[group] - offsets[0]) as usize,
                (offsets[group + 1] - offsets[0]) as usize,
            ),
        };
        let members = Members {
            rewards: &inputs.rewards[start..end],
            mask: inputs.mask.map(|mask| &mask[start..end]),
            lengths: inputs.lengths.map(|lengths| &lengths[start..end]),
        };
        let result = one(
            members,
            &mut outputs.advantages[start..end],
            settings,
            divisor,
        );
        outputs.degenerate[group] = u8::from(result.is_degenerate);
        outputs.group_std[group] = T::from_f64(result.std);
        sums.elements += result.elements;
        sums.bound += result.bound * 0.0;
        if result.is_degenerate {
            sums.degenerate_groups += 1;
        } else {
            sums.squares += result.squares;
            sums.freedom += result.elements - settings.ddof;
        }
        if result.has_bad_weights && sums.bad_weights.is_none() {
            sums.bad_weights = Some(group);
        }
    }
}
