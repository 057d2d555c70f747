//! The SSTables of `backups` directories by the time when they were flushed. Pure.
//!
//! Cassandra links every SSTable that it flushes into `backups`, and never says which of them
//! belong together. All that were flushed up to some moment, upon the newest snapshot before, are a
//! state that the node was in. So they are put into sets by the minute of the flush; where that
//! would make too many, by the hour, or the day.

use super::components::Present;
use crate::cassandra::SstableName;
use crate::catalog::unread::{Unread, is_odd};
use crate::store::{BundledFile, ObjectMeta, Tally};
use crate::time::Timestamp;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Most sets that are made of the flushes of one host.
const MAX_SETS: usize = 2000;

/// Most SSTables in all `backups` directories of a host.
const MAX_SSTABLES: usize = 1_000_000;

/// What a set's name begins with: everything that was flushed until then.
const PREFIX: &str = "until-";

/// How long a time one set is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Step {
    Minute,
    Hour,
    Day,
}

impl Step {
    const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    fn micros(self) -> i64 {
        match self {
            Self::Minute => 60_000_000,
            Self::Hour => 3_600_000_000,
            Self::Day => 86_400_000_000,
        }
    }

    /// The minute, hour or day of a moment, in UTC.
    fn of(self, time: Timestamp) -> i64 {
        time.0.div_euclid(self.micros())
    }

    /// `until-2026-11-21-02-46`, in UTC; without minute or hour for the longer ones.
    pub(super) fn name(self, time: Timestamp) -> String {
        let shape = match self {
            Self::Minute => "%Y-%m-%d-%H-%M",
            Self::Hour => "%Y-%m-%d-%H",
            Self::Day => "%Y-%m-%d",
        };
        let start = jiff::Timestamp::from_microsecond(self.of(time).saturating_mul(self.micros()));
        format!("{PREFIX}{}", start.unwrap_or_default().strftime(shape))
    }
}

/// When the SSTable that the file is of was flushed, as well as this file tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Moment {
    /// Better evidence is greater: the SSTable's id, the time of its Data.db, that of any
    /// component.
    rank: u8,
    time: Timestamp,
}

impl Moment {
    fn of(file: &str, object: &ObjectMeta) -> Self {
        match SstableName::parse_path(file) {
            Some((_, parsed)) => match parsed.sstable.written_at() {
                Some(time) => Self { rank: 2, time },
                None => Self { rank: u8::from(parsed.component == "Data.db"), time: object.modified },
            },
            None => Self { rank: 0, time: object.modified },
        }
    }
}

/// What all components of one SSTable have in common: its directory and name; a file that is none
/// is by itself.
fn sstable_of(file: &str) -> &str {
    match SstableName::parse_path(file) {
        Some((_, parsed)) => &file[..file.len() - parsed.component.len()],
        None => file,
    }
}

/// Takes in the files of `backups` directories in any order.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    sstables: HashMap<(u32, Box<str>), (Moment, Tally, Present)>,
    /// Files whose names are odd, and how long they are.
    odd: Vec<(u32, Box<str>, u64)>,
}

/// What was flushed of one table in the time of one set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Flush {
    /// The directory, as it was given to [`Flushes::add`].
    pub(super) directory: u32,
    /// Of the last SSTable.
    pub(super) time: Timestamp,
    pub(super) tally: Tally,
    /// SSTables that Cassandra does not open, and why.
    pub(super) unopened: Vec<(Box<str>, String)>,
    /// What the names of SSTables begin with of which TOC.txt has to tell whether they are whole.
    pub(super) untold: Vec<Box<str>>,
}

/// The name of each set, and what was flushed in its time.
pub(super) type FlushedSets = Vec<(String, Vec<Flush>)>;

impl Flushes {
    /// A file of directory number `directory`.
    ///
    /// # Errors
    /// `Kind::Invalid` when there are more than anybody should have to hold in memory.
    pub(super) fn add(&mut self, directory: u32, file: &str, object: &ObjectMeta) -> Result<()> {
        if self.sstables.len() >= MAX_SSTABLES {
            let message = format!(
                "more than {MAX_SSTABLES} SSTables in `backups` directories: nodetool clearsnapshot does not remove these"
            );
            return Err(Error::invalid(message).with_object(&object.key));
        }
        let moment = Moment::of(file, object);
        let own = (directory, sstable_of(file).into());
        let here = Present::of(file, object);
        let (known, tally, present) = self.sstables.entry(own).or_insert((moment, Tally::default(), here));
        *known = moment.max(*known);
        tally.add(file, object);
        present.join(here);
        if is_odd(file, object.size) {
            self.odd.push((directory, file.into(), object.size));
        }
        Ok(())
    }

    /// Those of the directories' files that Cassandra does not read although they may hold rows, and
    /// why.
    fn unread(&self) -> HashMap<(u32, &str), &'static str> {
        let mut found = HashMap::new();
        let directories: BTreeSet<u32> = self.odd.iter().map(|(directory, ..)| *directory).collect();
        for directory in directories {
            let own = self.sstables.iter().filter(|((of, _), (.., present))| *of == directory && present.has_data());
            let data: Vec<String> = own.map(|((_, sstable), _)| format!("{sstable}Data.db")).collect();
            let mut unread = Unread::default();
            for path in &data {
                unread.add(path, 1);
            }
            for (_, path, size) in self.odd.iter().filter(|(of, ..)| *of == directory) {
                unread.add(path, *size);
            }
            let odd = |path: &str| self.odd.iter().find(|(of, odd, _)| *of == directory && **odd == *path);
            let told = unread.found().into_iter().filter_map(|(path, why)| Some(((directory, &*odd(path)?.1), why)));
            found.extend(told);
        }
        found
    }

    /// Takes in those of another disk of the node; `numbers` are its directories' numbers here.
    pub(super) fn unite(&mut self, other: Self, numbers: &[u32]) {
        for ((directory, sstable), (moment, tally, there)) in other.sstables {
            let own = (numbers[directory as usize], sstable);
            let (known, all, present) = self.sstables.entry(own).or_insert((moment, Tally::default(), there));
            *known = moment.max(*known);
            all.join(&tally);
            present.join(there);
        }
        self.odd.extend(other.odd.into_iter().map(|(directory, path, size)| (numbers[directory as usize], path, size)));
    }

    /// The flushes of each set, with the set's name; in order of time, each directory once.
    pub(super) fn sets(&self) -> FlushedSets {
        let count = |step: Step| {
            let mut steps = BTreeSet::new();
            self.sstables.values().all(|(moment, ..)| {
                steps.insert(step.of(moment.time));
                steps.len() <= MAX_SETS
            })
        };
        let step = Step::ALL.into_iter().find(|step| count(*step)).unwrap_or(Step::Day);
        let unread = self.unread();
        let mut sets: BTreeMap<i64, BTreeMap<u32, Flush>> = BTreeMap::new();
        for ((directory, sstable), (moment, tally, present)) in &self.sstables {
            let set = sets.entry(step.of(moment.time)).or_default();
            let none = Flush {
                directory: *directory,
                time: moment.time,
                tally: Tally::default(),
                unopened: Vec::new(),
                untold: Vec::new(),
            };
            let flush = set.entry(*directory).or_insert(none);
            flush.time = flush.time.max(moment.time);
            flush.tally.join(tally);
            if let Some(why) = unread.get(&(*directory, &**sstable)) {
                flush.unopened.push((sstable.clone(), (*why).to_owned()));
            } else if present.needs_toc() {
                flush.untold.push(sstable.clone());
            }
            if let Some(parsed) = SstableName::parse_component(&format!("{sstable}Data.db")) {
                let why = present.why(parsed.sstable.format);
                flush.unopened.extend(why.map(|why| (parsed.sstable.to_string().into(), why)));
            }
        }
        let named = |flushes: BTreeMap<u32, Flush>| {
            let flushes: Vec<Flush> = flushes.into_values().collect();
            (step.name(flushes[0].time), flushes)
        };
        sets.into_values().map(named).collect()
    }
}

/// Those files of a `backups` directory that belong to the set of that name; each with its path
/// below the directory.
pub(super) fn files_of(set: &str, files: Vec<BundledFile>) -> Vec<BundledFile> {
    let mut moments: HashMap<Arc<str>, Moment> = HashMap::new();
    for file in &files {
        let moment = Moment::of(&file.path, &file.object);
        let known = moments.entry(sstable_of(&file.path).into()).or_insert(moment);
        *known = moment.max(*known);
    }
    let is_of_set = |file: &BundledFile| {
        let moment = moments.get(sstable_of(&file.path));
        moment.is_some_and(|moment| Step::ALL.iter().any(|step| step.name(moment.time) == set))
    };
    let wanted: Vec<bool> = files.iter().map(is_of_set).collect();
    files.into_iter().zip(wanted).filter_map(|(file, wanted)| wanted.then_some(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, seconds: i64) -> ObjectMeta {
        let modified = Timestamp::from_secs(seconds);
        ObjectMeta { key: key.into(), size: 1, e_tag: Some(format!("{seconds}").into()), modified, archived: false }
    }

    /// 2026-11-21T02:46:00Z.
    const T: i64 = 1_795_229_160;

    #[test]
    fn an_sstable_is_in_the_set_of_its_minute_with_all_its_components() {
        let files = [
            ("nb-1-big-Data.db", T + 59),
            ("nb-1-big-TOC.txt", T + 60),
            ("nb-2-big-Data.db", T + 60),
            (".i/nb-1-big-Data.db", T),
            (".i/nb-1-big-TOC.txt", T - 1),
        ];
        let mut flushes = Flushes::default();
        for (file, seconds) in files {
            flushes.add(7, file, &object(file, seconds)).unwrap();
        }
        flushes.add(8, "nb-1-big-Data.db", &object("x", T + 5)).unwrap();
        let sets = flushes.sets();
        let shown: Vec<_> = sets
            .iter()
            .flat_map(|(name, flushes)| flushes.iter().map(move |f| (&**name, f.directory, f.tally.files(), f.time)))
            .collect();
        let at = Timestamp::from_secs;
        assert_eq!(
            shown,
            [
                ("until-2026-11-21-02-46", 7, 4, at(T + 59)),
                ("until-2026-11-21-02-46", 8, 1, at(T + 5)),
                ("until-2026-11-21-02-47", 7, 1, at(T + 60))
            ]
        );
        let listed: Vec<_> = files
            .iter()
            .map(|(path, seconds)| BundledFile { path: (*path).into(), object: object(path, *seconds), md5: None })
            .collect();
        let of_set = files_of("until-2026-11-21-02-46", listed);
        assert_eq!(of_set.len(), 4);
        assert!(Tally::of(&of_set) == sets[0].1[0].tally);
    }

    #[test]
    fn odd_names_are_told_and_what_toc_has_to_tell_is_asked() {
        let mut flushes = Flushes::default();
        for file in [
            "nb-1-big-Data.db",
            "nb-1-big-Statistics.db",
            "nb-1-big-Index.db",
            "nb-1-big-TOC.txt",
            // What was left beside the whole one.
            ".nb-1-big-Data.db.Xa3Bcd",
            "NB-7-BIG-DATA.DB",
        ] {
            flushes.add(3, file, &object(file, T)).unwrap();
        }
        let sets = flushes.sets();
        let flush = &sets[0].1[0];
        let odd: Vec<&str> = flush.unopened.iter().map(|(name, _)| &**name).collect();
        assert_eq!((odd, &*flush.untold), (vec!["NB-7-BIG-DATA.DB"], &["nb-1-big-".into()][..]));
    }

    #[test]
    fn too_many_minutes_become_hours_or_days() {
        for (count, pause, name) in [
            (MAX_SETS, 60, "until-2026-11-21-02-46"),
            (MAX_SETS + 1, 60, "until-2026-11-21-02"),
            (MAX_SETS + 1, 3600, "until-2026-11-21"),
        ] {
            let mut flushes = Flushes::default();
            for n in 0..count {
                let file = format!("nb-{n}-big-Data.db");
                flushes.add(0, &file, &object(&file, T + n as i64 * pause)).unwrap();
            }
            let sets = flushes.sets();
            assert_eq!(sets[0].0, name);
            assert!(sets.len() <= MAX_SETS);
            assert_eq!(sets.iter().map(|(_, flushes)| flushes[0].tally.files()).sum::<usize>(), count);
        }
    }
}
