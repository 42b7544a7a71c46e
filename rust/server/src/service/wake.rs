//! Wakes a Traffic Manager that sleeps while its client waits for it.
//!
//! A Traffic Manager serves calls in the client's process. Its `set_synchronous_mode(false)` signals the condition that
//! its thread waits for and, unlike `synchronous_tick`, doesn't wait itself; the thread finds the step that it had
//! missed and makes it, and the client goes on. `set_synchronous_mode(true)` leaves the mode as it was.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::msgpack::{Packer, Scanner};

const PATIENCE: Duration = Duration::from_secs(1);
/// More than the answer to a call that returns nothing.
const MAX_ANSWER_BYTES: usize = 256;

/// Makes the calls, one Traffic Manager after the other, from a thread of its own: the world doesn't wait for a client. A
/// Traffic Manager that can't be reached stays as it is.
pub(super) fn wake(addresses: Vec<SocketAddr>) {
    let call = move || {
        for address in addresses {
            let _ = make_calls(address);
        }
    };
    // Without a thread nobody is woken, and the next attempt is a second away.
    let _ = std::thread::Builder::new().name("wake".into()).spawn(call);
}

fn make_calls(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    for (id, is_synchronous) in [(0, false), (1, true)] {
        let mut out = Packer::default();
        out.array(4);
        out.unsigned(0);
        out.unsigned(id);
        out.text("set_synchronous_mode");
        out.array(1);
        out.boolean(is_synchronous);
        stream.write_all(out.bytes())?;
        read_answer(&mut stream)?;
    }
    Ok(())
}

/// Waits for one complete answer; what it says doesn't matter.
fn read_answer(stream: &mut TcpStream) -> io::Result<()> {
    let mut answer = [0; MAX_ANSWER_BYTES];
    let (mut seen, mut scanner) = (0, Scanner::default());
    while seen < MAX_ANSWER_BYTES {
        match stream.read(&mut answer[seen..])? {
            0 => break,
            count => seen += count,
        }
        if scanner.advance(&answer[..seen]) != Ok(None) {
            break;
        }
    }
    Ok(())
}
