//! Every bound of the data path, with its unit. What is not a flag is a constant here.

use std::time::Duration;

/// Queued for one direction of one connection before reading from the other side stops.
pub const QUEUE_HIGH_BYTES: u64 = 512 << 10;
/// Reading goes on when the queue has fallen to this.
pub const QUEUE_LOW_BYTES: u64 = 128 << 10;
/// Held and not yet durable on one connection before reading from its client stops: a 100 MB bulk flows through it.
pub const HOLD_WINDOW_BYTES: u64 = 4 << 20;
/// Read of a client at a time while the memory for records is used up: a record of it fits into the smallest
/// block.
pub const PRESSED_RECEIVE_BYTES: u32 = 3 << 10;
/// Requests of one connection without an answer before reading from its client stops.
pub const PIPELINE_DEPTH_MAX: usize = 128;
/// A record is finished when it has grown to this, or to the limit if that is lower.
pub const RECORD_TARGET_BYTES: usize = 128 << 10;
/// A connection to one address of the source must be made within this time.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A TLS handshake must be over within this time, from the accept or the connect on.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Plaintext that is sealed for one send. More waits in plaintext, so that sealing and sending go on side by side.
pub const SEAL_BYTES: u64 = 256 << 10;
/// How long a connection that tapline itself answered is read and discarded, so that the answer arrives.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may keep its half open after the source has closed.
pub const SOURCE_CLOSED_TIMEOUT: Duration = Duration::from_mins(1);
/// How long accepting rests after the process ran out of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the end of a drain waits for the sink to return the last records.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the control thread looks whether every worker has turned; more often if the watchdog asks for it.
pub const PULSE_PERIOD: Duration = Duration::from_secs(1);
/// A worker that has not turned for this long is said to stand still.
pub const STALL_AGE: Duration = Duration::from_secs(5);
/// How long either process of a hand-over waits for the other one, which may have a log to recover.
pub const HAND_OVER_TIMEOUT: Duration = Duration::from_mins(2);
/// How long a drain leaves a connection that has not sent a byte: what it is about to send is on its way.
pub const FRESH_GRACE: Duration = Duration::from_secs(1);
/// After a hand-over there is no hurry: a connection is closed when it has been idle for this long, which is when its
/// client is least likely to be sending.
pub const IDLE_PAUSE: Duration = Duration::from_secs(1);
/// How often a drain looks at all connections.
pub const DRAIN_SCAN: Duration = Duration::from_millis(100);
/// How much longer the service manager is asked to wait while starting or stopping makes progress.
pub const EXTENSION: Duration = Duration::from_secs(30);

const _: () = assert!(QUEUE_LOW_BYTES < QUEUE_HIGH_BYTES && QUEUE_HIGH_BYTES < HOLD_WINDOW_BYTES);
