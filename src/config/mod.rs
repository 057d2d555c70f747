//! Settings and where they come from: flag > environment > `/etc/backup/config.json` of the nodes >
//! default.
//!
//! Every option that is also a setting is declared once, in [`table`]. The environment of the
//! process is read here ([`Environment::of_process`]) and nowhere else.

mod declaration;
mod environment;
mod given;
mod node;
mod settings;
pub mod table;
mod units;
mod values;

pub use declaration::{Declaration, Takes};
pub use environment::Environment;
pub use given::{Given, Origin};
pub use node::{ENCRYPTION_KEY, NodeConfig, fields_read};
pub use settings::CommandLine;
pub use units::{parse_duration, parse_rate, parse_size};
pub use values::{CacheSettings, LiveIds, NODE_CONFIG, Settings, Shown};
