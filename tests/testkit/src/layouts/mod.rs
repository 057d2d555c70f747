//! One Cassandra history, written as each backup tool would write it.

pub mod case;
pub mod data_dir;
pub mod esop;
pub mod history;
pub mod medusa;
pub mod mesos;
pub mod node_archives;
pub mod rsync;
pub mod scripts;
