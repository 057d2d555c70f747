//! Archives and hosts that are others once more.

use super::finding::Note;
use super::prepare::{HOSTS_AT_ONCE, Verification};
use crate::Result;
use crate::catalog::copies::{self, SealedArchive};
use crate::catalog::{BackupSet, HostSets, twins};
use futures::StreamExt;
use std::collections::HashSet;
use std::sync::Arc;

/// As many bytes of a sealed archive have its salt, in whatever way it is written.
const BEGINNING: u64 = 48;

impl Verification {
    /// Notes hosts that are another one, by a link or a copy.
    pub(super) fn note_twins(&mut self) {
        let kept: Vec<Arc<HostSets>> = self.hosts.iter().map(|host| host.sets.clone()).collect();
        for (at, other) in twins::of_hosts(&kept).into_iter().enumerate() {
            let (Some(other), Some(newest)) = (other, kept[at].sets.last()) else { continue };
            let other = &kept[other].host;
            let note = format!("its newest full has the same files as that of {other}: one is a copy, or a link");
            self.hosts[at].left_out.push(Note {
                host: kept[at].host.clone(),
                set: newest.tag.clone(),
                keyspace: None,
                table: None,
                note,
            });
        }
    }

    /// Looks for archives that are byte for byte others: by ETag, or, of a local directory, by the
    /// salt at the beginning of those that are of one size.
    pub(super) async fn find_copies(&mut self) -> Result<()> {
        let kept: Vec<Arc<HostSets>> = self.hosts.iter().map(|host| host.sets.clone()).collect();
        let hosts: Vec<&[Arc<BackupSet>]> = kept.iter().map(|sets| &sets.sets[..]).collect();
        let mut archives = SealedArchive::by_e_tag(&hosts);
        if self.catalog.source().starts_with("file://") {
            let wanted =
                self.hosts.iter().flat_map(|host| host.parts.iter().flat_map(|part| part.archives(&self.tables)));
            let sizes: HashSet<u64> = wanted.map(|archive| archive.object.size).collect();
            let (catalog, hosts) = (&self.catalog, &hosts);
            let alike = SealedArchive::of_equal_size(hosts).into_iter().filter(|one| sizes.contains(&one.size));
            let looks = alike.map(|one| async move {
                let archive = one.set(hosts).archive(one.table(hosts))?;
                let begin = catalog.object_bytes(&archive.object, 0..BEGINNING).await.ok()?;
                let digest = *blake3::hash(&begin).as_bytes().first_chunk()?;
                Some(SealedArchive { digest, ..one })
            });
            let mut looks = futures::stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(HOSTS_AT_ONCE);
            while let Some(looked) = looks.next().await {
                // What cannot be read, a look at the archive itself tells.
                archives.extend(looked);
            }
        }
        for (host, copied) in self.hosts.iter_mut().zip(copies::evidence(&hosts, archives)) {
            host.copied = copied;
        }
        Ok(())
    }
}
