//! `/etc/backup/config.json` of the nodes, and where settings come from: flag > environment > config.

mod units;

pub use units::{parse_duration, parse_rate, parse_size};
