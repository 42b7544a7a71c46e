//! Faults on demand, so that everybody's recovery code can be tested.

use std::time::Duration;

use crate::error::Error;

/// The forms of a fault, for help texts.
pub const FORMS: &str = "hang-at=FRAME, crash-at=FRAME, slow=MILLISECONDS, drop-sensor=EVERY_NTH, refuse-spawn=EVERY_NTH, none";

/// What goes wrong, and when. Frames are counted from the server's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    hang_at: Option<u64>,
    crash_at: Option<u64>,
    slow: Option<Duration>,
    drop_sensor: Option<u64>,
    refuse_spawn: Option<u64>,
    sensor_messages: u64,
    spawns: u64,
}

/// What a tick shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// Nothing special.
    Normal,
    /// Never answer again.
    Hang,
    /// End the process without a word.
    Crash,
    /// Take this much longer.
    Slow(Duration),
}

impl Faults {
    /// Adds a fault given as text, one of [`FORMS`].
    ///
    /// # Errors
    ///
    /// A text that isn't one.
    pub fn add(&mut self, text: &str) -> Result<(), Error> {
        let fault = || Error::Fault {
            text: text.chars().take(100).collect(),
        };
        if text == "none" {
            *self = Self::default();
            return Ok(());
        }
        let (name, number) = text.split_once('=').ok_or_else(fault)?;
        let number: u64 = number
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(fault)?;
        match name {
            "hang-at" => self.hang_at = Some(number),
            "crash-at" => self.crash_at = Some(number),
            "slow" => self.slow = Some(Duration::from_millis(number.min(600_000))),
            "drop-sensor" => self.drop_sensor = Some(number),
            "refuse-spawn" => self.refuse_spawn = Some(number),
            _ => return Err(fault()),
        }
        Ok(())
    }

    /// What the tick that leads to `frame` shall do.
    pub fn tick(&self, frame: u64) -> Tick {
        let is_past = |at: Option<u64>| at.is_some_and(|at| frame >= at);
        match self.slow {
            _ if is_past(self.crash_at) => Tick::Crash,
            _ if is_past(self.hang_at) => Tick::Hang,
            Some(delay) => Tick::Slow(delay),
            None => Tick::Normal,
        }
    }

    /// Whether the next sensor message gets lost.
    pub fn loses_message(&mut self) -> bool {
        self.sensor_messages += 1;
        self.drop_sensor
            .is_some_and(|every| self.sensor_messages.is_multiple_of(every))
    }

    /// Whether the next spawn is refused.
    pub fn refuses_spawn(&mut self) -> bool {
        self.spawns += 1;
        self.refuse_spawn
            .is_some_and(|every| self.spawns.is_multiple_of(every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_when_they_were_asked_for_and_nonsense_is_refused() {
        let mut faults = Faults::default();
        faults.add("hang-at=5").unwrap();
        faults.add("refuse-spawn=3").unwrap();
        assert_eq!(
            (faults.tick(4), faults.tick(5), faults.tick(6)),
            (Tick::Normal, Tick::Hang, Tick::Hang)
        );
        assert_eq!(
            [0; 6].map(|_: i32| faults.refuses_spawn()),
            [false, false, true, false, false, true]
        );
        assert!(!faults.loses_message());
        faults.add("none").unwrap();
        assert_eq!(faults, Faults::default());
        for nonsense in ["", "hang-at", "hang-at=-1", "hang-at=0", "explode=1"] {
            assert!(faults.add(nonsense).is_err(), "{nonsense}");
        }
    }
}
