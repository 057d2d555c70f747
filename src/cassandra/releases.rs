//! Which releases of Cassandra open which SSTables, told from their names.

use super::{Format, SstableName};
use crate::{Error, Kind, Result};

/// The first release that opens SSTables of this version.
///
/// # Errors
/// `Kind::Unsupported` for what no release opens that can be started here, or that is not known.
pub fn opened_since(name: &SstableName) -> Result<(u32, u32)> {
    let version = &*name.version;
    match name.format {
        Format::Big if ("ma".."oa").contains(&version) => Ok((4, 0)),
        Format::Big if ("oa".."pa").contains(&version) => Ok((5, 0)),
        Format::Bti if ("da".."ea").contains(&version) => Ok((5, 0)),
        Format::Big if version < "ma" => Err(Error::new(
            Kind::Unsupported,
            format!(
                "{name} was written by Cassandra 2.2 or older. 4.0 and later do not open that: \
                     run sstableupgrade of Cassandra 3.11 on an extract"
            ),
        )),
        _ => Err(Error::new(Kind::Unsupported, format!("{name} is of a Cassandra newer than 5.0, which is not known"))),
    }
}
