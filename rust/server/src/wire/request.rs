//! What a client asks.

use crate::msgpack::{Malformed, Reader};

/// A call: `[0, id, name, [[is_async], argument...]]`.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Given back with the answer.
    pub id: u32,
    /// The function.
    pub name: &'a str,
    /// Whether the caller doesn't wait for a result.
    pub is_async: bool,
    /// How many arguments follow.
    pub count: usize,
    /// Stands at the first argument.
    pub arguments: Reader<'a>,
}

impl<'a> Request<'a> {
    /// Reads a complete message.
    pub fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        let fault = |expected| Err(Malformed { expected, at: 0 });
        if reader.array()? != 4 {
            return fault("a request of four members");
        }
        if reader.integer()? != 0 {
            return fault("a request");
        }
        let id = reader.number()?;
        let name = reader.text()?;
        let count = reader.array()?;
        if count == 0 {
            return fault("the call's metadata");
        }
        let is_async = reader.tuple(1, Reader::boolean)?;
        Ok(Self {
            id,
            name,
            is_async,
            count: count - 1,
            arguments: reader,
        })
    }
}
