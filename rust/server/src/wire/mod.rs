//! The bytes of CARLA 0.9.16's protocol: nothing here knows sockets or decides anything.
//!
//! Two ports. RPC: msgpack-rpc in rpclib's dialect ([`request`], [`reply`]), with structures as arrays
//! ([`layout`], [`physics`], [`settings`]). Streaming: packed little-endian messages behind a length ([`stream`], [`state`],
//! [`sensors`]), one connection for each subscription, found by a [`token`].

pub mod layout;
pub mod physics;
pub mod reply;
pub mod request;
pub mod sensors;
pub mod settings;
pub mod state;
pub mod stream;
pub mod token;

/// The version that is served. A client of another version prints a warning by itself.
pub const VERSION: &str = "0.9.16";
