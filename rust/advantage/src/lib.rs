//! Advantages for policy gradients: groups of rewards compared within themselves, and estimates along time.
//!
//! ```
//! use carla_online_advantage::{Estimator, Groups, Inputs, Outputs, Settings, group_advantages};
//!
//! let rewards = [1.0_f32, 2.0, 3.0, 6.0, 1000.1, 1000.1, 1000.1, 1000.1];
//! let (mut advantages, mut degenerate, mut group_std) = ([0.0; 8], [0; 2], [0.0; 2]);
//! let summary = group_advantages(
//!     Inputs { rewards: &rewards, mask: None, lengths: None },
//!     Groups::Rows { groups: 2, size: 4 },
//!     &mut Outputs { advantages: &mut advantages, degenerate: &mut degenerate, group_std: &mut group_std },
//!     &Settings::new(Estimator::DrGrpo),
//!     None,
//! )?;
//! assert_eq!(advantages, [-2.0, -1.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0]);
//! assert_eq!(degenerate, [0, 1]);
//! assert_eq!(summary.degenerate_groups, 1);
//! # Ok::<(), carla_online_advantage::Error>(())
//! ```
//!
//! # What it promises
//!
//! Inputs are f32 or f64, arithmetic is f64, results are rounded once. Every sum has an order that is fixed by the shape
//! and mask of what it adds (`lanes.rs`), so results don't depend on the number of threads, on the processor's vector
//! width, or on what else the arrays hold. What counts must be finite: the first element that isn't is named. Results
//! of finite inputs are finite, unless an f32 result lies beyond the largest f32.
//!
//! Python reaches it through `carla_online.advantage`, which documents the formulas and their sources.

// The kernels' loops have to end up inside the functions that carry the vector features, and a lane indexes several arrays.
#![allow(clippy::inline_always, clippy::needless_range_loop)]

mod branch;
mod error;
mod group;
mod lanes;
mod real;
mod temporal;
mod threads;

pub use branch::{BranchInputs, BranchShape, BranchValues, branch_gae, branch_reward_to_go};
pub use error::{Error, Result};
pub use group::{Estimator, Groups, Inputs, Outputs, Settings, Summary, group_advantages};
pub use real::Real;
pub use temporal::{
    Bootstrap, GaeInputs, GaeOutputs, NStepInputs, NextValues, RewardToGoInputs, VTraceInputs,
    VTraceLimits, gae, n_step, reward_to_go, v_trace,
};
