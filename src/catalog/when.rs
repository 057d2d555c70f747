//! Times as people type them, in a path or on a command line, and the restore point that one means. Pure.
//!
//! A time in the form of a tag, cut off anywhere (`2026-11-21`, `2026-11-21-03`, `2026-11-21-02-48`), is compared with tags: it means the
//! newest set that was *started* in that day, hour or minute, or before it. So one such time fits the sets of all hosts of a run,
//! whose tags differ by a minute. Any other time is a moment, and means the newest set that was *finished* not after it: nothing in it
//! can be later.

use super::chain::{Chains, RestorePoint};
use super::load::HostSets;
use super::local::{LocalTime, Offsets};
use crate::time::Timestamp;
use crate::{Error, Result};
use jiff::fmt::temporal::{Pieces, PiecesOffset};

/// Which restore point is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// The newest.
    Latest,
    /// The newest that was finished not after this.
    Finished(Timestamp),
    /// The newest that was started not after this.
    Started(Timestamp),
}

/// Longest text that can be a time, bytes.
const MAX_LEN: usize = 64;

/// Reads `latest`, a tag or its beginning, RFC 3339, or unix seconds. Without `Z` or an offset it is the host's local time, under the
/// offset that its manifests show near that time; UTC when there is none. `Kind::Invalid` when it is no time.
pub fn parse_time(text: &str, offsets: &Offsets) -> Result<When> {
    let invalid = || {
        Error::invalid(format!(
            "{text:?} is neither a backup set nor a time (2026-11-21-03, 2026-11-21T03:00:00Z, 1795230000)"
        ))
    };
    if text == "latest" {
        return Ok(When::Latest);
    }
    if text.len() > MAX_LEN || !text.is_ascii() {
        return Err(invalid());
    }
    if (9..=11).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(|secs| When::Finished(Timestamp::from_secs(secs))).map_err(|_| invalid());
    }
    let moment = |local: LocalTime, utc: bool| {
        let known = if utc { None } else { offsets.moment(local) };
        known.unwrap_or_else(|| local.at_offset(0))
    };
    let (tag, utc) = text.strip_suffix('Z').map_or((text, false), |rest| (rest, true));
    if let Some(last) = last_second(tag) {
        return Ok(When::Started(Timestamp(moment(last, utc).0 + 999_999)));
    }
    let (local, micros, offset) = rfc3339(text).ok_or_else(invalid)?;
    let whole = match offset {
        Some(offset) => local.at_offset(offset),
        None => moment(local, false),
    };
    Ok(When::Finished(Timestamp(whole.0.saturating_add(micros))))
}

/// The last second of the day, hour or minute that the beginning of a tag names.
fn last_second(tag: &str) -> Option<LocalTime> {
    let mut numbers = [0i16; 5];
    let mut parts = 0;
    for part in tag.split('-') {
        let digits = if parts == 0 { 4 } else { 2 };
        if parts == numbers.len() || part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        numbers[parts] = part.parse().ok()?;
        parts += 1;
    }
    let length = match parts {
        3 => 24 * 3600,
        4 => 3600,
        5 => 60,
        _ => return None,
    };
    let [year, month, day, hour, minute] = numbers;
    let first = LocalTime::new(year, month as i8, day as i8, hour as i8, minute as i8, 0)?;
    Some(LocalTime(first.0 + length - 1))
}

/// The clock's reading, microseconds of its second, and the offset in seconds where there is one.
fn rfc3339(text: &str) -> Option<(LocalTime, i64, Option<i32>)> {
    let pieces = Pieces::parse(text).ok()?;
    let civil = pieces.date().to_datetime(pieces.time()?);
    let offset = match pieces.offset() {
        Some(PiecesOffset::Numeric(offset)) => Some(offset.offset().seconds()),
        Some(_) => Some(0),
        None => None,
    };
    let reading = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    let micros = reading.as_microsecond();
    Some((LocalTime(micros.div_euclid(1_000_000)), micros.rem_euclid(1_000_000), offset))
}

impl Chains {
    /// `None` when it lies before the first restore point.
    pub fn resolve(&self, when: When) -> Option<&RestorePoint> {
        match when {
            When::Latest => self.latest(),
            When::Finished(time) => self.at(time),
            When::Started(time) => self.started_at(time),
        }
    }
}

impl HostSets {
    /// The restore point that `text` names: its tag, `latest`, or a time. `Kind::NotFound`, with the reason, when there is none;
    /// `Kind::Invalid` when it is no time.
    pub fn find_point(&self, text: &str) -> Result<&RestorePoint> {
        if let Some(point) = self.chains.point(text) {
            return Ok(point);
        }
        if let Some(set) = self.set(text) {
            let problem = self.chains.problems.iter().find(|problem| problem.tag() == &set.tag);
            let why = problem.map(|problem| format!(": {problem}")).unwrap_or_default();
            return Err(Error::not_found(format!("{} of {} is no restore point{why}", set.tag, self.host)));
        }
        let when = parse_time(text, &self.offsets)?;
        self.chains.resolve(when).ok_or_else(|| {
            let why = match self.chains.points().first() {
                Some(first) => format!("the first restore point is {}", first.tag()),
                None => "there is no restore point".into(),
            };
            Error::not_found(format!("nothing of {} is as old as {text}: {why}", self.host))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn started(text: &str) -> When {
        When::Started(Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond()))
    }

    fn finished(text: &str) -> When {
        When::Finished(Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond()))
    }

    #[test]
    fn what_people_type() {
        let utc = Offsets::default();
        let kathmandu = Offsets::new([(Timestamp(0), 20_700)]);
        for (text, in_utc, in_kathmandu) in [
            ("latest", When::Latest, When::Latest),
            ("2026-11-21", started("2026-11-21T23:59:59.999999Z"), started("2026-11-21T18:14:59.999999Z")),
            ("2026-11-21-03", started("2026-11-21T03:59:59.999999Z"), started("2026-11-20T22:14:59.999999Z")),
            ("2026-11-21-02-48", started("2026-11-21T02:48:59.999999Z"), started("2026-11-20T21:03:59.999999Z")),
            ("2026-11-21-02-48Z", started("2026-11-21T02:48:59.999999Z"), started("2026-11-21T02:48:59.999999Z")),
            ("2026-11-21T03:00:00Z", finished("2026-11-21T03:00:00Z"), finished("2026-11-21T03:00:00Z")),
            ("2026-11-21T03:00:00.25+02:00", finished("2026-11-21T01:00:00.25Z"), finished("2026-11-21T01:00:00.25Z")),
            ("2026-11-21T03:00:00", finished("2026-11-21T03:00:00Z"), finished("2026-11-20T21:15:00Z")),
            ("2026-11-21 03:00", finished("2026-11-21T03:00:00Z"), finished("2026-11-20T21:15:00Z")),
            ("1795229287", finished("2026-11-21T02:48:07Z"), finished("2026-11-21T02:48:07Z")),
        ] {
            assert_eq!(parse_time(text, &utc).unwrap(), in_utc, "{text}");
            assert_eq!(parse_time(text, &kathmandu).unwrap(), in_kathmandu, "{text}");
        }
        for bad in [
            "",
            "Latest",
            "now",
            "2026",
            "2026-11",
            "2026-11-31",
            "2026-11-21-25",
            "2026-11-21-3",
            "12",
            "../x",
            "2026-11-21-02-48-xx",
            "20-11-21",
            "é",
        ] {
            assert!(parse_time(bad, &utc).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in ".{0,40}|[0-9TZ:+. -]{0,40}") {
            let _ = parse_time(&text, &Offsets::new([(Timestamp(5), -3600)]));
        }
    }
}
