//! What waits for the world's thread.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::Waker;

use super::link::{Link, LinkId};
use crate::maps::LoadedMap;

/// Requests of one connection that may wait before it isn't read any more, bytes.
const MAX_QUEUED_BYTES: usize = 4 << 20;
const KEPT_BYTES: usize = 1 << 20;

/// Something that happened beside requests.
#[derive(Debug)]
pub enum Event {
    /// A client connected.
    Opened(Arc<Link>),
    /// Somebody subscribed to a stream.
    Subscribed(u32, Arc<Link>),
    /// A connection, of either port, is over.
    Closed(LinkId),
    /// A map was read, or not.
    Loaded(Result<Arc<LoadedMap>, String>),
    /// The server shall end.
    Stop,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    link: LinkId,
    start: usize,
    end: usize,
}

/// Requests in the order of their arrival, with their bytes in one buffer.
#[derive(Debug, Default)]
pub struct Work {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    next: usize,
    /// Events, to be handled before the requests.
    pub events: Vec<Event>,
}

impl Work {
    /// The next request.
    pub fn pop(&mut self) -> Option<(LinkId, &[u8])> {
        let entry = *self.entries.get(self.next)?;
        self.next += 1;
        Some((entry.link, &self.bytes[entry.start..entry.end]))
    }

    /// Whether all requests were taken.
    pub fn is_empty(&self) -> bool {
        self.next == self.entries.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.entries.clear();
        self.next = 0;
    }
}

#[derive(Debug, Default)]
struct Waiting {
    work: Work,
    is_waited_for: bool,
}

/// The queue between the two threads.
#[derive(Debug)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    waker: Arc<Waker>,
}

impl Inbox {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            waker,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under this lock can panic half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, waiting: MutexGuard<'_, Waiting>) {
        let is_waited_for = waiting.is_waited_for;
        drop(waiting);
        if is_waited_for {
            self.arrived.notify_one();
        }
    }

    /// Queues an event.
    pub fn post(&self, event: Event) {
        let mut waiting = self.lock();
        waiting.work.events.push(event);
        self.announce(waiting);
    }

    /// Queues requests of one connection: complete messages one behind another, each ending where `ends` says.
    pub(super) fn push(&self, link: &Link, bytes: &[u8], ends: &[usize]) {
        link.queued_bytes.fetch_add(bytes.len(), Ordering::SeqCst);
        let mut waiting = self.lock();
        let base = waiting.work.bytes.len();
        waiting.work.bytes.extend_from_slice(bytes);
        let mut start = base;
        for end in ends {
            let end = base + end;
            waiting.work.entries.push(Entry {
                link: link.id,
                start,
                end,
            });
            start = end;
        }
        self.announce(waiting);
    }

    /// Whether a connection has so much waiting that it shouldn't be read.
    pub(super) fn is_full(link: &Link) -> bool {
        if link.queued_bytes.load(Ordering::SeqCst) <= MAX_QUEUED_BYTES {
            return false;
        }
        link.is_paused.store(true, Ordering::SeqCst);
        // The world may have caught up in between and found nothing paused; then nobody would wake us.
        let has_caught_up = link.queued_bytes.load(Ordering::SeqCst) <= MAX_QUEUED_BYTES / 2;
        if has_caught_up {
            link.is_paused.store(false, Ordering::SeqCst);
        }
        !has_caught_up
    }

    /// Tells that a request of this size has been worked on.
    pub fn done(&self, link: &Link, bytes: usize) {
        let before = link.queued_bytes.fetch_sub(bytes, Ordering::SeqCst);
        let is_low = before - bytes <= MAX_QUEUED_BYTES / 2;
        if is_low && link.is_paused.swap(false, Ordering::SeqCst) {
            // A failed wake-up would leave one connection unread; there is no reason for it to fail.
            let _ = self.waker.wake();
        }
    }

    /// Takes everything that has arrived into `work`, whose own requests must have been taken; waits for at most `patience` if
    /// nothing has.
    pub fn take(&self, work: &mut Work, patience: Option<Duration>) {
        debug_assert!(work.is_empty());
        let mut waiting = self.lock();
        if waiting.work.entries.is_empty() && waiting.work.events.is_empty() {
            waiting.is_waited_for = true;
            waiting = match patience {
                Some(patience) => {
                    self.arrived
                        .wait_timeout(waiting, patience)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .arrived
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
            };
            waiting.is_waited_for = false;
        }
        work.clear();
        work.events.clear();
        std::mem::swap(&mut waiting.work, work);
    }
}
