//! Sockets: one thread waits for all of them, reads and takes messages apart.
//!
//! The world's thread sends by itself: [`Link::send`] writes at once what the socket takes, and the waiting thread
//! writes the rest when the socket has room again. Handing every reply to the other thread instead would
//! cost one more wake-up for each tick. What travels to the world goes through the [`Inbox`], which is bounded for
//! every connection: one that sends faster than the world works isn't read for a while.

mod inbox;
mod link;
mod listen;
mod poll;

pub use inbox::{Event, Inbox, Work};
pub use link::{Link, LinkId};
pub use listen::listen;
pub use poll::PollThread;
