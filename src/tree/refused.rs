//! Plain files that prove damaged when somebody reads them. Of an archive its listing tells; of a
//! bundle nobody has read anything before, so that restore points lack something only from then on.

use super::backup::{BackupTree, HostState, Hosts};
use super::content::ContentFile;
use crate::cassandra::{SstableName, is_spare};
use crate::task::lock;
use crate::view::OpenFile;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fs::File;
use std::sync::{Arc, Once};

impl BackupTree {
    /// Opens a table's file.
    pub(super) async fn open_member(&self, file: &Arc<ContentFile>) -> Result<Arc<dyn OpenFile>> {
        let opened = self.source.open(&file.object, file.index).await;
        if !file.object.is_bundle() {
            return opened;
        }
        let (hosts, file) = (Arc::clone(&self.hosts), Arc::clone(file));
        match opened {
            Ok(opened) => Ok(Arc::new(Noting { opened, hosts, file, noted: Once::new() })),
            Err(error) => {
                note(&hosts, &file, &error);
                Err(error)
            }
        }
    }
}

/// An open file of a bundle.
struct Noting {
    opened: Arc<dyn OpenFile>,
    hosts: Hosts,
    file: Arc<ContentFile>,
    /// Whoever reads it may try again and again.
    noted: Once,
}

impl OpenFile for Noting {
    fn read_at(&self, offset: u64, len: u32) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            let read = self.opened.read_at(offset, len).await;
            read.inspect_err(|error| {
                if error.kind() == Kind::Corrupt {
                    self.noted.call_once(|| note(&self.hosts, &self.file, error));
                }
            })
        }
        .boxed()
    }

    fn backing(&self) -> Option<&File> {
        self.opened.backing()
    }
}

/// Notes why the file's SSTable cannot be had, if it is damaged.
fn note(hosts: &Hosts, file: &ContentFile, error: &Error) {
    if error.kind() != Kind::Corrupt {
        return;
    }
    let Some((directory, parsed)) = SstableName::parse_path(&file.member) else { return };
    if is_spare(parsed.component) {
        return;
    }
    let name = match directory {
        "" => parsed.sstable.to_string(),
        directory => format!("{directory}/{}", parsed.sstable),
    };
    let said = error.to_string();
    let said = error.object().and_then(|object| said.strip_prefix(object)?.strip_prefix(": ")).unwrap_or(&said);
    let why = format!("{}: {said}", file.member);
    let hosts: Vec<Arc<HostState>> = lock(hosts).values().cloned().collect();
    for state in hosts {
        for set in state.sets().iter().flat_map(|sets| &sets.sets) {
            for archive in set.archives().filter(|archive| archive.object == file.object) {
                state.damage.note_refused(&set.tag, &archive, &name, &why);
            }
        }
    }
}
