//! The 24 bytes that tell a client where a stream is.

/// Bytes of a token.
pub const TOKEN_BYTES: usize = 24;
const PROTOCOL_TCP: u8 = 1;

/// A token without an address: the client then asks the host that it already talks to.
pub fn token(stream: u32, port: u16) -> [u8; TOKEN_BYTES] {
    let mut bytes = [0; TOKEN_BYTES];
    bytes[0..4].copy_from_slice(&stream.to_le_bytes());
    bytes[4..6].copy_from_slice(&port.to_le_bytes());
    bytes[6] = PROTOCOL_TCP;
    bytes
}
