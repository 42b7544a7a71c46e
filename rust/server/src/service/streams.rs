//! Who listens to what.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::{Link, LinkId};
use crate::wire::stream::channel;

/// How long a tick waits for a client that has announced a subscription.
const SUBSCRIPTION_PATIENCE: Duration = Duration::from_secs(1);
/// How long a synchronous tick waits for a subscriber that doesn't read, before it is cut off.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// Subscriptions, and those that are about to come.
#[derive(Debug, Default)]
pub struct Streams {
    subscribers: BTreeMap<u32, Vec<Arc<Link>>>,
    /// Streams whose token was handed out, until the subscription comes or the deadline has passed.
    awaited: Vec<(u32, Instant)>,
}

impl Streams {
    /// A token was handed out: a fast world would otherwise be steps ahead before the client listens.
    pub fn expect(&mut self, stream: u32, now: Instant) {
        self.awaited.push((stream, now + SUBSCRIPTION_PATIENCE));
    }

    /// Somebody listens.
    pub fn add(&mut self, stream: u32, link: Arc<Link>) {
        if let Some(index) = self
            .awaited
            .iter()
            .position(|(awaited, _)| *awaited == stream)
        {
            self.awaited.remove(index);
        }
        self.subscribers
            .entry(channel(stream))
            .or_default()
            .push(link);
    }

    /// Somebody doesn't listen any more; the stream, if it was one.
    pub fn remove(&mut self, link: LinkId) -> Option<u32> {
        let (stream, links) = self
            .subscribers
            .iter_mut()
            .find(|(_, links)| links.iter().any(|candidate| candidate.id == link))?;
        let stream = *stream;
        links.retain(|candidate| candidate.id != link);
        if links.is_empty() {
            self.subscribers.remove(&stream);
        }
        Some(stream)
    }

    /// Whether anybody listens.
    pub fn is_heard(&self, stream: u32) -> bool {
        self.subscribers.contains_key(&stream)
    }

    /// Sends a message to everybody who listens. Who is still busy with the last one loses this one, unless it must
    /// arrive.
    pub fn send(&self, stream: u32, message: &[u8], must_arrive: bool) {
        for link in self.subscribers.get(&stream).into_iter().flatten() {
            if must_arrive || link.is_drained() {
                link.send(message);
            }
        }
    }

    /// Until when a synchronous tick that arrived at `arrived` must wait; none if it needn't. Drops what it would wait for in vain.
    pub fn hold(&mut self, arrived: Instant, now: Instant) -> Option<Instant> {
        self.awaited.retain(|(_, deadline)| *deadline > now);
        let subscription = self.awaited.iter().map(|(_, deadline)| *deadline).max();
        let mut stuck = self
            .subscribers
            .values()
            .flatten()
            .filter(|link| !link.is_drained())
            .peekable();
        if stuck.peek().is_none() {
            return subscription;
        }
        let deadline = arrived + DRAIN_PATIENCE;
        if now >= deadline {
            stuck.for_each(|link| link.close());
            return subscription;
        }
        // Nobody tells when a socket has drained: look again soon.
        Some(
            subscription
                .unwrap_or(deadline)
                .min(now + Duration::from_millis(2)),
        )
    }
}
