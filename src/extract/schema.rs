//! The restore point's schema.cql beside its tables.

use super::report::SchemaState;
use super::target::{Dir, touch};
use super::work::Work;
use crate::task::blocking;
use crate::time::Timestamp;
use crate::tree::SchemaOptions;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use std::io::{Read, Write};
use std::sync::Arc;

const NAME: &str = "schema.cql";

/// Longest schema.cql that is compared with what is to be written, bytes.
const MAX_LEN: u64 = 256 << 20;

/// Writes it as the mount has it. `Err` when the target cannot be written to.
pub(super) async fn write(work: &Work, time: Timestamp) -> Result<SchemaState> {
    let text = match work.scope.tree.schema_cql(&work.scope.host, &work.scope.point.0, &SchemaOptions::default()).await
    {
        Ok(text) => text,
        Err(error) => return Ok(SchemaState::Failed(error.to_string())),
    };
    let there = {
        let target = Arc::clone(&work.scope.target);
        blocking(move || digest_of(&target)).await
    };
    let digest = blake3::hash(&text).to_hex().to_string();
    match there {
        Ok(Some(there)) if there == digest => return Ok(SchemaState::Unchanged),
        // Ours, from before more was known.
        Ok(Some(there)) if work.done_schema().is_some_and(|done| done == there) => {}
        Ok(None) => {}
        Ok(Some(_)) => return Ok(SchemaState::Failed(format!("{NAME} exists already, and is another"))),
        Err(error) => return Ok(SchemaState::Failed(error.to_string())),
    }
    work.stage_schema(text.clone(), time).await?;
    work.note_schema(digest).await?;
    match work.show_schema().await {
        Err(error) if error.kind() == Kind::Exists => Ok(SchemaState::Failed(error.to_string())),
        done => done.map(|()| SchemaState::Written),
    }
}

/// BLAKE3 of the file that is there.
fn digest_of(target: &Dir) -> Result<Option<String>> {
    if target.look(NAME)?.is_none() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let read = target.read(NAME)?.take(MAX_LEN).read_to_end(&mut bytes);
    read.map_err(|e| Error::io(format_args!("read {}", target.path().join(NAME).display()), e))?;
    Ok(Some(blake3::hash(&bytes).to_hex().to_string()))
}

impl Work {
    async fn stage_schema(&self, text: Bytes, time: Timestamp) -> Result<()> {
        let (hidden, access) = (Arc::clone(&self.scope.hidden), self.scope.access);
        let written = blocking(move || {
            hidden.remove_file(NAME)?;
            let mut file = hidden.create(NAME, access)?;
            file.write_all(&text)
                .and_then(|()| touch(&file, time))
                .and_then(|()| file.sync_all())
                .map_err(|e| Error::io(format_args!("write {}", hidden.path().join(NAME).display()), e))
        });
        written.await.map_err(|error| self.trouble.note(error))
    }

    async fn show_schema(&self) -> Result<()> {
        let (hidden, target) = (Arc::clone(&self.scope.hidden), Arc::clone(&self.scope.target));
        blocking(move || {
            // Only what was found to be ours is there.
            target.remove_file(NAME)?;
            hidden.rename(NAME, &target, NAME)
        })
        .await
    }
}
