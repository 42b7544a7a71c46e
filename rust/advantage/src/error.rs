//! The crate's one error type.

use thiserror::Error;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why advantages can't be computed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Error {
    /// An element that counts is NaN or infinite.
    #[error("{name}[{index}] is {value}; only finite values are accepted")]
    NotFinite {
        /// The array.
        name: &'static str,
        /// Place in the flattened array.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// Finite values whose sums, squares or quotients aren't.
    #[error("{what} is too large for its number type; scale the rewards down")]
    Overflow {
        /// What overflowed.
        what: &'static str,
    },
    /// Offsets that don't cut the rewards into groups.
    #[error(
        "offsets[{index}] is {value}; offsets must rise from 0 to {elements}, the number of rewards"
    )]
    Offsets {
        /// Place of the first wrong offset.
        index: usize,
        /// What stands there.
        value: i64,
        /// Number of rewards.
        elements: usize,
    },
    /// An array's length doesn't fit the others.
    #[error("{name} has {seen} elements, but {expected} are needed")]
    Length {
        /// The array.
        name: &'static str,
        /// Elements needed.
        expected: usize,
        /// Elements seen.
        seen: usize,
    },
    /// Weights that have no mean.
    #[error(
        "a length of group {group} is negative, or all of them are 0; lengths are weights of at least 0"
    )]
    Weights {
        /// The group.
        group: usize,
    },
    /// A step whose successor belongs to another episode, in a form that has no value for the true successor.
    #[error(
        "truncated[{row}, {column}] is set and the next row counts, so values[{next}, {column}] belongs to another \
         episode; pass next_values [T, N] with the value of each step's true next state", next = .row + 1
    )]
    CutWithin {
        /// Time.
        row: usize,
        /// Environment.
        column: usize,
    },
    /// A branch that goes on after its end.
    #[error(
        "alive[{state}, {branch}, {step}] is true after the branch's end; once false it must stay false"
    )]
    AliveAgain {
        /// The state.
        state: usize,
        /// The branch.
        branch: usize,
        /// The step.
        step: usize,
    },
    /// A thread died.
    #[error("a thread of the computation panicked; please report this")]
    Thread,
}
