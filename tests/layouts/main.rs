//! Every layout, by one suite (`suite`): each module writes one Cassandra history (`history`) as its tool would, and says what that cannot express.
//!
//! A new layout is a new module here: implement `LayoutCase`, and let `layout_tests!` make the tests.

#[path = "../support/bucket.rs"]
mod bucket;
mod case;
#[path = "../support/command.rs"]
mod command;
mod data_dir;
mod data_dir_only;
mod esop;
mod history;
mod medusa;
mod medusa_itself;
mod mesos;
mod rsync;
mod s3;
#[path = "../support/s3.rs"]
mod s3_server;
mod scripts;
#[path = "../support/skip.rs"]
mod skip;
mod suite;
#[path = "../support/unpacked.rs"]
mod unpacked;
#[path = "../support/walk.rs"]
mod walk;
