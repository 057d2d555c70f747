//! sstableloader, and what its words are worth.
//!
//! It ends with status 0 when the table is not there, when the directory holds nothing that it
//! takes for an SSTable, and when it has loaded all. What it prints differs (tried on 4.1.10 and
//! 5.0.6): `Streaming relevant part of FILE … to [NODE, …]` names each Data.db that it sends,
//! `Skipping file …` one that it does not, and `Total files transferred : N` counts.

use super::super::command::{Program, ProgramOutput};
use super::super::sstables::{DATA, Sstable};
use super::links::Links;
use super::plan::LoadJob;
use crate::{Error, Kind, Result};
use std::time::Duration;

/// Bits in a megabit, the unit of `--throttle` in every version.
const MEGABIT: u64 = 1_000_000;

/// Loads the SSTables behind `links` into the cluster of which `contacts` are nodes, at `rate`
/// bytes a second.
///
/// # Errors
/// `Kind::Io` where not each of them was sent; `Kind::NotFound` where sstableloader cannot be run;
/// `Kind::TimedOut`.
pub(super) fn run(
    program: &Program,
    contacts: &[String],
    rate: Option<u64>,
    timeout: Duration,
    links: &Links,
    job: &LoadJob,
) -> Result<()> {
    let contacts = contacts.join(",");
    let throttle = rate.map(|rate| (rate.saturating_mul(8) / MEGABIT).max(1).to_string());
    let directory = links.directory().to_str().ok_or_else(|| Error::invalid("the temporary directory is not UTF-8"))?;
    let mut arguments = vec!["-d", &contacts, "--no-progress"];
    arguments.extend(throttle.iter().flat_map(|throttle| ["-t", throttle]));
    arguments.push(directory);
    let said = program.run(&arguments, timeout)?;
    judge(&said, &job.sstables).map_err(|why| Error::new(Kind::Io, format!("sstableloader: {why}")))
}

/// Why not all of the SSTables were loaded.
fn judge(said: &ProgramOutput, sstables: &[Sstable]) -> std::result::Result<(), String> {
    if !said.status.success() {
        return Err(said.why());
    }
    if let Some(line) = said.lines().find(|line| line.contains("Skipping file")) {
        return Err(line.trim().to_owned());
    }
    let mut streamed = said.lines().filter(|line| line.contains("Streaming relevant part of")).peekable();
    let transferred = said.lines().find_map(|line| count(line, "Total files transferred"));
    if streamed.peek().is_none() || transferred == Some(0) {
        return Err("it ended with status 0 and loaded nothing: is one of its nodes up, and does the keyspace's \
                    replication name this cluster's datacenters?"
            .to_owned());
    }
    let words: Vec<&str> = streamed.flat_map(str::split_whitespace).collect();
    let sent = |sstable: &&Sstable| {
        let file = sstable.name.file_name(DATA);
        words.iter().any(|word| word.trim_end_matches(',').rsplit('/').next() == Some(&*file))
    };
    match sstables.iter().find(|sstable| !sent(sstable)) {
        Some(sstable) => Err(format!("it ended with status 0 and did not send {}", sstable.name)),
        None => Ok(()),
    }
}

/// The number behind `name :` in a line.
fn count(line: &str, name: &str) -> Option<u64> {
    line.trim().strip_prefix(name)?.trim_start().strip_prefix(':')?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::super::sstables::group;
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    fn said(status: i32, stdout: &str) -> ProgramOutput {
        ProgramOutput { status: ExitStatus::from_raw(status << 8), stdout: stdout.to_owned(), stderr: String::new() }
    }

    fn sstables(numbers: &[u32]) -> Vec<Sstable> {
        let components = ["Data.db", "Index.db", "Statistics.db", "CompressionInfo.db"];
        let files = numbers.iter().flat_map(|n| components.map(|component| (format!("nb-{n}-big-{component}"), 1)));
        group(files, &|_| None).unwrap()
    }

    const BEGIN: &str =
        "Established connection to initial hosts\nOpening sstables and calculating sections to stream\n";

    fn summary(files: u32) -> String {
        format!(
            "\nSummary statistics: \n   Connections per host    : 1         \n   Total files transferred : {files}         \n"
        )
    }

    #[test]
    fn what_was_sent_is_loaded() {
        let words = format!(
            "{BEGIN}Streaming relevant part of /mnt/s/u-1/nb-1-big-Data.db /mnt/s/u-1/nb-12-big-Data.db  to [/127.0.0.1:7000]\n{}",
            summary(2)
        );
        assert_eq!(judge(&said(0, &words), &sstables(&[1, 12])), Ok(()));
    }

    #[test]
    fn an_end_without_error_is_not_a_load() {
        let nothing = format!("{BEGIN}{}", summary(0));
        let why = judge(&said(0, &nothing), &sstables(&[1])).unwrap_err();
        assert!(why.contains("loaded nothing"), "{why}");
        let skipped = format!("{BEGIN}Skipping file nb-1-big-Data.db: table shop.users doesn't exist\n{}", summary(0));
        let why = judge(&said(0, &skipped), &sstables(&[1])).unwrap_err();
        assert_eq!(why, "Skipping file nb-1-big-Data.db: table shop.users doesn't exist");
    }

    #[test]
    fn one_sstable_that_was_not_sent_is_named() {
        let words = format!(
            "{BEGIN}Streaming relevant part of /mnt/s/u-1/nb-12-big-Data.db  to [/127.0.0.1:7000]\n{}",
            summary(1)
        );
        let why = judge(&said(0, &words), &sstables(&[2, 12])).unwrap_err();
        assert!(why.ends_with("did not send nb-2-big"), "{why}");
        assert!(judge(&said(1, &words), &sstables(&[12])).is_err());
    }
}
