//! One call while it is worked on.

use carla_online_world::stage::StageError;

use crate::msgpack::{Malformed, Packer, Reader};
use crate::net::LinkId;

/// Arguments in, result out.
pub struct Call<'a> {
    /// Stands at the first argument.
    pub arguments: Reader<'a>,
    /// The result is appended here.
    pub out: &'a mut Packer,
    /// Who calls.
    pub link: LinkId,
    /// Number of the call.
    pub id: u32,
    /// Whether nobody waits for the result.
    pub is_async: bool,
}

/// Whether the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It is.
    Now,
    /// It will be sent when something has happened.
    Later,
}

/// Why a call can't be done: told to the client inside the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

/// What a handler returns.
pub type Answer = Result<Done, Refusal>;

impl From<Malformed> for Refusal {
    fn from(fault: Malformed) -> Self {
        Self(format!("the arguments can't be read: {fault}"))
    }
}

impl From<StageError> for Refusal {
    fn from(error: StageError) -> Self {
        Self(match error {
            // CARLA's words: scripts compare them.
            StageError::Blocked(_) => "Spawn failed because of collision at spawn position".into(),
            StageError::NoSuchActor(id) => {
                format!("unable to find actor {id}: it doesn't exist or was destroyed")
            }
            other => other.to_string(),
        })
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        Self(message.to_owned())
    }
}
