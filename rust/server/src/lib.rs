//! CARLA 0.9.16's server, as far as it needs no pictures, in front of a light driving world.
//!
//! The unmodified `carla` client connects, loads maps, spawns and drives actors, ticks and listens to sensors as
//! with the real server. Layers, each knowing only those before it: [`msgpack`] (values), [`wire`] (the protocol's
//! structures), `net` (sockets), `service` (the table of calls and the world's thread). The world itself is
//! [`carla_online_world::stage`], which knows no protocol.
//!
//! ```no_run
//! use carla_online_server::{Options, Server};
//!
//! let server = Server::start(&Options { port: 2000, ..Options::default() })?;
//! println!("serving on port {}", server.port());
//! # Ok::<(), carla_online_server::Error>(())
//! ```
#![forbid(unsafe_code)]

mod blueprints;
mod error;
mod faults;
mod maps;
pub mod msgpack;
mod net;
mod server;
mod service;
pub mod wire;

pub use error::Error;
pub use faults::FORMS as FAULT_FORMS;
pub use server::{Options, Server};
pub use service::{Residents, Service, calls};
