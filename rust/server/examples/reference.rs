//! A server of canned states, the yardstick of `benches/test_server.py`: `reference UPSTREAM_PORT`.
//!
//! It stands between a client and a real server and hands everything on, until the client draws a debug shape. From
//! then on ticks and vehicle controls are answered here: with the last state seen, whose frame and time are counted on,
//! from bytes that are ready. There is no world, no clock and no queue: what is left is the client and the sockets.

use std::env;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use carla_online_server::msgpack::Scanner;
use carla_online_server::wire::request::Request;
use carla_online_server::wire::stream::{HEADER_BYTES, LENGTH_BYTES};
use carla_online_server::wire::token::TOKEN_BYTES;

const STEP_S: f64 = 0.05;
const WORLD_PAYLOAD: u64 = 17;
/// Where a frame's number and its time stand in a message, length included.
const FRAME_AT: usize = LENGTH_BYTES + 8;
const TIME_AT: usize = LENGTH_BYTES + 16;

/// What all connections know.
#[derive(Default)]
struct Canned {
    is_on: bool,
    state: Vec<u8>,
    listeners: Vec<TcpStream>,
}

type Shared = Arc<Mutex<Canned>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Canned> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main() -> io::Result<()> {
    let upstream: u16 = env::args()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| io::Error::other("usage: reference UPSTREAM_PORT"))?;
    let (calls, streams) = (
        TcpListener::bind(("127.0.0.1", 0))?,
        TcpListener::bind(("127.0.0.1", 0))?,
    );
    let ports = (upstream + 1, streams.local_addr()?.port());
    let shared = Shared::default();
    println!("reference on port {}", calls.local_addr()?.port());
    let for_streams = Arc::clone(&shared);
    thread::spawn(move || {
        for client in streams.incoming().flatten() {
            let shared = Arc::clone(&for_streams);
            thread::spawn(move || hand_on_stream(client, ports.0, &shared));
        }
    });
    thread::spawn(move || {
        for client in calls.incoming().flatten() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || answer(client, upstream, ports, &shared));
        }
    });
    // Until whoever started it is done.
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Subscribes upstream to what a client subscribes to, and hands its messages on.
fn hand_on_stream(mut client: TcpStream, upstream: u16, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut id = [0; 4];
    client.read_exact(&mut id)?;
    let mut server = TcpStream::connect(("127.0.0.1", upstream))?;
    server.write_all(&id)?;
    let mut is_known = false;
    loop {
        let mut message = vec![0; LENGTH_BYTES];
        server.read_exact(&mut message)?;
        let length = u32::from_le_bytes([message[0], message[1], message[2], message[3]]);
        message.resize(LENGTH_BYTES + length as usize, 0);
        server.read_exact(&mut message[LENGTH_BYTES..])?;
        let is_world = message.len() >= LENGTH_BYTES + HEADER_BYTES
            && message[LENGTH_BYTES..FRAME_AT] == WORLD_PAYLOAD.to_le_bytes();
        let mut canned = lock(shared);
        if is_world && !is_known {
            canned.listeners.push(client.try_clone()?);
            is_known = true;
        }
        client.write_all(&message)?;
        if is_world {
            canned.state = message;
        }
    }
}

/// Answers one client's calls: from here when canned, from upstream otherwise.
fn answer(
    mut client: TcpStream,
    upstream: u16,
    ports: (u16, u16),
    shared: &Shared,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(("127.0.0.1", upstream))?;
    server.set_nodelay(true)?;
    let (mut asked, mut told) = (Vec::new(), Vec::new());
    loop {
        let length = read_value(&mut client, &mut asked)?;
        let request = Request::read(&asked[..length]).map_err(io::Error::other)?;
        let mut canned = lock(shared);
        canned.is_on |= request.name == "draw_debug_shape";
        match request.name {
            "tick_cue" if canned.is_on => {
                let frame = next_state(&mut canned)?;
                client.write_all(&tick_reply(request.id, frame))?;
            }
            "apply_control_to_vehicle" if canned.is_on => {
                let [a, b, c, d] = request.id.to_be_bytes();
                client.write_all(&[0x94, 1, 0xce, a, b, c, d, 0xc0, 0xc0])?;
            }
            _ => {
                drop(canned);
                server.write_all(&asked[..length])?;
                let answered = read_value(&mut server, &mut told)?;
                redirect(&mut told[..answered], ports);
                client.write_all(&told[..answered])?;
                told.drain(..answered);
            }
        }
        asked.drain(..length);
    }
}

/// Reads until `buffer` begins with a whole value; its length.
fn read_value(from: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut scanner = Scanner::default();
    let mut part = vec![0; 1 << 16];
    loop {
        if let Some(length) = scanner.advance(buffer).map_err(io::Error::other)? {
            return Ok(length);
        }
        let count = from.read(&mut part)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&part[..count]);
    }
}

/// Sends the next state to all listeners; its frame.
fn next_state(canned: &mut Canned) -> io::Result<u64> {
    let number = |bytes: &[u8]| -> [u8; 8] { std::array::from_fn(|i| bytes[i]) };
    let state = &mut canned.state;
    let frame = u64::from_le_bytes(number(&state[FRAME_AT..])) + 1;
    let time_s = f64::from_le_bytes(number(&state[TIME_AT..])) + STEP_S;
    state[FRAME_AT..FRAME_AT + 8].copy_from_slice(&frame.to_le_bytes());
    state[TIME_AT..TIME_AT + 8].copy_from_slice(&time_s.to_le_bytes());
    for mut listener in &canned.listeners {
        listener.write_all(&canned.state)?;
    }
    Ok(frame)
}

/// `[1, id, nil, [[1, frame]]]`
fn tick_reply(id: u32, frame: u64) -> Vec<u8> {
    let mut reply = vec![0x94, 1, 0xce];
    reply.extend_from_slice(&id.to_be_bytes());
    reply.extend_from_slice(&[0xc0, 0x91, 0x92, 1, 0xcf]);
    reply.extend_from_slice(&frame.to_be_bytes());
    reply
}

/// Tokens lead to the streams of this server, not to those upstream.
fn redirect(reply: &mut [u8], (theirs, ours): (u16, u16)) {
    for at in 2..(reply.len() + 1).saturating_sub(TOKEN_BYTES) {
        let is_token = reply[at - 2..at] == [0xc4, TOKEN_BYTES as u8]
            && reply[at + 4..at + 6] == theirs.to_le_bytes();
        if is_token {
            reply[at + 4..at + 6].copy_from_slice(&ours.to_le_bytes());
        }
    }
}
