//! Many environments of one configuration, stepped together.
//!
//! Environments share nothing that is written, so threads take contiguous ranges and results don't
//! depend on how many there are.

use std::sync::Arc;
use std::thread;

use crate::config::WorldConfig;
use crate::error::Error;
use crate::info::INFO;
use crate::observe::{ActorPose, OBSERVATION_DIM, Observation};
use crate::raster::BirdseyeKind;
use crate::reward::REWARD_TERMS;
use crate::score::INFRACTIONS;
use crate::weather::DRAWS;
use crate::world::{Outcome, Setup, World};

/// Most environments in one batch.
pub const MAX_ENVS: usize = 1 << 16;
/// Most threads of one batch.
pub const MAX_THREADS: usize = 1024;

/// Worlds a thread steps at least: starting one takes about as long as so many steps, and far longer
/// on a busy machine.
const LEAST_WORLDS_A_THREAD: usize = 16;

/// Where a batch writes the results of a step: row-major, one row for each environment.
#[derive(Debug)]
pub struct StepOutputs<'a> {
    /// `[N, OBSERVATION_DIM]`.
    pub observations: &'a mut [f32],
    /// `[N, REWARD_TERMS.len()]`.
    pub reward_terms: &'a mut [f32],
    /// `[N]`.
    pub terminated: &'a mut [bool],
    /// `[N]`.
    pub truncated: &'a mut [bool],
    /// `[N, INFO.len()]`.
    pub info: &'a mut [f64],
    /// `[N, INFRACTIONS.len()]`.
    pub infractions: &'a mut [i32],
}

/// Everything one environment is stepped with: its rows of every array.
struct Row<'a> {
    world: &'a mut World,
    action: [f32; 2],
    observation: &'a mut Observation,
    reward_terms: &'a mut [f32],
    terminated: &'a mut bool,
    truncated: &'a mut bool,
    info: &'a mut [f64],
    infractions: &'a mut [i32],
}

/// A batch of environments.
#[derive(Debug)]
pub struct WorldBatch {
    setup: Arc<Setup>,
    worlds: Vec<Option<World>>,
    threads: usize,
}

impl WorldBatch {
    /// A batch in which no environment has been reset yet.
    ///
    /// # Errors
    /// [`Error::Config`] for values out of range, [`Error::Count`] for an impossible size.
    pub fn new(config: WorldConfig, num_envs: usize, threads: usize) -> Result<Self, Error> {
        let within = |name, seen: usize, limit| {
            if (1..=limit).contains(&seen) {
                Ok(())
            } else {
                Err(Error::Count { name, seen, limit })
            }
        };
        within("num_envs", num_envs, MAX_ENVS)?;
        within("threads", threads, MAX_THREADS)?;
        let setup = Arc::new(Setup::new(config)?);
        Ok(Self {
            setup,
            worlds: (0..num_envs).map(|_| None).collect(),
            threads,
        })
    }

    /// Number of environments.
    pub fn num_envs(&self) -> usize {
        self.worlds.len()
    }

    /// The configuration.
    pub fn config(&self) -> &WorldConfig {
        &self.setup.config
    }

    /// One environment.
    ///
    /// # Errors
    /// [`Error::EnvIndex`], or [`Error::NotReset`] before its first reset.
    pub fn world(&self, env: usize) -> Result<&World, Error> {
        let num_envs = self.num_envs();
        let slot = self
            .worlds
            .get(env)
            .ok_or(Error::EnvIndex { env, num_envs })?;
        slot.as_ref().ok_or(Error::NotReset { env })
    }

    /// Starts new episodes where `mask` says so (everywhere without one). Nothing changes on error.
    ///
    /// # Errors
    /// [`Error::Length`] for wrong sizes, [`Error::Map`] if a seed gives no road.
    pub fn reset(
        &mut self,
        seeds: &[u64],
        mask: Option<&[bool]>,
        observations: &mut [f32],
        info: &mut [f64],
    ) -> Result<(), Error> {
        let count = self.num_envs();
        length("seeds", seeds.len(), count)?;
        self.check_mask(mask)?;
        length("obs", observations.len(), count * OBSERVATION_DIM)?;
        length("info", info.len(), count * INFO.len())?;
        let chosen: Vec<usize> = (0..count)
            .filter(|&env| mask.is_none_or(|mask| mask[env]))
            .collect();
        let fresh = self.draw(&chosen, seeds)?;
        let mut actors = Vec::new();
        for (&env, world) in chosen.iter().zip(fresh) {
            world.observe(&mut actors, row(observations, env));
            info[env * INFO.len()..][..INFO.len()].copy_from_slice(&world.info(0.0));
            self.worlds[env] = Some(world);
        }
        Ok(())
    }

    /// New worlds for the chosen environments; drawing roads is what a reset spends its time on.
    fn draw(&self, chosen: &[usize], seeds: &[u64]) -> Result<Vec<World>, Error> {
        let setup = &self.setup;
        let build = |part: &[usize]| -> Result<Vec<World>, Error> {
            part.iter()
                .map(|&env| World::reset(Arc::clone(setup), seeds[env]))
                .collect()
        };
        let share = chosen.len().div_ceil(self.threads).max(1);
        if chosen.len() <= share {
            return build(chosen);
        }
        let parts: Vec<Result<Vec<World>, Error>> = thread::scope(|scope| {
            let handles: Vec<_> = chosen
                .chunks(share)
                .map(|part| scope.spawn(move || build(part)))
                .collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap_or(Err(Error::Thread)))
                .collect()
        });
        let mut worlds = Vec::with_capacity(chosen.len());
        for part in parts {
            worlds.extend(part?);
        }
        Ok(worlds)
    }

    /// Makes one decision in every environment that `mask` names (in all without one).
    ///
    /// Rows of other environments aren't touched. Nothing changes when the arguments are refused.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Action`] for NaN or infinite actions, [`Error::NotReset`],
    /// [`Error::Ended`].
    pub fn step(
        &mut self,
        actions: &[f32],
        mask: Option<&[bool]>,
        out: StepOutputs,
    ) -> Result<(), Error> {
        self.check_step(actions, mask, &out)?;
        let mut rows = Vec::with_capacity(self.worlds.len());
        let columns = self
            .worlds
            .iter_mut()
            .zip(actions.chunks_exact(2))
            .zip(out.observations.as_chunks_mut::<OBSERVATION_DIM>().0)
            .zip(out.reward_terms.chunks_exact_mut(REWARD_TERMS.len()))
            .zip(out.terminated.iter_mut().zip(out.truncated))
            .zip(out.info.chunks_exact_mut(INFO.len()))
            .zip(out.infractions.chunks_exact_mut(INFRACTIONS.len()));
        for (env, column) in columns.enumerate() {
            let (
                (((((slot, action), observation), reward_terms), (terminated, truncated)), info),
                infractions,
            ) = column;
            if let Some(world) = slot.as_mut().filter(|_| mask.is_none_or(|mask| mask[env])) {
                let action = [action[0], action[1]];
                rows.push(Row {
                    world,
                    action,
                    observation,
                    reward_terms,
                    terminated,
                    truncated,
                    info,
                    infractions,
                });
            }
        }
        step_rows(rows, self.threads)
    }

    fn check_step(
        &self,
        actions: &[f32],
        mask: Option<&[bool]>,
        out: &StepOutputs,
    ) -> Result<(), Error> {
        let count = self.num_envs();
        length("actions", actions.len(), 2 * count)?;
        self.check_mask(mask)?;
        length("obs", out.observations.len(), count * OBSERVATION_DIM)?;
        length(
            "reward_terms",
            out.reward_terms.len(),
            count * REWARD_TERMS.len(),
        )?;
        length("terminated", out.terminated.len(), count)?;
        length("truncated", out.truncated.len(), count)?;
        length("info", out.info.len(), count * INFO.len())?;
        length(
            "infractions",
            out.infractions.len(),
            count * INFRACTIONS.len(),
        )?;
        for env in (0..count).filter(|&env| mask.is_none_or(|mask| mask[env])) {
            if self.world(env)?.has_ended() {
                return Err(Error::Ended { env });
            }
            for (column, &value) in actions[2 * env..2 * env + 2].iter().enumerate() {
                if !value.is_finite() {
                    return Err(Error::Action { env, column, value });
                }
            }
        }
        Ok(())
    }

    fn check_mask(&self, mask: Option<&[bool]>) -> Result<(), Error> {
        mask.map_or(Ok(()), |mask| length("mask", mask.len(), self.num_envs()))
    }

    /// Draws the bird's-eye views of the environments that `mask` names (of all without one).
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::NotReset`], [`Error::RasterSize`].
    pub fn birdseye(
        &self,
        kind: BirdseyeKind,
        mask: Option<&[bool]>,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let count = self.num_envs();
        self.check_mask(mask)?;
        length("birdseye", out.len(), count * kind.bytes())?;
        let mut views = Vec::with_capacity(count);
        for (env, view) in out.chunks_exact_mut(kind.bytes()).enumerate() {
            if mask.is_none_or(|mask| mask[env]) {
                views.push((self.world(env)?, view));
            }
        }
        let draw = |part: &mut [(&World, &mut [u8])]| -> Result<(), Error> {
            let mut actors = Vec::new();
            part.iter_mut()
                .try_for_each(|(world, view)| world.birdseye(kind, &mut actors, view))
        };
        let share = views.len().div_ceil(self.threads).max(1);
        if views.len() <= share {
            return draw(&mut views);
        }
        thread::scope(|scope| {
            let handles: Vec<_> = views
                .chunks_mut(share)
                .map(|part| scope.spawn(move || draw(part)))
                .collect();
            handles
                .into_iter()
                .try_for_each(|handle| handle.join().unwrap_or(Err(Error::Thread)))
        })
    }

    /// Writes what was drawn for each environment, `[N, DRAWS.len()]`; rows outside the mask aren't touched.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::NotReset`].
    pub fn draws(&self, mask: Option<&[bool]>, out: &mut [f64]) -> Result<(), Error> {
        self.check_mask(mask)?;
        length("draws", out.len(), self.num_envs() * DRAWS.len())?;
        for (env, row) in out.chunks_exact_mut(DRAWS.len()).enumerate() {
            if mask.is_none_or(|mask| mask[env]) {
                row.copy_from_slice(&self.world(env)?.conditions().row());
            }
        }
        Ok(())
    }

    /// Puts the episode of a snapshot into an environment. Nothing changes on error.
    ///
    /// # Errors
    /// As [`World::restore`], and [`Error::EnvIndex`].
    pub fn restore(&mut self, env: usize, bytes: &[u8]) -> Result<(), Error> {
        let num_envs = self.num_envs();
        let slot = self
            .worlds
            .get_mut(env)
            .ok_or(Error::EnvIndex { env, num_envs })?;
        *slot = Some(World::restore(
            Arc::clone(&self.setup),
            bytes,
            slot.as_ref(),
        )?);
        Ok(())
    }

    /// Copies the episode of one environment into others: they go on from the same state. With `forks` each draws its
    /// own future, by its place among the targets; without, all draw the source's.
    ///
    /// # Errors
    /// [`Error::EnvIndex`] or [`Error::NotReset`]; nothing changes then.
    pub fn branch(&mut self, source: usize, targets: &[usize], forks: bool) -> Result<(), Error> {
        let world = self.world(source)?.clone();
        let num_envs = self.num_envs();
        if let Some(&env) = targets.iter().find(|&&env| env >= num_envs) {
            return Err(Error::EnvIndex { env, num_envs });
        }
        for (&target, number) in targets.iter().zip(0..) {
            let mut branch = world.clone();
            if forks {
                branch.fork(number);
            }
            self.worlds[target] = Some(branch);
        }
        Ok(())
    }

    /// Copies every environment into `held`, which is overwritten: the fast way to come back to a state.
    pub fn hold(&self, held: &mut Vec<Option<World>>) {
        copy_all(&self.worlds, held);
    }

    /// Copies every environment back from where [`Self::hold`] put it.
    ///
    /// # Errors
    /// [`Error::Length`] for worlds of a batch of another size, [`Error::Foreign`] for those of another batch.
    pub fn go_back(&mut self, held: &[Option<World>]) -> Result<(), Error> {
        length("held", held.len(), self.num_envs())?;
        let is_foreign = |world: &World| !world.is_of(&self.setup);
        if held.iter().flatten().any(is_foreign) {
            return Err(Error::Foreign);
        }
        copy_all(held, &mut self.worlds);
        Ok(())
    }

    /// Puts the episode of a snapshot into several environments; see [`Self::branch`] for `forks`.
    ///
    /// # Errors
    /// As [`Self::restore`]; nothing changes then.
    pub fn restore_many(
        &mut self,
        targets: &[usize],
        bytes: &[u8],
        forks: bool,
    ) -> Result<(), Error> {
        let num_envs = self.num_envs();
        if let Some(&env) = targets.iter().find(|&&env| env >= num_envs) {
            return Err(Error::EnvIndex { env, num_envs });
        }
        let Some(&first) = targets.first() else {
            return Ok(());
        };
        self.restore(first, bytes)?;
        self.branch(first, targets, forks)
    }
}

/// Copies worlds over others; what was allocated there is used again.
fn copy_all(from: &[Option<World>], to: &mut Vec<Option<World>>) {
    to.resize_with(from.len(), || None);
    for (from, to) in from.iter().zip(to) {
        match (from, to) {
            (Some(from), Some(to)) => to.copy_from(from),
            (from, to) => to.clone_from(from),
        }
    }
}

fn length(name: &'static str, seen: usize, expected: usize) -> Result<(), Error> {
    if seen == expected {
        Ok(())
    } else {
        Err(Error::Length {
            name,
            seen,
            expected,
        })
    }
}

/// One environment's row of the observations; `length` has been checked.
fn row(observations: &mut [f32], env: usize) -> &mut Observation {
    &mut observations.as_chunks_mut::<OBSERVATION_DIM>().0[env]
}

fn step_rows(mut rows: Vec<Row>, threads: usize) -> Result<(), Error> {
    let share = rows.len().div_ceil(threads).max(LEAST_WORLDS_A_THREAD);
    if rows.len() <= share {
        step_range(&mut rows);
        return Ok(());
    }
    thread::scope(|scope| {
        let handles: Vec<_> = rows
            .chunks_mut(share)
            .map(|part| scope.spawn(move || step_range(part)))
            .collect();
        handles
            .into_iter()
            .try_for_each(|handle| handle.join().map_err(|_| Error::Thread))
    })
}

fn step_range(rows: &mut [Row]) {
    let mut actors: Vec<ActorPose> = Vec::new();
    for row in rows {
        let outcome: Outcome = row.world.step(row.action);
        row.world.observe(&mut actors, row.observation);
        row.reward_terms.copy_from_slice(&outcome.reward_terms);
        *row.terminated = outcome.terminated;
        *row.truncated = outcome.truncated;
        row.info
            .copy_from_slice(&row.world.info(outcome.progress_m));
        row.infractions.copy_from_slice(&outcome.infractions);
    }
}
