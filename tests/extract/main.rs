//! `cassmount extract`, as a user runs it: the same tree as the mount's, whatever happens on the
//! way.

use testkit::bucket;
use testkit::command;
mod damaged;
mod full_disk;
mod incomplete;
mod interrupted;
mod merged;
use testkit::oracle;
mod over_s3;
use testkit::s3;
mod sample;
use testkit::skip;
mod taken_away;
mod target;
use testkit::unpacked;
mod user;
use testkit::walk;
