//! `cassmount verify` on the sample bucket and on damaged copies of it: each kind of damage is
//! found, and nothing else.

use testkit::bucket;
use testkit::command;
use testkit::repack;
use testkit::s3;
mod support;
use testkit::unpacked;

mod damage;
mod hostile;
mod logs;
mod resume;
mod shape;
