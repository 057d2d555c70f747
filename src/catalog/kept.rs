//! Files that keep what was learnt: versioned, checksummed, replaced whole. A damaged one is no
//! worse than none.

use super::Host;
use crate::private;
use crate::{Error, Kind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Magic, version (little-endian), BLAKE3 of what follows: zstd of postcard.
const HEADER_LEN: usize = 8 + 4 + 32;
/// Checksummed local data, so this only keeps a mistake from filling memory.
const MAX_PLAIN: u64 = 4 << 30;

/// What a file holds, and in which version of its encoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
}

/// Where something about `host` of `source` is kept.
pub(crate) fn path(directory: &Path, source: &str, host: &Host, extension: &str) -> PathBuf {
    let mut name = blake3::Hasher::new();
    name.update(&(source.len() as u64).to_le_bytes()).update(source.as_bytes()).update(host.0.as_bytes());
    directory.join(format!("{}.{extension}", &name.finalize().to_hex()[..32]))
}

impl Format {
    /// `None` when there is no file. Blocks.
    pub(crate) fn read<T: DeserializeOwned>(self, path: &Path) -> Result<Option<T>> {
        match private::read(path, MAX_PLAIN) {
            Ok(bytes) => self.decode(&bytes).map(Some),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(format!("read {}", path.display()), e)),
        }
    }

    /// Replaces the file; its directory is made where it is missing, for the owner only. Blocks.
    pub(crate) fn write<T: Serialize>(self, path: &Path, value: &T) -> Result<()> {
        let bytes = self.encode(value)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        private::directory(directory)?;
        let failed = |e| Error::io(format!("write {}", path.display()), e);
        let mut file = tempfile::Builder::new()
            .prefix(".catalog-")
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(directory)
            .map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(path).map_err(|e| failed(e.error))?;
        Ok(())
    }

    pub(crate) fn encode<T: Serialize>(self, value: &T) -> Result<Vec<u8>> {
        let plain =
            postcard::to_stdvec(value).map_err(|e| Error::invalid("cannot encode the catalog").with_source(e))?;
        let packed = zstd::encode_all(&plain[..], 3).map_err(|e| Error::io("compress the catalog", e))?;
        let mut bytes = Vec::with_capacity(HEADER_LEN + packed.len());
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&packed).as_bytes());
        bytes.extend_from_slice(&packed);
        Ok(bytes)
    }

    pub(crate) fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T> {
        let (header, packed) = bytes.split_at_checked(HEADER_LEN).ok_or_else(|| Error::corrupt("it is cut off"))?;
        if header[..8] != self.magic {
            return Err(Error::corrupt("it is something else"));
        }
        if header[8..12] != self.version.to_le_bytes() {
            return Err(Error::new(Kind::Unsupported, "another version of the program wrote it"));
        }
        if header[12..] != *blake3::hash(packed).as_bytes() {
            return Err(Error::corrupt("its checksum differs"));
        }
        let mut plain = Vec::new();
        zstd::Decoder::new(packed)
            .and_then(|decoder| decoder.take(MAX_PLAIN).read_to_end(&mut plain))
            .map_err(|e| Error::io("unpack the catalog", e))?;
        postcard::from_bytes(&plain).map_err(|e| Error::corrupt("it cannot be decoded").with_source(e))
    }
}
