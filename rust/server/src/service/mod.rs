//! The world's thread: owns all state, works on requests in the order of their arrival, keeps the clock.

#![allow(
    clippy::unnecessary_wraps,
    reason = "every call has the signature that the table wants"
)]

mod actors;
mod batch;
mod call;
mod clock;
mod episode;
mod journal;
mod lights;
mod maps;
mod rays;
mod residents;
mod session;
mod spawn;
mod streams;
mod sundry;
mod table;
mod traffic_manager;
mod vehicles;
mod wake;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::blueprints::Blueprints;
use crate::faults::{Faults, Tick};
use crate::maps::{Library, LoadedMap};
use crate::msgpack::{Packer, Reader};
use crate::net::{Event, Inbox, Link, LinkId, Work};
use crate::wire::reply;
use crate::wire::request::Request;
use crate::wire::stream::{WORLD_STREAM, channel};

use call::{Call, Done};
use clock::Clock;
use episode::Loading;
pub use journal::Journal;
pub use residents::Residents;
use session::Session;
use streams::Streams;
use table::Handler;
pub use table::{Service, calls};
use traffic_manager::TrafficManagers;

/// Everything that the world's thread owns.
pub struct Host {
    session: Session,
    clock: Clock,
    streams: Streams,
    links: BTreeMap<LinkId, Arc<Link>>,
    inbox: Arc<Inbox>,
    blueprints: Blueprints,
    map_library: Library,
    /// Baked maps by the name of their source.
    cache: BTreeMap<String, Arc<LoadedMap>>,
    loading: Option<Loading>,
    sent_map: Option<String>,
    traffic_managers: TrafficManagers,
    residents: Residents,
    faults: Faults,
    journal: Journal,
    started: Instant,
    /// When the last step was made.
    stepped: Instant,
    stream_port: u16,
    is_hung: bool,
    is_stopping: bool,
    reply: Packer,
}

/// What a host is made of.
pub struct Parts {
    /// Where requests arrive.
    pub inbox: Arc<Inbox>,
    /// Maps by name.
    pub map_library: Library,
    /// The first map, and the name it is served under.
    pub map: (String, Arc<LoadedMap>),
    /// Traffic of the world's own.
    pub residents: Residents,
    /// What shall go wrong.
    pub faults: Faults,
    /// Where lines for the user go.
    pub journal: Journal,
    /// Port of the streams.
    pub stream_port: u16,
}

impl Host {
    /// A host with an empty world on its first map.
    pub fn new(parts: Parts) -> Self {
        let (name, map) = parts.map;
        let now = Instant::now();
        let mut host = Self {
            session: Session::new(name.clone(), Arc::clone(&map)),
            clock: Clock::new(now),
            streams: Streams::default(),
            links: BTreeMap::new(),
            inbox: parts.inbox,
            blueprints: Blueprints::default(),
            map_library: parts.map_library,
            cache: BTreeMap::from([(map.name.clone(), map)]),
            loading: None,
            sent_map: None,
            traffic_managers: TrafficManagers::default(),
            residents: parts.residents,
            faults: parts.faults,
            journal: parts.journal,
            started: now,
            stepped: now,
            stream_port: parts.stream_port,
            is_hung: false,
            is_stopping: false,
            reply: Packer::default(),
        };
        host.populate();
        host
    }

    /// Works until it is told to stop.
    pub fn run(mut self) {
        let mut work = Work::default();
        while !self.is_stopping {
            let patience = self.patience(Instant::now());
            let inbox = Arc::clone(&self.inbox);
            inbox.take(&mut work, patience);
            for event in std::mem::take(&mut work.events) {
                self.handle(event);
            }
            while let Some((link, message)) = work.pop() {
                if !self.is_hung {
                    self.work_on(link, message);
                }
                let size = message.len();
                if let Some(link) = self.links.get(&link) {
                    inbox.done(link, size);
                }
            }
            if !self.is_hung {
                self.keep_time(Instant::now());
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Stop => self.is_stopping = true,
            Event::Opened(link) => {
                self.links.insert(link.id, link);
            }
            Event::Closed(link) => {
                self.links.remove(&link);
                self.clock.forget(link);
                self.traffic_managers.forget(link);
                if let Some(stream) = self.streams.remove(link)
                    && !self.streams.is_heard(stream)
                {
                    self.session.set_heard(stream, false);
                }
            }
            Event::Subscribed(stream, link) => self.subscribe(stream, link),
            Event::Loaded(result) => self.finish_loading(result),
        }
    }

    fn subscribe(&mut self, stream: u32, link: Arc<Link>) {
        if !self.session.knows(stream) {
            link.close();
            return;
        }
        if channel(stream) == WORLD_STREAM {
            // Otherwise a client that connects in synchronous mode would see an empty world until somebody ticks.
            link.send(self.session.write_state(self.stepped - self.started, false));
        } else if let Some(kind) = self.session.set_heard(stream, true)
            && self.session.is_silent(stream)
        {
            self.journal.write(&format!(
                "{kind} was listened to; this server has no pictures or rays, it stays silent"
            ));
        }
        self.streams.add(stream, link);
    }

    fn work_on(&mut self, link: LinkId, message: &[u8]) {
        let Some(peer) = self.links.get(&link).map(Arc::clone) else {
            return;
        };
        let Ok(request) = Request::read(message) else {
            // Not a client: whatever it says next can't be understood either.
            peer.close();
            return;
        };
        let mut out = std::mem::take(&mut self.reply);
        out.truncate(0);
        if self.answer(link, &request, &mut out) == Done::Now {
            peer.send(out.bytes());
        }
        self.reply = out;
    }

    /// Writes the answer, unless it comes later.
    fn answer(&mut self, link: LinkId, request: &Request<'_>, out: &mut Packer) -> Done {
        let Some(row) = table::find(request.name) else {
            let name: String = request.name.chars().take(80).collect();
            let count = request.count;
            reply::reject(
                out,
                request.id,
                &format!("there is no function '{name}' with argument count {count}"),
            );
            return Done::Now;
        };
        reply::begin(out, request.id, row.shape);
        let mut call = Call {
            arguments: request.arguments,
            out: &mut *out,
            link,
            id: request.id,
            is_async: request.is_async,
        };
        let result = match row.handler {
            Handler::Call(handler) => handler(self, &mut call),
            Handler::Actor(act) => {
                let id = call.arguments.number();
                id.map_err(call::Refusal::from)
                    .and_then(|id| act(self, id, &mut call.arguments))
                    .map(|()| Done::Now)
            }
            Handler::Neutral(value) => {
                call.out.raw(value);
                Ok(Done::Now)
            }
        };
        match result {
            Ok(Done::Later) => return Done::Later,
            Ok(Done::Now) if !request.is_async => {}
            Err(refusal) if !request.is_async => {
                out.truncate(0);
                reply::refuse(out, request.id, row.shape, &refusal.0);
            }
            Ok(Done::Now) | Err(_) => {
                out.truncate(0);
                reply::acknowledge(out, request.id);
            }
        }
        Done::Now
    }

    /// One step of the world, told to everybody. The state tells `now` as its moment of real time, so that simulated
    /// and real time can be compared however late the state is written.
    fn tick(&mut self, dt_s: f64, now: Instant) {
        match self.faults.tick(self.session.frame() + 1) {
            Tick::Normal => {}
            Tick::Slow(delay) => std::thread::sleep(delay),
            Tick::Hang => {
                self.is_hung = true;
                return;
            }
            Tick::Crash => std::process::abort(),
        }
        self.stepped = now;
        self.session.step(dt_s);
        self.traffic_managers.has_ticked();
        self.session
            .send_readings(dt_s, &self.streams, &mut self.faults);
        self.send_state();
    }

    /// Sends the state of the world to every client.
    fn send_state(&mut self) {
        let is_new = self.session.take_new_map();
        let is_synchronous = self.session.settings.is_synchronous;
        let state = self
            .session
            .write_state(self.stepped - self.started, is_new);
        self.streams
            .send(WORLD_STREAM, state, is_synchronous || is_new);
    }

    /// How long nothing needs to be done.
    fn patience(&mut self, now: Instant) -> Option<Duration> {
        if self.is_hung {
            None
        } else {
            self.next_deadline(now)
                .map(|at| at.saturating_duration_since(now))
        }
    }
}

/// Reads an actor's id and acts on it; the rest of the arguments follows.
type Action = fn(&mut Host, u32, &mut Reader<'_>) -> Result<(), call::Refusal>;
