//! The two ports.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use mio::net::TcpListener;

/// Attempts to find two free ports one behind the other.
const ATTEMPTS: u32 = 20;

/// Sockets that wait for clients.
#[derive(Debug)]
pub struct Listeners {
    /// For calls.
    pub rpc: Vec<TcpListener>,
    /// For subscriptions.
    pub stream: Vec<TcpListener>,
    /// Port of the calls.
    pub port: u16,
}

/// Listens on `port` and the next one; port 0 takes any free pair. The loopback names take IPv6's loopback too where
/// there is one, because clients try it first.
pub fn listen(host: &str, port: u16) -> io::Result<Listeners> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..if port == 0 { ATTEMPTS } else { 1 } {
        match bind(host, port) {
            Ok(listeners) => return Ok(listeners),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind(host: &str, port: u16) -> io::Result<Listeners> {
    if port == u16::MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "there is no port behind 65535; choose a lower one",
        ));
    }
    let is_loopback = matches!(host, "localhost" | "127.0.0.1");
    let address: IpAddr = if is_loopback {
        Ipv4Addr::LOCALHOST.into()
    } else {
        (host, port)
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"))
            })?
            .ip()
    };
    let first = TcpListener::bind(SocketAddr::new(address, port))?;
    let port = first.local_addr()?.port();
    let (mut rpc, mut stream) = (
        vec![first],
        vec![TcpListener::bind(SocketAddr::new(address, next(port)?))?],
    );
    if is_loopback {
        let also = |port| TcpListener::bind(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port));
        // Machines without IPv6 do without.
        if let (Ok(one), Ok(two)) = (also(port), also(next(port)?)) {
            rpc.push(one);
            stream.push(two);
        }
    }
    Ok(Listeners { rpc, stream, port })
}

fn next(port: u16) -> io::Result<u16> {
    port.checked_add(1)
        .ok_or_else(|| io::ErrorKind::AddrInUse.into())
}
