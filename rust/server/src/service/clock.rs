//! When the world moves: at a client's tick in synchronous mode, in real time otherwise.

use std::time::{Duration, Instant};

use super::Host;
use crate::msgpack::Packer;
use crate::net::LinkId;
use crate::wire::reply::{self, Shape};

/// Steps of asynchronous mode without a fixed length.
const FREE_STEP: Duration = Duration::from_millis(50);
/// The longest such step, when the machine was busy: the Unreal Engine's own bound, beyond which simulated time
/// falls behind there too.
const LONGEST_FREE_STEP_S: f64 = 0.4;
/// Behind by more than this, lost time isn't made up for.
const MOST_BEHIND: Duration = Duration::from_millis(250);

/// A tick that somebody waits for.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    link: LinkId,
    call: u32,
    is_async: bool,
    arrived: Instant,
}

/// The clock.
#[derive(Debug)]
pub struct Clock {
    waiting: Vec<Waiting>,
    next_step: Instant,
    last_step: Instant,
}

impl Clock {
    /// A clock whose first step is due at once.
    pub fn new(now: Instant) -> Self {
        Self {
            waiting: Vec::new(),
            next_step: now,
            last_step: now,
        }
    }

    /// Somebody asks for a tick.
    pub fn ask(&mut self, link: LinkId, call: u32, is_async: bool, now: Instant) {
        self.waiting.push(Waiting {
            link,
            call,
            is_async,
            arrived: now,
        });
    }

    /// In asynchronous mode the next step is due at once: whoever has changed the settings waits for it.
    pub fn hurry(&mut self, now: Instant) {
        self.next_step = now;
    }

    /// A client is gone, and its ticks with it.
    pub fn forget(&mut self, link: LinkId) {
        self.waiting.retain(|waiting| waiting.link != link);
    }
}

impl Host {
    /// Moves the world as far as it is due.
    pub(super) fn keep_time(&mut self, now: Instant) {
        if self.session.settings.is_synchronous {
            while let Some(waiting) = self.clock.waiting.first().copied() {
                if self.holds_tick(waiting.arrived, now).is_some() {
                    return;
                }
                self.clock.waiting.remove(0);
                let step_s = self.session.settings.fixed_delta_s;
                self.tick(step_s.unwrap_or(FREE_STEP.as_secs_f64()), Instant::now());
                if self.is_hung {
                    return;
                }
                self.answer_tick(waiting);
                self.traffic_managers.has_told(waiting.link, Instant::now());
            }
            self.wake_sleepers(now);
            self.clock.last_step = now;
        } else if now >= self.clock.next_step {
            self.step_in_real_time(now);
        }
    }

    fn step_in_real_time(&mut self, now: Instant) {
        let (dt_s, pace) = if let Some(step_s) = self.session.settings.fixed_delta_s {
            (step_s, Duration::from_secs_f64(step_s))
        } else {
            let elapsed_s = now.duration_since(self.clock.last_step).as_secs_f64();
            (elapsed_s.clamp(1e-3, LONGEST_FREE_STEP_S), FREE_STEP)
        };
        self.clock.last_step = now;
        self.clock.next_step += pace;
        if now > self.clock.next_step + MOST_BEHIND {
            self.clock.next_step = now + pace;
        }
        self.tick(dt_s, now);
        if self.is_hung {
            return;
        }
        for waiting in std::mem::take(&mut self.clock.waiting) {
            self.answer_tick(waiting);
        }
    }

    fn answer_tick(&mut self, waiting: Waiting) {
        let Some(link) = self.links.get(&waiting.link) else {
            return;
        };
        let mut out: Packer = std::mem::take(&mut self.reply);
        out.truncate(0);
        if waiting.is_async {
            reply::acknowledge(&mut out, waiting.call);
        } else {
            reply::begin(&mut out, waiting.call, Shape::Value);
            out.unsigned(self.session.frame());
        }
        link.send(out.bytes());
        self.reply = out;
    }

    /// Until when a synchronous tick has to wait.
    fn holds_tick(&mut self, arrived: Instant, now: Instant) -> Option<Instant> {
        self.streams
            .hold(arrived, now)
            .or_else(|| self.traffic_managers.hold(arrived, now))
    }

    /// When something is due although nothing arrives.
    pub(super) fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        if !self.session.settings.is_synchronous {
            return Some(self.clock.next_step);
        }
        let tick = self.clock.waiting.first().map(|waiting| waiting.arrived);
        let tick = tick.map(|arrived| self.holds_tick(arrived, now).unwrap_or(now));
        let wake = self.traffic_managers.oversleeps_at();
        tick.into_iter().chain(wake).min()
    }
}
