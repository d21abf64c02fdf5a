//! Observations of a connection become records: what `wire-format.md`'s `TrafficStream` looks like on the wire.
//!
//! Sans-IO: no sockets, no clock, no threads. A [`Stream`] belongs to one client connection and
//! holds at most one open record; finished [`Record`]s are handed to the sink in batches, and their
//! memory comes back with the acknowledgement.
//!
//! Encode only. Decoding is [`crate::proto`]'s business, which is also what the tests here compare against.

mod encode;
mod gap;
mod heartbeat;
mod identity;
mod pool;
mod record;
mod stream;

pub use encode::Stamp;
pub use gap::{Gap, GapCause};
pub use heartbeat::{Heartbeat, Told};
pub use identity::{ConnectionId, Identity, NODE_BYTES_MAX};
pub use pool::BlockPool;
pub use record::{LeftOut, Notes, Record, Undelivered, UndeliveredCause};
pub use stream::{Context, Place, RECORD_BYTES_MAX_DEFAULT, RECORD_BYTES_MIN, Stream};
