//! A mount outlives its daemon: a small process, the supervisor, holds the connection to the
//! kernel; the worker does everything else, and is started again when it dies. The kernel then
//! sends again what the dead worker took and never answered.
//!
//! - The supervisor must not need the mount that it keeps alive: it has no directory, binary or
//!   file on it, and opens none; it would wait for the very worker that it is about to start.
//! - It waits in one `poll`, in one thread, and knows nothing of backups, keys or files.
//! - Nobody else holds the connection: the device is never cloned, because requests read from a
//!   clone die with the clone.

mod channel;
mod link;
mod message;
mod program;
mod restarts;
mod suspects;
mod system;
mod watch;

pub use channel::{Channel, LONGEST};
pub use link::{Link, Order};
pub use message::{History, LastDeath, PROTOCOL, Start};
pub use program::check_program;
pub use restarts::Death;
pub use system::{ignore_signals, name_this_process};
pub use watch::{Plan, supervise};
