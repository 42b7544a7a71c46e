//! Advantages of groups: each reward against the others of its group.
//!
//! Every group takes two passes over its rewards, in f64: the mean, then the squared deviations from it. Rewards are taken
//! relative to the group's first one before they are added, so a common offset costs no digits and equal rewards give
//! exactly 0. Whether a group tells its members apart is decided by its range, never by a standard deviation, which
//! rounding keeps from being 0.

mod one;
#[cfg(target_arch = "x86_64")]
mod registers;
mod sweep;
mod tile;
#[cfg(target_arch = "x86_64")]
mod wide;

#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::real::{Real, require_finite, require_length};

/// How a centred reward becomes an advantage; `carla_online.advantage.group` has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Estimator {
    /// Divide by the group's own standard deviation.
    Grpo,
    /// Centre only.
    DrGrpo,
    /// Divide by the pooled standard deviation of all groups.
    Batch,
    /// Divide by a scale that the caller keeps.
    Ema {
        /// The scale, above 0.
        scale: f64,
    },
    /// Against the mean of the others.
    Rloo,
    /// Against the mean weighted by lengths.
    Opo,
}

/// What decides the numbers.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The estimator.
    pub estimator: Estimator,
    /// Squared deviations are divided by n minus this; 0 or 1.
    pub ddof: usize,
    /// Added to a divisor.
    pub epsilon: f64,
    /// Smallest standard deviation to divide by.
    pub std_floor: f64,
    /// Largest magnitude of an advantage; infinity for no limit.
    pub clip: f64,
    /// A range of at most this is no difference.
    pub degenerate_absolute: f64,
    /// Nor is one of at most this times the group's largest magnitude.
    pub degenerate_relative: f64,
}

/// Where groups begin and end.
#[derive(Clone, Copy, Debug)]
pub enum Groups<'a> {
    /// Groups of one size, one after the other.
    Rows {
        /// How many groups.
        groups: usize,
        /// Rewards of each.
        size: usize,
    },
    /// Group g holds the rewards from offset g up to offset g + 1.
    Offsets(&'a [i64]),
}

/// What is read; all of one length.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, T> {
    /// The rewards.
    pub rewards: &'a [T],
    /// Which of them count: any byte but 0.
    pub mask: Option<&'a [u8]>,
    /// Weights of [`Estimator::Opo`].
    pub lengths: Option<&'a [T]>,
}

/// What is written.
#[derive(Debug)]
pub struct Outputs<'a, T> {
    /// One for each reward.
    pub advantages: &'a mut [T],
    /// One for each group, 0 or 1.
    pub degenerate: &'a mut [u8],
    /// One for each group; 0 where degenerate.
    pub group_std: &'a mut [T],
}

/// What the groups were like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Rewards that counted.
    pub elements: usize,
    /// Groups that couldn't tell their members apart.
    pub degenerate_groups: usize,
    /// Root of the sum of squared deviations over the sum of (n - ddof), over the other groups; 0 without any.
    pub pooled_std: f64,
}

/// What a group's divisor is made of, resolved for one sweep over all groups.
#[derive(Clone, Copy)]
pub(crate) enum Divisor {
    Group { floor: f64, epsilon: f64 },
    Fixed { factor: f64 },
    LeaveOneOut,
}

impl Divisor {
    /// The factor of a group's centred rewards.
    #[inline(always)]
    pub(crate) fn factor(self, std: f64, count: f64) -> f64 {
        match self {
            Self::Group { floor, epsilon } => {
                let floored = if std < floor { floor } else { std };
                1.0 / (floored + epsilon)
            }
            Self::Fixed { factor } => factor,
            Self::LeaveOneOut => count / (count - 1.0),
        }
    }
}

impl Settings {
    /// The usual settings of an estimator: ddof 1, epsilon 1e-6, thresholds 1e-6 and 1e-5.
    pub fn new(estimator: Estimator) -> Self {
        Self {
            estimator,
            ddof: 1,
            epsilon: 1e-6,
            std_floor: 0.0,
            clip: f64::INFINITY,
            degenerate_absolute: 1e-6,
            degenerate_relative: 1e-5,
        }
    }

    fn fixed(&self, scale: f64) -> Divisor {
        Divisor::Fixed {
            factor: 1.0 / (scale.max(self.std_floor) + self.epsilon),
        }
    }
}

/// Writes the advantages of all groups.
///
/// # Errors
///
/// Lengths or offsets that don't fit; the first reward or length that counts and isn't finite; an overflow. The outputs'
/// contents are unspecified then.
pub fn group_advantages<T: Real>(
    inputs: Inputs<'_, T>,
    groups: Groups<'_>,
    outputs: &mut Outputs<'_, T>,
    settings: &Settings,
    threads: Option<usize>,
) -> Result<Summary> {
    check(&inputs, groups, outputs)?;
    let first = match settings.estimator {
        Estimator::Grpo => Divisor::Group {
            floor: settings.std_floor,
            epsilon: settings.epsilon,
        },
        Estimator::Ema { scale } => settings.fixed(scale),
        Estimator::Rloo => Divisor::LeaveOneOut,
        Estimator::DrGrpo | Estimator::Batch | Estimator::Opo => Divisor::Fixed { factor: 1.0 },
    };
    let summary = sweep::sweep(inputs, groups, outputs, settings, first, threads)?;
    if settings.estimator == Estimator::Batch
        && summary.degenerate_groups < outputs.degenerate.len()
    {
        // The second sweep centres again instead of scaling what was already rounded.
        let divisor = settings.fixed(summary.pooled_std);
        return sweep::sweep(inputs, groups, outputs, settings, divisor, threads);
    }
    Ok(summary)
}

fn check<T: Real>(
    inputs: &Inputs<'_, T>,
    groups: Groups<'_>,
    outputs: &Outputs<'_, T>,
) -> Result<()> {
    let elements = inputs.rewards.len();
    let count = match groups {
        Groups::Rows { groups, size } => {
            let expected = groups.saturating_mul(size);
            require_length("rewards", elements, expected)?;
            groups
        }
        Groups::Offsets(offsets) => {
            check_offsets(offsets, elements)?;
            offsets.len() - 1
        }
    };
    require_length("advantages", outputs.advantages.len(), elements)?;
    require_length("degenerate", outputs.degenerate.len(), count)?;
    require_length("group_std", outputs.group_std.len(), count)?;
    if let Some(mask) = inputs.mask {
        require_length("mask", mask.len(), elements)?;
    }
    if let Some(lengths) = inputs.lengths {
        require_length("lengths", lengths.len(), elements)?;
        require_finite("lengths", lengths, inputs.mask)?;
    }
    Ok(())
}

fn check_offsets(offsets: &[i64], elements: usize) -> Result<()> {
    let fault = |index: usize| Error::Offsets {
        index,
        value: offsets.get(index).copied().unwrap_or_default(),
        elements,
    };
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
        return Err(fault(0));
    };
    if first != 0 {
        return Err(fault(0));
    }
    if let Some(before) = offsets.windows(2).position(|pair| pair[1] < pair[0]) {
        return Err(fault(before + 1));
    }
    if last != elements as i64 {
        return Err(fault(offsets.len() - 1));
    }
    Ok(())
}
