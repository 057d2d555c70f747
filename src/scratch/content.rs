//! Contents: reading from whichever layer has them, copying them up before they change.

use super::lease::{Lease, Leases};
use super::node::Node;
use super::overlay::Overlay;
use super::record::{Moment, Record};
use super::state::Body;
use super::upper::Upper;
use super::upper::read_only;
use crate::task::blocking;
use crate::view::{OpenFile, View};
use crate::{Error, Kind, Result};
use bytes::Bytes;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes copied at a time.
const COPY_STEP: u32 = 1 << 20;

impl<V: View> Overlay<V> {
    /// Up to `len` bytes at `offset`; fewer only at the end of the file.
    pub async fn read(&self, node: &Node<V::Node>, lease: &Lease, offset: u64, len: u32) -> Result<Bytes> {
        // A lease that was taken over from an earlier process has nothing attached yet.
        self.attach_own_content(lease).await?;
        let Some(file) = lease.slot.file.get().cloned() else {
            return self.backup_content(node, lease).await?.read_at(offset, len).await;
        };
        blocking(move || read_file(&file, offset, len)).await
    }

    /// Writes all of `data` at `offset`, copying the file up first if it is still the backup's.
    ///
    /// [`Kind::NoSpace`] past the layer's limit; then nothing was written.
    pub async fn write(self: &Arc<Self>, node: &Node<V::Node>, lease: &Lease, offset: u64, data: Bytes) -> Result<u32> {
        self.copy_up(node, lease, u64::MAX).await?;
        let end = offset
            .checked_add(data.len() as u64)
            .filter(|&end| i64::try_from(end).is_ok())
            .ok_or_else(|| Error::invalid("a file cannot be that long"))?;
        self.edit(lease, move |upper, ino, file| {
            let at = upper.resize(ino, |size| size.max(end))?;
            file.write_all_at(&data, offset).map_err(|e| {
                upper.measure(ino, file);
                Error::io("write a file of the scratch directory", e)
            })?;
            stamp(file, at);
            Ok(data.len() as u32)
        })
        .await
    }

    /// Truncates, or extends with zeros. Of a backup file no more is copied up than what remains.
    pub(super) async fn truncate(self: &Arc<Self>, node: &Node<V::Node>, size: u64) -> Result<()> {
        let lease = self.open(node, false).await?;
        self.copy_up(node, &lease, size).await?;
        self.edit(&lease, move |upper, ino, file| {
            let at = upper.resize(ino, |_| size)?;
            file.set_len(size).map_err(|e| {
                upper.measure(ino, file);
                Error::io("truncate a file of the scratch directory", e)
            })?;
            stamp(file, at);
            Ok(())
        })
        .await
    }

    /// Runs one change of a file's own content to its end, even if the caller gives up waiting.
    async fn edit<T: Send + 'static>(
        &self,
        lease: &Lease,
        f: impl FnOnce(&Upper, u64, &File) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let guard = lease.slot.edit.clone().lock_owned().await;
        let (leases, lease) = (self.leases.clone(), lease.clone());
        blocking(move || {
            let _guard = guard;
            let upper = leases.upper.as_ref().ok_or_else(read_only)?;
            let file = lease.slot.file.get().ok_or_else(|| Error::new(Kind::Changed, "the file was removed"))?;
            f(upper, lease.ino, file)
        })
        .await
    }

    /// Gives the file content of its own: the first `keep` bytes of the backup's.
    ///
    /// The copy goes on if the caller gives up waiting, so that a large file is copied once, not
    /// once per deadline.
    async fn copy_up(self: &Arc<Self>, node: &Node<V::Node>, lease: &Lease, keep: u64) -> Result<()> {
        self.attach_own_content(lease).await?;
        if lease.slot.file.get().is_some() {
            return Ok(());
        }
        if self.is_read_only() {
            return Err(read_only());
        }
        lease.slot.permit()?;
        let adoption = self.adoption(node).await?;
        let backup = if keep == 0 { None } else { Some(self.backup_content(node, lease).await?) };
        let (leases, lease) = (self.leases.clone(), lease.clone());
        let copy = async move {
            let _guard = lease.slot.edit.clone().lock_owned().await;
            if lease.slot.file.get().is_some() {
                return Ok(());
            }
            let (copied, ino) = (copy(&leases, lease.ino, backup, keep).await, lease.ino);
            let (file, size) = match copied {
                Ok(done) => done,
                Err(error) => {
                    leases.upper.as_ref().ok_or_else(read_only)?.dir.remove_copy(ino);
                    return Err(error);
                }
            };
            blocking(move || {
                leases.upper.as_ref().ok_or_else(read_only)?.take_over(ino, adoption, &file, size)?;
                let _ = lease.slot.file.set(file);
                Ok(())
            })
            .await
        };
        tokio::spawn(copy)
            .await
            .unwrap_or_else(|error| Err(Error::new(Kind::Io, "copying a file up failed").with_source(error)))
    }
}

/// Copies up to `keep` bytes into a new file of the scratch directory, paid for before they are
/// fetched.
async fn copy(
    leases: &Arc<Leases>,
    ino: u64,
    backup: Option<Arc<dyn OpenFile>>,
    keep: u64,
) -> Result<(Arc<File>, u64)> {
    let upper = leases.upper.as_ref().ok_or_else(read_only)?;
    let file = {
        let leases = leases.clone();
        blocking(move || leases.upper.as_ref().ok_or_else(read_only)?.dir.create_copy(ino)).await?
    };
    let file = Arc::new(file);
    let mut size = 0;
    let result = async {
        let Some(backup) = backup else { return Ok(()) };
        while size < keep {
            let want = u32::try_from(keep - size).unwrap_or(COPY_STEP).min(COPY_STEP);
            let data = backup.read_at(size, want).await?;
            if data.is_empty() {
                break;
            }
            upper.budget.reserve(data.len() as u64)?;
            let (offset, file) = (size, file.clone());
            size += data.len() as u64;
            let write = move || file.write_all_at(&data, offset);
            blocking(move || write().map_err(|e| Error::io("copy a file into the scratch directory", e))).await?;
        }
        Ok(())
    };
    match result.await {
        Ok(()) => Ok((file, size)),
        Err(error) => {
            upper.budget.release(size);
            Err(error)
        }
    }
}

/// Gives a content file the time of its inode: what a process that takes over goes by.
pub(super) fn stamp(file: &File, mtime: Moment) {
    if let Err(error) = file.set_modified(mtime.into()) {
        tracing::debug!(%error, "a file of the scratch directory has not the time of its inode");
    }
}

fn read_file(file: &File, offset: u64, len: u32) -> Result<Bytes> {
    let mut data = vec![0; len as usize];
    let mut filled = 0;
    while filled < data.len() {
        match file.read_at(&mut data[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read a file of the scratch directory", error)),
        }
    }
    data.truncate(filled);
    Ok(data.into())
}

impl Upper {
    /// Makes a finished copy the content of its inode.
    fn take_over(&self, ino: u64, adoption: Option<Record>, file: &File, size: u64) -> Result<()> {
        let publish = || {
            self.dir.publish(ino)?;
            self.commit(0, |state| {
                let adoption = adoption.filter(|_| !state.inodes.contains_key(&ino));
                Ok((adoption.into_iter().chain([Record::CopiedUp { ino, size }]).collect(), ()))
            })
        };
        publish().inspect_err(|_| {
            self.dir.remove_content(ino);
            self.budget.release(size);
        })?;
        if let Some(mtime) = self.state().inodes.get(&ino).map(|inode| inode.mtime) {
            stamp(file, mtime);
        }
        Ok(())
    }

    /// Gives the content of an inode, if it has any of its own, this time of change.
    pub(super) fn stamp(&self, ino: u64, mtime: Moment) -> Result<()> {
        if matches!(self.state().inodes.get(&ino).map(|inode| &inode.body), Some(Body::File { freed: false, .. })) {
            stamp(&self.dir.open_content(ino)?, mtime);
        }
        Ok(())
    }

    /// Opens the content file of an inode; it may come into being only now.
    pub(super) fn open_content(&self, ino: u64) -> Result<File> {
        let file = self.dir.open_content(ino)?;
        if let Some(mtime) = self.state().inodes.get(&ino).map(|inode| inode.mtime) {
            stamp(&file, mtime);
        }
        Ok(file)
    }

    /// Sets a file's size and time of change, paying for growth first. The caller holds the slot's
    /// `edit`, and gives the file this time once it is changed.
    fn resize(&self, ino: u64, new: impl FnOnce(u64) -> u64) -> Result<Moment> {
        let mut state = self.state_mut();
        let Some(inode) = state.inodes.get_mut(&ino) else {
            return Err(Error::new(Kind::Changed, "the file was removed"));
        };
        let Body::File { size, .. } = &mut inode.body else {
            return Err(Error::new(Kind::Changed, "the scratch layer was emptied"));
        };
        let wanted = new(*size);
        if wanted > *size {
            self.budget.reserve(wanted - *size)?;
        } else {
            self.budget.release(*size - wanted);
        }
        *size = wanted;
        inode.mtime = Moment::now();
        inode.ctime = inode.mtime;
        Ok(inode.mtime)
    }

    /// After a failed change: the file's real size counts.
    fn measure(&self, ino: u64, file: &File) {
        let Ok(metadata) = file.metadata() else { return };
        let mut state = self.state_mut();
        if let Some(Body::File { size, .. }) = state.inodes.get_mut(&ino).map(|inode| &mut inode.body) {
            self.budget.release(*size);
            self.budget.charge(metadata.len());
            *size = metadata.len();
        }
    }
}
