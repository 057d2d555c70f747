//! Some of a host's archives instead of all: which ones, by a hash of each archive's version. Pure.

use crate::{Error, Result};
use serde::Serialize;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

/// The first half of an object's version, which is a hash.
type Version = [u8; 16];

/// Which of a host's archives to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sample {
    /// So many of ten thousand, rounded up.
    Share(u32),
    /// The `part`-th of `parts` parts, from 1 on. Every archive is in one of them, and stays there.
    Part { part: u32, parts: u32 },
}

/// How much of the archives a report is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SampleReport {
    /// As it was asked for: `10%`, `3/7`.
    pub sample: String,
    /// What a share was drawn by; another word draws other archives.
    pub drawn_by: Option<String>,
    /// Archives in the sample, of so many.
    pub archives: u64,
    pub of: u64,
}

const WHOLE: u32 = 10_000;
const MOST_PARTS: u32 = 10_000;

impl FromStr for Sample {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::invalid(format!("{text:?} is no sample: expected a share such as 10%, or a part such as 3/7"));
        if let Some(percent) = text.strip_suffix('%') {
            let (whole, fraction) = percent.split_once('.').unwrap_or((percent, ""));
            let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if whole.is_empty() || whole.len() > 3 || fraction.len() > 2 || !is_number(whole) || !is_number(fraction) {
                return Err(wrong());
            }
            let share: u32 = format!("{whole}{fraction:0<2}").parse().map_err(|_| wrong())?;
            return if (1..=WHOLE).contains(&share) { Ok(Self::Share(share)) } else { Err(wrong()) };
        }
        let (part, parts) = text.split_once('/').ok_or_else(wrong)?;
        let (part, parts): (u32, u32) = (part.parse().map_err(|_| wrong())?, parts.parse().map_err(|_| wrong())?);
        if part >= 1 && part <= parts && parts <= MOST_PARTS { Ok(Self::Part { part, parts }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) if share % 100 == 0 => write!(f, "{}%", share / 100),
            Self::Share(share) => write!(f, "{}.{:02}%", share / 100, share % 100),
            Self::Part { part, parts } => write!(f, "{part}/{parts}"),
        }
    }
}

impl Sample {
    /// Those of a host's archives that are in it. `word`: another one draws another share.
    pub(super) fn of(&self, versions: &HashSet<Version>, word: &str) -> HashSet<Version> {
        let hash = |word: &str, version: &Version| {
            let mut hash = blake3::Hasher::new_derive_key("cassmount 2026 verify sample");
            hash.update(version).update(word.as_bytes());
            *hash.finalize().as_bytes()
        };
        match *self {
            Self::Share(share) => {
                let mut drawn: Vec<_> = versions.iter().map(|version| (hash(word, version), *version)).collect();
                drawn.sort_unstable();
                let count = (drawn.len() as u64 * u64::from(share)).div_ceil(u64::from(WHOLE));
                drawn.into_iter().take(count as usize).map(|(_, version)| version).collect()
            }
            Self::Part { part, parts } => {
                let place = |version: &Version| {
                    let hash = hash("", version);
                    let number = u64::from_le_bytes(*hash.first_chunk().expect("8 of 32 bytes"));
                    number % u64::from(parts) == u64::from(part - 1)
                };
                versions.iter().filter(|version| place(version)).copied().collect()
            }
        }
    }

    /// What a share is drawn by; parts stay as they are.
    pub(super) fn word<'a>(&self, word: &'a str) -> Option<&'a str> {
        matches!(self, Self::Share(_)).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(count: u8) -> HashSet<Version> {
        (0..count).map(|number| [number; 16]).collect()
    }

    #[test]
    fn a_share_has_its_size_and_differs_from_day_to_day() {
        let all = versions(101);
        let drawn = |text: &str, word: &str| text.parse::<Sample>().unwrap().of(&all, word);
        for (share, count) in [("10%", 11), ("100%", 101), ("0.01%", 1), ("99.5%", 101), ("50.5%", 52)] {
            assert_eq!(drawn(share, "a").len(), count, "{share}");
            assert_eq!(
                share.parse::<Sample>().unwrap().to_string().trim_end_matches('%').parse::<f64>(),
                share.trim_end_matches('%').parse()
            );
        }
        assert_eq!(drawn("10%", "a"), drawn("10%", "a"), "an interrupted run goes on");
        assert_ne!(drawn("10%", "a"), drawn("10%", "b"));
        assert!(Sample::Share(1).of(&HashSet::new(), "a").is_empty());
    }

    #[test]
    fn parts_are_all_of_it_and_nothing_twice() {
        let all = versions(200);
        let parts: Vec<_> = (1..=7).map(|part| Sample::Part { part, parts: 7 }.of(&all, "day")).collect();
        assert_eq!(parts.iter().map(HashSet::len).sum::<usize>(), all.len());
        assert_eq!(parts.iter().flatten().copied().collect::<HashSet<_>>(), all);
        assert!(parts.iter().all(|part| !part.is_empty()));
        assert_eq!(parts[2], Sample::Part { part: 3, parts: 7 }.of(&all, "another day"));
    }

    #[test]
    fn what_is_no_sample_is_refused() {
        for wrong in
            ["", "%", "0%", "100.01%", "10", "1e1%", "-1%", "10.123%", "0/7", "8/7", "1/0", "1/10001", "a/b", "+1%"]
        {
            assert!(wrong.parse::<Sample>().is_err(), "{wrong}");
        }
    }
}
