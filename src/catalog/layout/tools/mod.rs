//! The tools whose backups are read, one module each. A new one is a line here and a line in
//! [`all`].

mod cass_ops;
mod data_dir;
mod esop;
mod medusa;
mod mesos;
mod node_archives;
mod rsync;
mod scripts;

pub use cass_ops::CassOps;
pub use data_dir::DataDir;
pub use esop::Esop;
pub use medusa::Medusa;
pub use mesos::Mesos;
pub use node_archives::NodeArchives;
pub use rsync::Rsync;
pub use scripts::Scripts;

use super::Layout;
use std::sync::Arc;

/// Every layout that is known.
pub fn all() -> Vec<Arc<dyn Layout>> {
    vec![
        Arc::new(CassOps),
        Arc::new(DataDir),
        Arc::new(Rsync),
        Arc::new(Mesos),
        Arc::new(Scripts),
        Arc::new(NodeArchives),
        Arc::<Medusa>::default(),
        Arc::<Esop>::default(),
    ]
}
