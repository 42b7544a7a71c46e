//! The one error type of this crate.

use std::io;
use std::path::PathBuf;

/// Why a server couldn't be started. What clients do wrong is answered to them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A port is taken, or the host isn't ours.
    #[error(
        "can't listen on {host} port {port} and the one behind it: {source}; choose another --port or --host"
    )]
    Listen {
        /// The host asked for.
        host: String,
        /// The port asked for.
        port: u16,
        /// The system's reason.
        source: io::Error,
    },
    /// A thread couldn't be started.
    #[error("the server's threads can't be started: {0}")]
    Thread(io::Error),
    /// A map file or the directory can't be read.
    #[error("{}: {source}", .path.display())]
    Maps {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A line of a file of solids isn't a box.
    #[error(
        "{} line {line}: expected `kind x y z half_x half_y half_z yaw` with finite numbers and positive halves",
        .path.display()
    )]
    Solids {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The road layer refused a map.
    #[error("the map {name} can't be served: {source}")]
    Map {
        /// The map.
        name: String,
        /// The road layer's reason.
        source: carla_online_roads::Error,
    },
    /// There is no such map.
    #[error("there is no map {name:?}; there are {}", .known.join(", "))]
    UnknownMap {
        /// The name asked for.
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// A fault isn't one of those that can be asked for.
    #[error("fault {text:?} isn't one of {}", crate::faults::FORMS)]
    Fault {
        /// What was asked for.
        text: String,
    },
}
