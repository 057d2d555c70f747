//! What is missing of an extract, told beside its tables: INCOMPLETE.txt, as the mount has it.

use super::report::ExtractReport;
use super::target::{Access, Dir};
use crate::cassandra::TableName;
use crate::incomplete::{self, FILE_NAME as NAME};
use crate::task::blocking;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::sync::Arc;

/// How the text begins that this writes, and the mount's.
const BEGINNING: &str = "The restore point ";

/// The text: that of the mount, and what could not be had besides. `None` where all is there.
pub(super) fn text(report: &ExtractReport, of_mount: Option<&Bytes>) -> Option<String> {
    if report.lacks.is_empty() && report.tables.iter().all(super::TableOutcome::is_whole) {
        return None;
    }
    let of = &report.of;
    let mut text = match of_mount {
        Some(text) => String::from_utf8_lossy(text).into_owned(),
        None => format!("{BEGINNING}{} of {} was not extracted whole. It lacks:\n\n", of.point, of.host),
    };
    let told: HashSet<String> =
        incomplete::parse(&text).filter_map(|(table, _)| table.map(ToOwned::to_owned)).collect();
    let is_told = |table: &TableName| told.contains(&table.to_string());
    for outcome in report.tables.iter().filter(|outcome| !outcome.is_whole() && !is_told(&outcome.table)) {
        let of_table = |sentence: &str| incomplete::line(Some(&outcome.table), sentence);
        if let Some(error) = &outcome.error {
            let _ = writeln!(text, "{}", of_table(&format!("nothing of it was extracted: {error}")));
        }
        for lost in &outcome.lost {
            let sentence = format!("{} lacks {} of {}: {}", lost.set, lost.what, outcome.table, lost.reason);
            let _ = writeln!(text, "{}", of_table(&sentence));
        }
    }
    Some(text)
}

/// Writes it, or removes that of an earlier run where all is there by now.
pub(super) async fn write(target: &Arc<Dir>, hidden: &Arc<Dir>, access: Access, text: Option<String>) -> Result<()> {
    let (target, hidden) = (Arc::clone(target), Arc::clone(hidden));
    blocking(move || {
        if !is_ours(&target)? {
            let message = format!("{NAME} exists already, and no extract has made it");
            return if text.is_some() { Err(Error::new(Kind::Exists, message)) } else { Ok(()) };
        }
        let Some(text) = text else { return target.remove_file(NAME) };
        hidden.remove_file(NAME)?;
        let mut file = hidden.create(NAME, access)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|e| Error::io(format_args!("write {}", hidden.path().join(NAME).display()), e))?;
        target.remove_file(NAME)?;
        hidden.rename(NAME, &target, NAME)
    })
    .await
}

/// Whether what is there, if anything, is such a text.
fn is_ours(target: &Dir) -> Result<bool> {
    if target.look(NAME)?.is_none() {
        return Ok(true);
    }
    let mut beginning = Vec::new();
    let read = target.read(NAME)?.take(BEGINNING.len() as u64).read_to_end(&mut beginning);
    read.map_err(|e| Error::io(format_args!("read {}", target.path().join(NAME).display()), e))?;
    Ok(beginning == BEGINNING.as_bytes())
}
