//! [`Shape`]: which types and columns the rows of an SSTable have, from its `Statistics.db`.

use super::{Layout, header, marshal};
use crate::Result;
use crate::cassandra::SstableName;

/// What tells the rows of one table from those of another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Shape {
    /// The classes of the partition key's parts: `UTF8Type`, `ListType`, …
    pub key: Vec<String>,
    /// Those of the clustering columns, whatever their order.
    pub clustering: Vec<String>,
    /// Names and classes of the others that the SSTable has, sorted.
    pub columns: Vec<(String, String)>,
}

impl Shape {
    /// # Errors
    /// `Corrupt` where a checksum or the structure is wrong, `Unsupported` for a version that is not
    /// known.
    pub fn read(name: &SstableName, statistics: &[u8]) -> Result<Self> {
        let header = header::read(Layout::of(name)?, statistics)?;
        let all = header.static_columns.iter().chain(&header.regular_columns);
        let mut columns: Vec<(String, String)> =
            all.map(|column| (column.name.clone(), class(&column.data_type.class))).collect();
        columns.sort();
        let key = match marshal::arguments_of(&header.key.class, "CompositeType") {
            Some(parts) => parts.into_iter().map(class).collect(),
            None => vec![class(&header.key.class)],
        };
        let clustering = header.clustering.iter().map(|part| class(&part.class)).collect();
        Ok(Self { key, clustering, columns })
    }
}

fn class(name: &str) -> String {
    marshal::simple_name(marshal::in_order(name)).to_owned()
}
