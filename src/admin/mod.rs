//! The admin endpoint: what the process says of itself over HTTP, to probes, to Prometheus and to people.
//!
//! It reads snapshots that others publish, and only when it is asked; it never sees a connection, a request or a record
//! of the traffic, takes no lock that the data path knows, and changes nothing. It has a port of its own, on the
//! loopback unless told otherwise, and its own bounds; nothing that arrives there is forwarded or captured.
//!
//! | page | what it says |
//! |---|---|
//! | `/livez` | 200 when every loop turns, 503 naming those that do not |
//! | `/readyz` | 200 when a write would be accepted now, 503 with the causes when it has not been for a while |
//! | `/startupz` | 200 once the process has started |
//! | `/metrics` | Prometheus text format |
//! | `/status` | JSON for people and `tapline top` |
//! | `/config` | the settings in effect and where each comes from, secrets hidden |
//! | `/version` | version and build |

mod exposition;
mod history;
mod otlp;
mod pages;
mod readiness;
mod server;

pub use exposition::{Exposition, Kind};
pub use history::{History, Rates};
pub use otlp::{Pushes, push};
pub use pages::{Loop, Subject};
pub use readiness::{Cause, Readiness, Severity, Verdict};
pub use server::Door;
