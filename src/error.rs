//! The one error type of the library: what happened, to which object, and how a program sees it.
//!
//! Every part returns [`Error`]; only `fs` turns its [`Kind`] into an errno, in one place. An error
//! is cheap to clone, because everyone who waits for the same fetch gets the same one.

use std::fmt;
use std::sync::Arc;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller may want to act on it.
///
/// One kind per row of the table in `docs/architecture.md`, "Errors", and the POSIX ones of the
/// scratch layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// There is no such name. Never used for an outage.
    NotFound,
    /// The local cache no longer has it, or has it damaged. Between cache and reader only: who gets
    /// it reads the object again.
    CacheLost,
    /// No key that was given opens the archive.
    NoKey,
    /// Bytes fail a check: CRC, digest, padding, tar or index structure.
    Corrupt,
    /// The object was replaced or deleted since it was listed.
    Changed,
    /// The store cannot be reached, or keeps failing.
    Unreachable,
    /// What has to run on this machine does not answer, or is not there: Cassandra, a mount's
    /// daemon, a data directory's disk.
    NotRunning,
    /// The deadline passed.
    TimedOut,
    /// The store refuses the credentials, or an object must not be read.
    Denied,
    /// The object is in an archive tier of the store and must be thawed before it can be read.
    Archived,
    /// The scratch layer or the disk is full.
    NoSpace,
    /// The mount is read-only.
    ReadOnly,
    /// The name exists already.
    Exists,
    /// The directory is not empty.
    NotEmpty,
    /// The operation needs a directory.
    NotDirectory,
    /// The operation does not take a directory.
    IsDirectory,
    /// Something still uses it.
    Busy,
    /// The name is longer than 255 bytes.
    NameTooLong,
    /// Cannot be renamed in place; programs then copy and delete.
    CrossDevice,
    /// No one may do this to such a node, e.g. hard-link a directory; or what is private may not
    /// lie there.
    NotPermitted,
    /// What was asked for is not whole, and was not taken for that reason.
    Incomplete,
    /// A wrong argument, option or name.
    Invalid,
    /// The operation does not exist here.
    Unsupported,
    /// Somebody broke it off (Ctrl-C), or the process ends.
    Interrupted,
    /// A local file or system call failed.
    Io,
    /// The process, or the system, has no descriptor left.
    TooManyFiles,
}

/// An error with its kind, a sentence for a person, and, where one is concerned, the object's key.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    message: String,
    object: Option<String>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), object: None, source: None }))
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, message)
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// Wraps a failed local system call; `what` says what was tried, e.g. "open the cache directory
    /// /x".
    pub fn io(what: impl fmt::Display, source: std::io::Error) -> Self {
        let kind = match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Kind::NoSpace,
            Some(libc::EMFILE | libc::ENFILE) => Kind::TooManyFiles,
            _ => Kind::Io,
        };
        Self::new(kind, format!("cannot {what}")).with_source(source)
    }

    /// Names the object that the error is about, unless an inner layer already did.
    #[must_use]
    pub fn with_object(mut self, key: impl fmt::Display) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.object.get_or_insert_with(|| key.to_string());
        self
    }

    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The key of the object concerned, where there is one.
    pub fn object(&self) -> Option<&str> {
        self.0.object.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(object) = &self.0.object {
            write!(f, "{object}: ")?;
        }
        f.write_str(&self.0.message)?;
        // The chain is part of the sentence: people paste one line into a ticket.
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|s| &**s as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_the_object_the_message_and_the_cause() {
        let error = Error::corrupt("CRC-32 differs")
            .with_object("a/b.enc")
            .with_object("outer")
            .with_source(std::io::Error::other("cause"));
        assert_eq!(error.to_string(), "a/b.enc: CRC-32 differs: cause");
        assert_eq!(error.kind(), Kind::Corrupt);
        assert_eq!(error.object(), Some("a/b.enc"));
    }

    #[test]
    fn what_is_used_up_is_told_apart() {
        let kinds = [
            (libc::ENOSPC, Kind::NoSpace),
            (libc::EDQUOT, Kind::NoSpace),
            (libc::EMFILE, Kind::TooManyFiles),
            (libc::ENFILE, Kind::TooManyFiles),
            (libc::EACCES, Kind::Io),
        ];
        for (errno, kind) in kinds {
            assert_eq!(Error::io("write x", std::io::Error::from_raw_os_error(errno)).kind(), kind);
        }
    }
}
