//! The program that another version hands a mount over to, and whether it can go on with it.

use super::version;
use cassmount::{Error, Kind, Result, cache, fs, scratch, supervisor};
use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The program that is to go on with a mount.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(super) struct Successor {
    version: String,
    program: PathBuf,
    /// How it keeps what it would take over.
    formats: BTreeMap<String, String>,
}

/// Everything that one version takes over from another, and its format.
fn formats() -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let formats = [
        ("worker protocol", supervisor::PROTOCOL.to_string()),
        ("record of what the kernel holds", text(&fs::RECORD_FORMAT)),
        ("scratch journal", text(&scratch::JOURNAL_FORMAT)),
        ("cache directory", text(cache::FORMAT.as_bytes())),
    ];
    formats.map(|(what, format)| (what.to_owned(), format)).into()
}

impl Successor {
    pub(super) fn this_program() -> Result<Self> {
        let program = std::env::current_exe().map_err(|e| Error::io("find the cassmount binary", e))?;
        Ok(Self { version: version().to_owned(), program, formats: formats() })
    }

    /// The mount's side: the program's file, if it can go on where this one stops.
    pub(super) fn accept(&self) -> Result<File> {
        let ours = formats();
        for what in ours.keys().chain(self.formats.keys()) {
            let (ours, theirs) = (ours.get(what), self.formats.get(what));
            if ours != theirs {
                let named = |format: Option<&String>| format.map_or("none", String::as_str).to_owned();
                let message = format!(
                    "version {} cannot go on with this mount: its {what} is of format {}, that of version {} is {}",
                    self.version,
                    named(theirs),
                    version(),
                    named(ours)
                );
                return Err(Error::new(Kind::Unsupported, message));
            }
        }
        let failed = |e| Error::io(format_args!("open {}", self.program.display()), e);
        // Only for its place: to read it, a process that is locked up may have no right.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let program = open(&self.program, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let program = File::from(program);
        let metadata = program.metadata().map_err(failed)?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
            return Err(Error::invalid(format!("{} is no program", self.program.display())));
        }
        tracing::info!("handing over to version {} ({})", self.version, self.program.display());
        Ok(program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_keeps_everything_alike_is_accepted() {
        let this = Successor::this_program().unwrap();
        assert!(this.accept().is_ok());
        let refused = |successor: &Successor| successor.accept().unwrap_err().to_string();
        for what in formats().keys() {
            let mut other = this.clone();
            other.formats.insert(what.clone(), "another".into());
            assert!(refused(&other).contains(&format!("its {what} is of format another")), "{}", refused(&other));
            other.formats.remove(what);
            assert!(refused(&other).contains(&format!("its {what} is of format none")), "{}", refused(&other));
        }
        let mut more = this.clone();
        more.formats.insert("something new".into(), "1".into());
        assert!(refused(&more).contains("something new"));
        let text = Successor { program: concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into(), ..this };
        assert!(refused(&text).contains("is no program"));
    }
}
