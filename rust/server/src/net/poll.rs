//! The thread that waits for all sockets.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::inbox::{Event, Inbox};
use super::link::Link;
use super::listen::Listeners;
use crate::msgpack::Scanner;

/// Connections at one time; more are closed at once.
const MAX_LINKS: usize = 1024;
const READ_BYTES: usize = 64 << 10;
const KEPT_BYTES: usize = 64 << 10;
const WAKE: Token = Token(0);

/// What a connection is for.
#[derive(Debug)]
enum Role {
    /// Calls.
    Rpc {
        input: Vec<u8>,
        scanner: Box<Scanner>,
    },
    /// A subscription whose four bytes haven't all come yet.
    Subscribing(Vec<u8>),
    /// A subscription. The client has nothing more to say.
    Subscribed,
}

#[derive(Debug)]
struct Connection {
    link: Arc<Link>,
    role: Role,
}

#[derive(Debug)]
struct Loop {
    poll: Poll,
    listeners: Vec<(TcpListener, bool)>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    inbox: Arc<Inbox>,
    is_stopping: Arc<AtomicBool>,
    scratch: Vec<u8>,
    ends: Vec<usize>,
}

/// The running thread.
#[derive(Debug)]
pub struct PollThread {
    thread: Option<JoinHandle<()>>,
    stopper: Stopper,
}

/// Ends the thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    is_stopping: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Stopper {
    /// Asks the thread to end.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        let _ = self.waker.wake();
    }
}

impl PollThread {
    /// Starts to serve the listeners; what arrives goes to the inbox that is returned.
    pub fn start(listeners: Listeners) -> io::Result<(Self, Arc<Inbox>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let inbox = Arc::new(Inbox::new(Arc::clone(&waker)));
        let rpc = listeners.rpc.into_iter().map(|listener| (listener, true));
        let mut all: Vec<_> = rpc
            .chain(
                listeners
                    .stream
                    .into_iter()
                    .map(|listener| (listener, false)),
            )
            .collect();
        for (index, (listener, _)) in all.iter_mut().enumerate() {
            poll.registry()
                .register(listener, Token(index + 1), Interest::READABLE)?;
        }
        let stopper = Stopper {
            is_stopping: Arc::default(),
            waker,
        };
        let mut state = Loop {
            poll,
            next: all.len() as u64 + 1,
            listeners: all,
            connections: BTreeMap::new(),
            inbox: Arc::clone(&inbox),
            is_stopping: Arc::clone(&stopper.is_stopping),
            scratch: vec![0; READ_BYTES],
            ends: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name("carla-online-poll".into())
            .spawn(move || state.run())?;
        Ok((
            Self {
                thread: Some(thread),
                stopper,
            },
            inbox,
        ))
    }

    /// A handle that ends the thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }
}

impl Drop for PollThread {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // A panic there is reported by the runtime; there is nothing to add.
            let _ = thread.join();
        }
    }
}

impl Loop {
    fn run(&mut self) {
        let mut events = Events::with_capacity(256);
        while !self.is_stopping.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, None) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            }
            for event in &events {
                let token = event.token().0 as u64;
                if event.token() == WAKE {
                    self.resume();
                } else if token <= self.listeners.len() as u64 {
                    self.accept(token as usize - 1);
                } else {
                    if event.is_writable()
                        && let Some(connection) = self.connections.get(&token)
                    {
                        connection.link.flush();
                    }
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        self.read(token);
                    }
                }
            }
        }
        self.inbox.post(Event::Stop);
    }

    fn accept(&mut self, index: usize) {
        loop {
            let (listener, is_rpc) = &self.listeners[index];
            let is_rpc = *is_rpc;
            match listener.accept() {
                // Without it small replies wait 40 ms for the peer's acknowledgement.
                Ok((stream, _))
                    if self.connections.len() < MAX_LINKS && stream.set_nodelay(true).is_ok() =>
                {
                    self.adopt(stream, is_rpc);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nobody waits any more, or the system has no handles left: the next client tries again.
                Err(_) => return,
            }
        }
    }

    fn adopt(&mut self, mut stream: TcpStream, is_rpc: bool) {
        let id = self.next;
        self.next += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self
            .poll
            .registry()
            .register(&mut stream, Token(id as usize), interest)
            .is_err()
        {
            return;
        }
        let link = Arc::new(Link::new(id, stream));
        let role = if is_rpc {
            self.inbox.post(Event::Opened(Arc::clone(&link)));
            Role::Rpc {
                input: Vec::new(),
                scanner: Box::default(),
            }
        } else {
            Role::Subscribing(Vec::new())
        };
        self.connections.insert(id, Connection { link, role });
    }

    /// Goes on with connections that weren't read because the world was behind.
    fn resume(&mut self) {
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        for id in ids {
            self.read(id);
        }
    }

    fn read(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let is_alive = drain(connection, &mut self.scratch, &mut self.ends, &self.inbox);
        if !is_alive && let Some(connection) = self.connections.remove(&id) {
            connection.link.close();
            self.inbox.post(Event::Closed(id));
        }
    }
}

/// Reads until the socket is empty or the world is behind; whether the connection lives on.
fn drain(
    connection: &mut Connection,
    scratch: &mut [u8],
    ends: &mut Vec<usize>,
    inbox: &Inbox,
) -> bool {
    loop {
        if matches!(connection.role, Role::Rpc { .. }) && Inbox::is_full(&connection.link) {
            return true;
        }
        match (&connection.link.stream).read(scratch) {
            Ok(0) => return false,
            Ok(count) => {
                if !take_in(connection, &scratch[..count], ends, inbox) {
                    return false;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return !connection.link.is_closed();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// Adds bytes to a connection's input; false for bytes that no client sends.
fn take_in(
    connection: &mut Connection,
    bytes: &[u8],
    ends: &mut Vec<usize>,
    inbox: &Inbox,
) -> bool {
    match &mut connection.role {
        Role::Rpc { input, scanner } => {
            input.extend_from_slice(bytes);
            ends.clear();
            let mut start = 0;
            loop {
                match scanner.advance(&input[start..]) {
                    Ok(Some(length)) => {
                        start += length;
                        ends.push(start);
                        **scanner = Scanner::default();
                    }
                    Ok(None) => break,
                    Err(_) => return false,
                }
            }
            if start > 0 {
                inbox.push(&connection.link, &input[..start], ends);
                input.drain(..start);
                if input.is_empty() {
                    input.shrink_to(KEPT_BYTES);
                }
            }
            true
        }
        Role::Subscribing(input) => {
            input.extend_from_slice(bytes);
            match <[u8; 4]>::try_from(input.as_slice()) {
                Ok(stream) => {
                    connection.role = Role::Subscribed;
                    let stream = u32::from_le_bytes(stream);
                    inbox.post(Event::Subscribed(stream, Arc::clone(&connection.link)));
                    true
                }
                Err(_) => input.len() < 4,
            }
        }
        Role::Subscribed => false,
    }
}
