//! The registry of Traffic Managers, which run in the clients.
//!
//! The 0.9.16 wheel can lose a wake-up between its main thread and its Traffic Manager's (carla #9172): the client hangs for ever if it ticks
//! again before that thread has gone back to sleep. A rendering server is too slow to meet it. Here a tick waits until
//! the Traffic Manager has asked for the settings, which is the last thing it does in a step, and a little longer. Where
//! it slept through a tick all the same, as on a machine with too much to do, it is woken (see [`wake`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Host;
use super::call::{Answer, Call, Done};
use super::wake::wake;
use crate::net::LinkId;

/// Longest wait for the request that ends a Traffic Manager's step.
const PATIENCE: Duration = Duration::from_millis(5);
/// Time for its thread to fall asleep.
const FALL_ASLEEP: Duration = Duration::from_micros(300);
/// One that hasn't asked for the settings so long after its client's tick has slept through it.
const OVERSLEPT: Duration = Duration::from_secs(1);
/// Attempts to wake it; after them it is somebody else's matter.
const MOST_WAKES: u32 = 5;
const MAX_MANAGERS: usize = 256;

/// Registered Traffic Managers by port.
#[derive(Debug, Default)]
pub struct TrafficManagers {
    by_port: BTreeMap<u16, (String, LinkId)>,
    /// Requests for the settings since the last step, by owners of Traffic Managers.
    asked: usize,
    settled: Option<Instant>,
    ticking: Option<Ticking>,
}

/// A client that has been given its tick, and whose Traffic Managers should begin their step now.
#[derive(Debug)]
struct Ticking {
    link: LinkId,
    since: Instant,
    wakes: u32,
}

impl TrafficManagers {
    fn count_of(&self, link: LinkId) -> usize {
        let owners = self.by_port.values();
        owners.filter(|(_, owner)| *owner == link).count()
    }

    /// A client is gone, and its Traffic Managers with it.
    pub fn forget(&mut self, link: LinkId) {
        self.by_port.retain(|_, (_, owner)| *owner != link);
        self.ticking.take_if(|ticking| ticking.link == link);
    }

    /// A client has asked for the settings.
    pub fn has_asked(&mut self, link: LinkId, now: Instant) {
        let count = self.count_of(link);
        if count == 0 {
            return;
        }
        self.asked += 1;
        if self.asked >= count {
            self.settled = Some(now);
            self.ticking = None;
        }
    }

    /// The world has moved.
    pub fn has_ticked(&mut self) {
        (self.asked, self.settled, self.ticking) = (0, None, None);
    }

    /// The client that had asked for the step has been told of it.
    pub fn has_told(&mut self, link: LinkId, now: Instant) {
        if self.count_of(link) > 0 {
            self.ticking = Some(Ticking {
                link,
                since: now,
                wakes: 0,
            });
        }
    }

    /// Until when a tick that arrived at `arrived` has to wait.
    pub fn hold(&self, arrived: Instant, now: Instant) -> Option<Instant> {
        if self.by_port.is_empty() {
            return None;
        }
        // One that runs free asks for the settings all the time: however often it asks, patience ends.
        let patience = arrived + PATIENCE;
        let until = self.settled.map_or(patience, |settled| {
            (settled.max(arrived) + FALL_ASLEEP).min(patience)
        });
        (now < until).then_some(until)
    }

    /// When a Traffic Manager will have slept too long.
    pub fn oversleeps_at(&self) -> Option<Instant> {
        let ticking = self.ticking.as_ref()?;
        (ticking.wakes < MOST_WAKES).then(|| ticking.since + OVERSLEPT * (ticking.wakes + 1))
    }

    /// The client whose Traffic Managers have slept too long, and their ports. Tells of them once for every attempt.
    fn overslept(&mut self, now: Instant) -> Option<(LinkId, Vec<u16>)> {
        if self.oversleeps_at().is_none_or(|at| now < at) {
            return None;
        }
        let ticking = self.ticking.as_mut()?;
        ticking.wakes += 1;
        let link = ticking.link;
        let managers = self.by_port.iter();
        let mine = managers.filter(|(_, (_, owner))| *owner == link);
        Some((link, mine.map(|(port, _)| *port).collect()))
    }
}

impl Host {
    /// Wakes Traffic Managers that slept through their client's tick. Only the client's own address is called back,
    /// whatever address it registered.
    pub(super) fn wake_sleepers(&mut self, now: Instant) {
        let Some((link, ports)) = self.traffic_managers.overslept(now) else {
            return;
        };
        let Some(peer) = self.links.get(&link).and_then(|link| link.peer()) else {
            return;
        };
        for port in &ports {
            self.journal.write(&format!(
                "the Traffic Manager on port {port} slept through a tick (carla #9172) and is being woken"
            ));
        }
        let addresses = ports.into_iter().map(|port| SocketAddr::new(peer, port));
        wake(addresses.collect());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traffic_manager_that_never_stops_asking_holds_no_tick_for_longer_than_patience() {
        let (client, arrived) = (7, Instant::now());
        let mut managers = TrafficManagers::default();
        managers.by_port.insert(8000, (String::new(), client));
        managers.has_ticked();
        assert_eq!(managers.hold(arrived, arrived), Some(arrived + PATIENCE));
        for asked_us in (0..20_000).step_by(100) {
            let now = arrived + Duration::from_micros(asked_us);
            managers.has_asked(client, now);
            assert_eq!(
                managers.hold(arrived, now).is_some(),
                now < arrived + PATIENCE
            );
        }
    }

    #[test]
    fn a_traffic_manager_that_has_asked_is_given_time_to_fall_asleep() {
        let (client, asked) = (7, Instant::now());
        let mut managers = TrafficManagers::default();
        managers.by_port.insert(8000, (String::new(), client));
        managers.has_asked(client, asked);
        assert_eq!(managers.hold(asked, asked), Some(asked + FALL_ASLEEP));
        assert_eq!(managers.hold(asked, asked + FALL_ASLEEP), None);
    }
}
