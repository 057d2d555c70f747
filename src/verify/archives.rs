//! One archive: a glance at its ends, or all of it.

use super::finding::{Content, Finding, Note, Problem, Severity, SstableRef};
use super::sets::{NO_ROWS, not_fetched, sentence};
use super::sstables::{Sink, Sums};
use super::tables::KnownTables;
use crate::archive::compression::Compression;
use crate::cassandra::sstable::checksums::{BadPieces, Verdict};
use crate::cassandra::{Effect, SstableName, is_spare, is_toc, lacking};
use crate::catalog::{BackupSet, Cause, HostSets, TableArchive, Unread};
use crate::reader::{Broken, ListedFile, Listing, Reader, Seal, Stage};
use crate::{Kind, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Oddities of one archive that are findings of their own; the others are counted.
/// Of a Data.db that is not compressed.
const CRC: &str = "CRC.db";

const MAX_ODDITIES: usize = 20;

/// What a set's script writes last.
const MANIFEST: &str = "backup_manifest.json";
/// By how much a file may be younger than that, microseconds: clocks, and scripts that are not in a
/// hurry; and by how much if zones of time were mixed up as well.
const JITTER: i64 = 3600 * 1_000_000;
const ZONES: i64 = 26 * JITTER;

/// SSTables of a damaged archive that are named.
const MAX_NAMED: usize = 1000;

/// What an archive came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) findings: Vec<Finding>,
    pub(super) notes: Vec<Note>,
    /// How it was opened, if nothing is wrong with it.
    pub(super) good: Option<Seal>,
}

/// An archive and where it belongs.
pub(super) struct Subject<'a> {
    pub(super) set: &'a BackupSet,
    /// All of its host.
    pub(super) sets: &'a HostSets,
    pub(super) archive: &'a TableArchive,
    /// What is known of the host's tables, where an archive is read whole.
    pub(super) tables: Option<&'a KnownTables>,
}

impl Subject<'_> {
    /// Looks at the archive's ends.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub(super) async fn glance(&self, reader: &Reader) -> Result<Outcome> {
        let seal = reader.check_ends(&self.archive.object).await;
        let mut outcome = Outcome { findings: Vec::new(), notes: Vec::new(), good: None };
        match seal {
            Ok(seal) => self.judge_seal(seal, &mut outcome),
            Err(broken) => outcome.findings.push(self.broken(reader, broken, None).await?),
        }
        Ok(outcome)
    }

    /// Reads all of the archive. `arrived` hears of its bytes as they come.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub(super) async fn read(&self, reader: &Reader, arrived: &(dyn Fn(u64) + Sync)) -> Result<Outcome> {
        let object = &self.archive.object;
        let examined = reader.examine(object, Sink::default(), arrived).await?;
        let mut sink = examined.sink;
        let mut outcome = Outcome { findings: Vec::new(), notes: Vec::new(), good: None };
        let listed = match examined.archive {
            Ok(listed) => listed,
            Err(broken) => {
                outcome.findings.push(self.broken(reader, broken, Some(&sink)).await?);
                return Ok(outcome);
            }
        };
        let undecided = sink.undecided();
        if !undecided.is_empty() {
            // With the lists at hand the same bytes tell which piece it is. They are the same, or
            // the store says that they are not.
            let again = reader.examine(object, Sink::again(undecided), &|_| {}).await?;
            if let Err(broken) = again.archive {
                outcome.findings.push(self.broken(reader, broken, Some(&sink)).await?);
                return Ok(outcome);
            }
            sink.decide(again.sink);
        }
        sink.name_as_listed(&listed);
        self.judge(listed.listing(), &sink, &mut outcome);
        if let Some(seal) = examined.seal {
            self.judge_seal(seal, &mut outcome);
        }
        Ok(outcome)
    }

    fn is_sealed_by_name(&self) -> bool {
        self.archive.object.key.ends_with(".enc")
    }

    fn judge_seal(&self, seal: Seal, outcome: &mut Outcome) {
        if seal == Seal::None && self.is_sealed_by_name() {
            let message = "it is not encrypted, though its name says so";
            outcome.findings.push(
                self.finding(Problem::NotEncrypted, message).lost("nothing; whoever can read the bucket can read it"),
            );
        }
        outcome.good = outcome.findings.is_empty().then_some(seal);
    }

    fn finding(&self, problem: Problem, message: impl Into<String>) -> Finding {
        let finding = Finding::new(problem, &self.set.host, &self.set.tag, message).of_table(&self.archive.table);
        Finding { key: Some(Arc::clone(&self.archive.object.key)), ..finding }
    }

    fn of_sstable(&self, problem: Problem, sstable: &SstableRef, message: String, content: Option<Content>) -> Finding {
        let finding = self.finding(problem, message);
        let content = content.into_iter().collect();
        Finding { sstable: Some(sstable.clone()), sstables: vec![sstable.clone()], content, ..finding }
    }

    fn note(&self, note: String) -> Note {
        let table = &self.archive.table;
        Note {
            host: self.set.host.clone(),
            set: self.set.tag.clone(),
            keyspace: Some(table.keyspace.clone()),
            table: Some(table.table.clone()),
            note,
        }
    }

    /// An archive that cannot be read to its end.
    async fn broken(&self, reader: &Reader, broken: Broken, seen: Option<&Sink>) -> Result<Finding> {
        let Broken { stage, error } = broken;
        let object = &self.archive.object;
        let (problem, message) = match stage {
            Stage::Fetch => not_fetched(error, object)?,
            _ if error.kind() == Kind::Unsupported => (Problem::Unsupported, sentence(&error, object)),
            Stage::Unsealed => (Problem::PlaintextRefused, sentence(&error, object)),
            _ if !matches!(error.kind(), Kind::Corrupt | Kind::NoKey) => return Err(error),
            // What should be sealed and is no whole number of cipher blocks.
            Stage::Envelope if object.size < 48 || self.is_sealed_by_name() && !object.size.is_multiple_of(16) => {
                (Problem::CutShort, sentence(&error, object))
            }
            Stage::Envelope => (Problem::NotAnArchive, sentence(&error, object)),
            Stage::Key => (Problem::NoKey, sentence(&error, object)),
            Stage::Padding => (Problem::PaddingWrong, sentence(&error, object)),
            Stage::Decompress(Compression::None) | Stage::Tar => (Problem::TarDamaged, sentence(&error, object)),
            Stage::Decompress(compression) => (Problem::StreamDamaged(compression), sentence(&error, object)),
        };
        // What was in it is known for certain where this version was read before, else as far as it
        // could be read now.
        let known = reader.known_listing(object).await;
        let mut content = match (&known, seen) {
            (Some(listing), _) => contents_of(listing),
            (None, Some(sink)) => sink.sstables.iter().filter_map(|(sstable, parts)| parts.content(sstable)).collect(),
            (None, None) => Vec::new(),
        };
        content.sort_by(|a, b| a.sstable.cmp(&b.sstable));
        content.truncate(MAX_NAMED);
        let mut sstables: Vec<SstableRef> = match (&known, seen) {
            // Those as well of which only some components came by.
            (None, Some(sink)) => sink.sstables.keys().cloned().collect(),
            _ => content.iter().map(|content| content.sstable.clone()).collect(),
        };
        sstables.sort();
        sstables.truncate(MAX_NAMED);
        let lost = match problem {
            Problem::NoKey => "all that is in it, unless the key is found",
            Problem::PlaintextRefused => "the SSTables that it took the place of",
            Problem::Unsupported => "nothing; other tools can unpack it",
            Problem::ObjectChanged => "nothing, perhaps: it was replaced or deleted meanwhile; verify again",
            _ if known.is_some() => "the SSTables that were in it",
            _ if !sstables.is_empty() => "the SSTables that were seen in it, and those behind them",
            _ => "the SSTables in it",
        };
        Ok(Finding { sstables, content, ..self.finding(problem, message).lost(lost) })
    }

    /// What a sound archive holds.
    fn judge(&self, listing: &Listing, sink: &Sink, outcome: &mut Outcome) {
        let odd = |what: String| {
            let is_of_snapshot = what.starts_with("the snapshot ");
            let others = "nothing of the snapshot; what others have since it, no restore point shows";
            let lost = if is_of_snapshot { others } else { "nothing that Cassandra put there" };
            self.finding(Problem::Oddity, what).lost(lost)
        };
        let automatic = listing.automatic();
        if let Some(why) = automatic {
            let finding = self.finding(Problem::SstableMissing, Cause::Automatic { why: why.into() }.to_string());
            outcome.findings.push(finding.lost("the rows of the table that this snapshot does not have"));
        }
        let is_odd = |warning: &&String| automatic.is_none_or(|why| !warning.ends_with(why));
        let warnings: Vec<String> = listing.warnings.iter().filter(is_odd).cloned().collect();
        let more = warnings.len().saturating_sub(MAX_ODDITIES);
        outcome.findings.extend(warnings.into_iter().take(MAX_ODDITIES).map(odd));
        if more > 0 {
            outcome.findings.push(odd(format!("and {more} more like that")));
        }
        if sink.overflow {
            outcome.findings.push(odd("so many or so large TOC.txt files that not all were read".into()));
        }
        let mut components: BTreeMap<SstableRef, Vec<&str>> = BTreeMap::new();
        let mut damage: BTreeMap<SstableRef, (Problem, &str)> = BTreeMap::new();
        // What is not there at all, the manifest's own check tells.
        for file in listing.files.iter().filter(|file| !file.is_absent()) {
            let Some((directory, parsed)) = SstableName::parse_path(&file.path) else {
                if let Some(why) = &file.damage {
                    outcome.findings.push(self.finding(Problem::DataMissing, &**why).lost("the file"));
                }
                continue;
            };
            let sstable = SstableRef { directory: directory.into(), name: parsed.sstable };
            // One that Cassandra does without, and the others are whole, is among the warnings.
            if let Some(why) = file.damage.as_ref().filter(|_| !is_spare(parsed.component)) {
                // Only what has no data in the archive has no checksum.
                let problem = if file.crc32.is_none() { Problem::DataMissing } else { component_problem(why) };
                let known = damage.entry(sstable.clone()).or_insert((problem, why));
                if problem == Problem::DataMissing {
                    known.0 = problem;
                }
            }
            components.entry(sstable).or_default().push(parsed.component);
        }
        for (sstable, present) in &components {
            self.judge_components(sstable, present, sink, outcome);
            let of_sums = self.judge_sums(sstable, listing, sink);
            let is_told = |problem: Problem| problem == Problem::ChunkListDamaged && of_sums.is_some();
            if let Some((problem, why)) = damage.get(sstable).filter(|(problem, _)| !is_told(*problem)) {
                let content = sink.sstables.get(sstable).and_then(|parts| parts.content(sstable));
                let finding = self.of_sstable(*problem, sstable, (*why).to_owned(), content);
                let lost = match problem {
                    Problem::DataMissing => "the SSTable: not all of it is in the archive",
                    Problem::ComponentDamaged | Problem::ChunkListDamaged => {
                        "the SSTable: Cassandra does not open it, or does not find all of its rows"
                    }
                    _ => "rows of the SSTable; which ones is not known",
                };
                outcome.findings.push(finding.lost(lost));
            }
            outcome.findings.extend(of_sums);
        }
        if listing.files.is_empty() && self.sets.should_have_files(self.set, &self.archive.table) {
            let finding = self.finding(Problem::ArchiveEmpty, Cause::NoFiles.to_string());
            outcome.findings.push(finding.lost("all that it should hold"));
        }
        self.judge_unread(listing, outcome);
        self.judge_table(sink, outcome);
        self.judge_time(listing, outcome);
        if let Some(manifest) = &sink.manifest {
            self.judge_manifest(manifest, &components, outcome);
        }
    }

    fn judge_components(&self, sstable: &SstableRef, present: &[&str], sink: &Sink, outcome: &mut Outcome) {
        let parts = sink.sstables.get(sstable);
        let toc: Option<Vec<String>> =
            parts.and_then(|parts| parts.toc.as_deref()).map(|toc| toc.lines().map(str::to_owned).collect());
        let lacks = lacking(sstable.name.format, present, toc.as_deref());
        let of = |effects: &[Effect]| -> Vec<&str> {
            lacks.iter().filter(|lack| effects.contains(&lack.effect)).map(|lack| &*lack.component).collect()
        };
        let content = || parts.and_then(|parts| parts.content(sstable));
        let (mut unreadable, mut unknown) = (of(&[Effect::Unreadable]), of(&[Effect::Unknown]));
        let mut broken = of(&[Effect::IndexBroken]);
        if sstable.directory.starts_with('.') {
            broken.extend(unreadable.drain(..).chain(unknown.drain(..)));
        }
        if toc.as_deref().is_some_and(|toc| !is_toc(toc)) {
            let message = format!("{sstable}-TOC.txt: it does not list Data.db, so it is damaged");
            outcome.findings.push(self.finding(Problem::Oddity, message).lost("nothing: Cassandra does without it"));
        }
        if !unreadable.is_empty() || !unknown.is_empty() {
            let message = format!("{} missing", names(&[&unreadable[..], &unknown].concat()));
            let mut finding = self.of_sstable(Problem::ComponentMissing, sstable, message, content());
            if unreadable.is_empty() {
                finding.severity = Severity::Warning;
            }
            let lost = match &unreadable[..] {
                [] => "no row: TOC.txt lists it, and Cassandra opens the SSTable without it",
                ["Index.db"] => "the SSTable: no node opens it, though sstabledump reads its rows",
                _ => "the SSTable: Cassandra does not open it",
            };
            outcome.findings.push(finding.lost(lost));
        }
        if !broken.is_empty() {
            let message = format!("{} missing", names(&broken));
            let finding = self.of_sstable(Problem::IndexIncomplete, sstable, message, content());
            outcome.findings.push(finding.lost(NO_ROWS));
        }
        let unfinished = of(&[Effect::IndexUnfinished]);
        if !unfinished.is_empty() {
            outcome.notes.push(self.note(format!(
                "{sstable}: an index was not complete yet; Cassandra builds it ({} missing)",
                names(&unfinished)
            )));
        }
        let unchecked = of(&[Effect::Unchecked]);
        if !unchecked.is_empty() {
            outcome.notes.push(
                self.note(format!("{sstable}: {} missing, so that it was not checked against it", names(&unchecked))),
            );
        }
        if let Some(why) = parts.and_then(|parts| parts.unknown_format.as_deref()) {
            outcome.notes.push(self.note(format!("{sstable}: the checksums of its chunks were not checked: {why}")));
        }
    }

    fn judge_sums(&self, sstable: &SstableRef, listing: &Listing, sink: &Sink) -> Option<Finding> {
        let parts = sink.sstables.get(sstable)?;
        let (problem, message, lost) = match parts.sums() {
            Sums::Fine => return None,
            Sums::BadList { component: CRC, error } => return self.odd_crc(sstable, listing, &error.to_string()),
            Sums::Verdict { component: CRC, .. } if parts.is_as_digest_says() => {
                return self.odd_crc(sstable, listing, "it is not of Data.db, which is what its Digest.crc32 says");
            }
            Sums::BadList { component, error } => (
                Problem::ChunkListDamaged,
                format!("{component} cannot be read: {error}"),
                "the SSTable: Cassandra cannot find its chunks",
            ),
            Sums::Verdict { component, verdict: Verdict::Bad(bad) } => {
                (Problem::ChunkDamaged, bad_pieces(component, &bad), "the rows in these chunks")
            }
            Sums::Verdict { component, .. } => (
                Problem::ChunkListDamaged,
                format!("{component} is not of this Data.db"),
                "rows of the SSTable, if not all of it",
            ),
        };
        Some(self.of_sstable(problem, sstable, message, parts.content(sstable)).lost(lost))
    }

    /// Tells of a CRC.db that is wrong itself, unless the listing does.
    fn odd_crc(&self, sstable: &SstableRef, listing: &Listing, why: &str) -> Option<Finding> {
        let file = format!("{sstable}-{CRC}: ");
        let is_told = listing.warnings.iter().any(|warning| warning.starts_with(&file));
        let finding = || self.finding(Problem::Oddity, file + why).lost("nothing: Cassandra does without it");
        (!is_told).then(finding)
    }

    /// Files that may hold rows, and that are none of an SSTable's that Cassandra opens.
    fn judge_unread(&self, listing: &Listing, outcome: &mut Outcome) {
        let mut unread = Unread::default();
        for file in &listing.files {
            unread.add(&file.path, file.size);
        }
        for (path, why) in unread.found().into_iter().take(MAX_ODDITIES) {
            let message = format!("{}: Cassandra does not open it: {why}", path.escape_debug());
            outcome.findings.push(self.finding(Problem::ComponentMissing, message).lost("the rows in it, if any"));
        }
    }

    /// An archive may have got another table's name on its way.
    fn judge_table(&self, sink: &Sink, outcome: &mut Outcome) {
        let misfits = self.tables.map(|known| known.misfits(&self.archive.table, sink));
        for (why, sstables) in misfits.into_iter().flatten() {
            let lost = "the rows of the table: Cassandra would read others in their place, or none";
            match sstables {
                None => {
                    let finding = self.finding(Problem::OtherTable, format!("each SSTable in it: {why}"));
                    let mut all: Vec<SstableRef> = sink.shapes().map(|(sstable, _)| sstable.clone()).collect();
                    all.sort();
                    all.truncate(MAX_NAMED);
                    outcome.findings.push(Finding { sstables: all, ..finding.lost(lost) });
                }
                Some(some) => outcome.findings.extend(
                    some.iter().map(|one| self.of_sstable(Problem::OtherTable, one, why.clone(), None).lost(lost)),
                ),
            }
        }
    }

    /// An archive may have got the name of one of an earlier set: then it has files that this set's
    /// script cannot have packed, because it had ended before they were written.
    fn judge_time(&self, listing: &Listing, outcome: &mut Outcome) {
        if !self.set.is_finished() || self.set.file(MANIFEST).is_none() {
            return;
        }
        let of_sstables = |file: &&ListedFile| !file.is_absent() && SstableName::parse_path(&file.path).is_some();
        let Some(newest) = listing.files.iter().filter(of_sstables).map(|file| file.mtime).max() else { return };
        let after = newest.0.saturating_sub(self.set.time.0);
        if after <= JITTER {
            return;
        }
        let ended = self.set.time;
        let message =
            format!("it has files of {newest}, and its set had ended at {ended}: it is of a later set, or packed anew");
        if after > ZONES {
            let finding = self.finding(Problem::OtherSet, message);
            outcome.findings.push(finding.lost("the table as of this set, if the archive is of a later one"));
        } else {
            outcome.notes.push(self.note(message));
        }
    }

    /// The manifest that Cassandra put into the snapshot lists its SSTables by their Data.db.
    fn judge_manifest(&self, manifest: &[u8], components: &BTreeMap<SstableRef, Vec<&str>>, outcome: &mut Outcome) {
        let unusable = |why: String| {
            let message =
                format!("the snapshot's manifest.json {why}, so nothing tells which SSTables should be there");
            self.finding(Problem::SetFileDamaged, message).lost("SSTables, perhaps: nothing tells")
        };
        let json: serde_json::Value = match serde_json::from_slice(manifest) {
            Ok(json) => json,
            Err(error) => return outcome.findings.push(unusable(format!("is not JSON ({error})"))),
        };
        let Some(files) = json.get("files").and_then(|files| files.as_array()) else {
            return outcome.findings.push(unusable("lists no files".into()));
        };
        for file in files.iter().filter_map(|file| file.as_str()) {
            let Some((directory, parsed)) = SstableName::parse_path(file.trim_start_matches("./")) else { continue };
            let sstable = SstableRef { directory: directory.into(), name: parsed.sstable };
            // One of which a part is there is judged by its parts. One of an index is among the warnings.
            if sstable.directory.is_empty() && !components.contains_key(&sstable) {
                let message = "the snapshot's manifest.json lists it, and it is not in the archive".to_owned();
                outcome
                    .findings
                    .push(self.of_sstable(Problem::SstableMissing, &sstable, message, None).lost("the SSTable"));
            }
        }
    }
}

/// Names of components, which come from an untrusted TOC.txt, for people.
fn names(components: &[&str]) -> String {
    const NAMED: usize = 20;
    const LONGEST: usize = 255;
    let mut words: Vec<String> =
        components.iter().take(NAMED).map(|name| name.chars().take(LONGEST).collect()).collect();
    for word in &mut words {
        *word = word.escape_debug().to_string();
    }
    if components.len() > NAMED {
        words.push(format!("{} more", components.len() - NAMED));
    }
    words.join(", ")
}

/// The SSTables of a listing.
fn contents_of(listing: &Listing) -> Vec<Content> {
    let of_file = |file: &crate::reader::ListedFile| {
        let (directory, parsed) = SstableName::parse_path(&file.path)?;
        let crc32 = file.crc32?;
        let sstable = SstableRef { directory: directory.into(), name: parsed.sstable };
        (parsed.component == "Data.db").then_some(Content { sstable, size: file.size, crc32 })
    };
    listing.files.iter().filter(|file| file.damage.is_none()).filter_map(of_file).collect()
}

/// What is wrong with an SSTable, by the component that the sentence begins with.
fn component_problem(why: &str) -> Problem {
    let component = why.split_once(": ").and_then(|(path, _)| SstableName::parse_path(path));
    match component.map(|(_, parsed)| parsed.component) {
        Some("Statistics.db" | "Index.db" | "Partitions.db" | "Filter.db" | "Summary.db") => Problem::ComponentDamaged,
        Some("CompressionInfo.db" | "CRC.db") => Problem::ChunkListDamaged,
        _ => Problem::DigestDiffers,
    }
}

fn bad_pieces(component: &str, bad: &BadPieces) -> String {
    let named: Vec<String> = bad.first.iter().map(ToString::to_string).collect();
    let more = if bad.count > named.len() as u64 { ", …" } else { "" };
    format!(
        "{} of {} chunks of Data.db differ from their CRC-32 (by {component}); they begin at byte {}{more}",
        bad.count,
        bad.of,
        named.join(", ")
    )
}
