//! A running server.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::error::Error;
use crate::faults::Faults;
use crate::maps::{Library, short_name};
use crate::net::{self, Event, Inbox, PollThread};
use crate::service::{Host, Journal, Parts, Residents};

/// What to serve, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Host to listen on; loopback unless said otherwise.
    pub host: String,
    /// Port of the calls; the streams take the next one. 0 for any free pair.
    pub port: u16,
    /// Name of the first map.
    pub map: String,
    /// Folder of `.xodr` files.
    pub maps: Option<PathBuf>,
    /// Names and the maps that are served for them.
    pub aliases: Vec<(String, String)>,
    /// Traffic of the world's own.
    pub residents: Residents,
    /// Faults, in the forms of [`FAULT_FORMS`](crate::FAULT_FORMS).
    pub faults: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 2000,
            map: "GridTown".into(),
            maps: None,
            aliases: Vec::new(),
            residents: Residents::default(),
            faults: Vec::new(),
        }
    }
}

/// A server, until it is dropped.
#[derive(Debug)]
pub struct Server {
    port: u16,
    inbox: Arc<Inbox>,
    journal: Journal,
    world: Option<JoinHandle<()>>,
    /// Dropped last: it joins.
    poll: Option<PollThread>,
}

impl Server {
    /// Loads the map, binds the ports and starts the two threads.
    ///
    /// # Errors
    ///
    /// Ports that are taken, maps that aren't there or can't be read, faults that don't exist.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let mut faults = Faults::default();
        options
            .faults
            .iter()
            .try_for_each(|fault| faults.add(fault))?;
        let library = Library::new(options.maps.as_deref(), &options.aliases)?;
        let name = short_name(&options.map).to_owned();
        let source = library
            .find(&name)
            .ok_or_else(|| Error::UnknownMap {
                name: options.map.clone(),
                known: library.names(),
            })?
            .clone();
        let map = Arc::new(source.load(&source.key())?);
        let listeners =
            net::listen(&options.host, options.port).map_err(|source| Error::Listen {
                host: options.host.clone(),
                port: options.port,
                source,
            })?;
        let port = listeners.port;
        let (poll, inbox) = PollThread::start(listeners).map_err(Error::Thread)?;
        let journal = Journal::default();
        let host = Host::new(Parts {
            inbox: Arc::clone(&inbox),
            map_library: library,
            map: (name, map),
            residents: options.residents,
            faults,
            journal: journal.clone(),
            stream_port: port + 1,
        });
        let stopper = poll.stopper();
        let world = thread::Builder::new()
            .name("carla-online-world".into())
            .spawn(move || {
                host.run();
                stopper.stop();
            })
            .map_err(Error::Thread)?;
        Ok(Self {
            port,
            inbox,
            journal,
            world: Some(world),
            poll: Some(poll),
        })
    }

    /// The port of the calls.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lines for the user since the last call.
    pub fn take_journal(&self) -> Vec<String> {
        self.journal.take()
    }

    /// Whether it serves. It ends by itself only if one of its threads has failed.
    pub fn is_running(&self) -> bool {
        self.world
            .as_ref()
            .is_some_and(|world| !world.is_finished())
    }

    /// Closes all connections and frees the ports.
    pub fn stop(&mut self) {
        self.inbox.post(Event::Stop);
        if let Some(world) = self.world.take() {
            // A panic there was reported by the runtime; the ports are freed all the same.
            let _ = world.join();
        }
        self.poll = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
