//! The registry of Traffic Managers, which run in the clients.
//!
//! The 0.9.16 wheel can lose a wake-up between its main thread and its Traffic Manager's (carla #9172): the client hangs for ever if it ticks
//! again before that thread has gone back to sleep. A rendering server is too slow to meet it. Here a tick waits until
//! the Traffic Manager has asked for the settings, which is the last thing it does in a step, and a little longer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Host;
use super::call::{Answer, Call, Done};
use crate::net::LinkId;

/// Longest wait for the request that ends a Traffic Manager's step.
const PATIENCE: Duration = Duration::from_millis(5);
/// Time for its thread to fall asleep.
const FALL_ASLEEP: Duration = Duration::from_micros(300);
const MAX_MANAGERS: usize = 256;

/// Registered Traffic Managers by port.
#[derive(Debug, Default)]
pub struct TrafficManagers {
    by_port: BTreeMap<u16, (String, LinkId)>,
    settled: Option<Instant>,
}

impl TrafficManagers {
    /// A client is gone, and its Traffic Managers with it.
    pub fn forget(&mut self, link: LinkId) {
        self.by_port.retain(|_, (_, owner)| *owner != link);
    }

    /// Somebody has asked for the settings.
    pub fn has_settled(&mut self, now: Instant) {
        self.settled = Some(now);
    }

    /// The world has moved.
    pub fn has_ticked(&mut self) {
        self.settled = None;
    }

    /// Until when a tick that arrived at `arrived` has to wait.
    pub fn hold(&self, arrived: Instant, now: Instant) -> Option<Instant> {
        if self.by_port.is_empty() {
            return None;
        }
        let until = match self.settled {
            Some(settled) => settled.max(arrived) + FALL_ASLEEP,
            None => arrived + PATIENCE,
        };
        (now < until).then_some(until)
    }
}

pub(super) fn is_running(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let port: u16 = call.arguments.number()?;
    call.out
        .boolean(host.traffic_managers.by_port.contains_key(&port));
    Ok(Done::Now)
}

pub(super) fn find(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let port: u16 = call.arguments.number()?;
    let found = host.traffic_managers.by_port.get(&port);
    call.out.array(2);
    call.out.text(found.map_or("", |(address, _)| address));
    call.out.unsigned(found.map_or(0, |_| port.into()));
    Ok(Done::Now)
}

pub(super) fn add(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let (address, port) = call.arguments.tuple(2, |inner| {
        Ok((inner.text()?.to_owned(), inner.number::<u16>()?))
    })?;
    let managers = &mut host.traffic_managers.by_port;
    let is_new = managers.len() < MAX_MANAGERS && !managers.contains_key(&port);
    if is_new {
        managers.insert(port, (address, call.link));
    }
    call.out.boolean(is_new);
    Ok(Done::Now)
}

pub(super) fn remove(host: &mut Host, call: &mut Call<'_>) -> Answer {
    let port: u16 = call.arguments.number()?;
    call.out
        .boolean(host.traffic_managers.by_port.remove(&port).is_some());
    Ok(Done::Now)
}
