//! `/etc/backup/config.json` of the nodes, and where settings come from: flag > environment > config.
//!
//! The environment of the process is read here ([`Environment::of_process`]) and nowhere else.

mod node;
mod settings;
mod units;

pub use node::NodeConfig;
pub use settings::{DEFAULT_TIMEOUT, Environment, Flags, NODE_CONFIG, Origin, Setting, Settings, Shown};
pub use units::{parse_duration, parse_rate, parse_size};
