//! Every layout, by one suite (`suite`): each module writes one Cassandra history (`history`) as
//! its tool would, and says what that cannot express.
//!
//! A new layout is a new module here: implement `LayoutCase`, and let `layout_tests!` make the
//! tests.

use testkit::command;
use testkit::layouts::case;
use testkit::layouts::data_dir;
mod data_dir_only;
use testkit::layouts::esop;
use testkit::layouts::history;
use testkit::layouts::medusa;
mod medusa_itself;
use testkit::layouts::mesos;
use testkit::layouts::node_archives;
mod node_archives_only;
mod real_servers;
mod refused;
use testkit::layouts::rsync;
mod s3;
use testkit::layouts::scripts;
use testkit::s3 as s3_server;
use testkit::skip;
mod suite;
use testkit::unpacked;
use testkit::walk;

mod of_data_dir {
    crate::suite::layout_tests!(crate::data_dir::DataDirs);
}

mod of_esop {
    crate::suite::layout_tests!(crate::esop::Backups);
}

mod of_medusa_full {
    crate::suite::layout_tests!(crate::medusa::Full);
}

mod of_medusa_differential {
    crate::suite::layout_tests!(crate::medusa::Differential);
}

mod of_mesos {
    crate::suite::layout_tests!(crate::mesos::Executors);
}

mod of_rsync {
    crate::suite::layout_tests!(crate::rsync::Collected);
}

mod of_scripts {
    crate::suite::layout_tests!(crate::scripts::ByHost);
}
