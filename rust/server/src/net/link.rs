//! One connection, seen from both threads.

use std::io::{self, Write};
use std::net::{IpAddr, Shutdown};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mio::net::TcpStream;

/// Names a connection; never used twice.
pub type LinkId = u64;

/// Bytes that may wait for a peer that doesn't read. The largest answer, a map's text, is below half of it.
const MAX_PENDING_BYTES: usize = 64 << 20;
/// Memory that an emptied buffer keeps.
const KEPT_BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
struct Outbox {
    pending: Vec<u8>,
    sent: usize,
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    /// Its name.
    pub id: LinkId,
    pub(super) stream: TcpStream,
    peer: Option<IpAddr>,
    outbox: Mutex<Outbox>,
    is_closed: AtomicBool,
    /// Bytes of requests that the world hasn't worked on yet.
    pub(super) queued_bytes: AtomicUsize,
    /// Whether reading waits until the world has caught up.
    pub(super) is_paused: AtomicBool,
}

impl Link {
    pub(super) fn new(id: LinkId, stream: TcpStream) -> Self {
        Self {
            id,
            peer: stream.peer_addr().ok().map(|address| address.ip()),
            stream,
            outbox: Mutex::default(),
            is_closed: AtomicBool::new(false),
            queued_bytes: AtomicUsize::new(0),
            is_paused: AtomicBool::new(false),
        }
    }

    /// The other end's address, if it was still there when the connection was taken.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // Bytes are moved, never transformed, under this lock: a poisoned one holds nothing half done.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends bytes, at once as far as the socket takes them. A peer that lets too much wait is cut off.
    pub fn send(&self, bytes: &[u8]) {
        if self.is_closed() {
            return;
        }
        let mut outbox = self.outbox();
        let mut bytes = bytes;
        if outbox.pending.is_empty() {
            match write_some(&self.stream, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(_) => return self.close(),
            }
        }
        if outbox.pending.len() - outbox.sent + bytes.len() > MAX_PENDING_BYTES {
            return self.close();
        }
        outbox.pending.extend_from_slice(bytes);
    }

    /// Writes what waits; called when the socket has room.
    pub(super) fn flush(&self) {
        let mut outbox = self.outbox();
        if outbox.pending.is_empty() {
            return;
        }
        let sent = outbox.sent;
        match write_some(&self.stream, &outbox.pending[sent..]) {
            Ok(count) => outbox.sent += count,
            Err(_) => return self.close(),
        }
        if outbox.sent == outbox.pending.len() {
            outbox.sent = 0;
            outbox.pending.clear();
            outbox.pending.shrink_to(KEPT_BYTES);
        }
    }

    /// Whether everything sent has reached the socket.
    pub fn is_drained(&self) -> bool {
        self.is_closed() || self.outbox().pending.is_empty()
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Ends the connection; the waiting thread notices and clears up.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        // Fails only if the peer was faster.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Writes until the socket is full.
fn write_some(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < bytes.len() {
        match stream.write(&bytes[count..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => count += written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
