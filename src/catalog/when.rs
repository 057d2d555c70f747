//! Times as people type them, in a path or on a command line, and the restore point that one means.
//! Pure, but for the clock that times told from now (`2d`, `yesterday`) need.
//!
//! A time in the form of a tag, cut off anywhere (`2026-11-21`, `2026-11-21-03`,
//! `2026-11-21-02-48`), is compared with tags: it means the newest set that was *started* in that
//! day, hour or minute, or before it. So one such time fits the sets of all hosts of a run, whose
//! tags differ by a minute. Any other time is a moment, and means the newest set that was
//! *finished* not after it: nothing in it can be later.

use super::chain::{Chains, RestorePoint};
use super::host_sets::HostSets;
use super::local::{LocalTime, Offsets};
use super::set::BackupSet;
use crate::time::{self, Timestamp};
use crate::{Error, Result};
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use std::cmp::Ordering;

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

/// Reads `latest`, a tag or its beginning, RFC 3339, or unix seconds. Without `Z` or an offset it
/// is the host's local time, under the offset that its manifests show near that time; UTC when
/// there is none. `Kind::Invalid` when it is no time.
pub fn parse_time(text: &str, offsets: &Offsets) -> Result<When> {
    parse_edge(text, offsets, Edge::Last)
}

/// A time that is told from now, as one that does not move: `today` and `yesterday` by a clock so
/// many seconds ahead of UTC, or a time ago in minutes, hours, days or weeks (`6h`, `-6h`). `None`
/// where the text is nothing of that kind.
pub fn fixed_time(text: &str, now: Timestamp, utc_offset: i32) -> Option<String> {
    const DAY: i64 = 24 * 3600;
    let days_ago = match text {
        "today" => Some(0),
        "yesterday" => Some(1),
        _ => None,
    };
    if let Some(days) = days_ago {
        let local = LocalTime(LocalTime::of(now, utc_offset).0.checked_sub(days * DAY)?);
        return Some(local.civil()?.date().to_string());
    }
    let ago = text.strip_prefix('-').unwrap_or(text);
    let unit = match ago.chars().last()? {
        'm' => 60,
        'h' => 3600,
        'd' => DAY,
        'w' => 7 * DAY,
        _ => return None,
    };
    let number = &ago[..ago.len() - 1];
    if number.is_empty() || number.len() > 6 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = number.parse::<i64>().ok()?.checked_mul(unit)?;
    Some(Timestamp::from_secs(now.secs().checked_sub(seconds)?).to_string())
}

/// Which end of a day, hour or minute is meant by its name.
#[derive(Clone, Copy)]
enum Edge {
    First,
    Last,
}

fn parse_edge(text: &str, offsets: &Offsets, edge: Edge) -> Result<When> {
    let now = time::now();
    let fixed = fixed_time(text, now, offsets.near(now).unwrap_or(0));
    let text = fixed.as_deref().unwrap_or(text);
    let invalid = || {
        Error::invalid(format!(
            "{text:?} is neither a backup set nor a time (2026-11-21-03, 2026-11-21T03:00:00Z, 1795230000, yesterday, 6h)"
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
    if let Some((first, last)) = seconds_of(tag) {
        return Ok(When::Started(match edge {
            Edge::First => moment(first, utc),
            Edge::Last => Timestamp(moment(last, utc).0 + 999_999),
        }));
    }
    let (local, micros, offset) = rfc3339(text).ok_or_else(invalid)?;
    let whole = match offset {
        Some(offset) => local.at_offset(offset),
        None => moment(local, false),
    };
    Ok(When::Finished(Timestamp(whole.0.saturating_add(micros))))
}

/// The first and the last second of the day, hour or minute that the beginning of a tag names.
fn seconds_of(tag: &str) -> Option<(LocalTime, LocalTime)> {
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
    Some((first, LocalTime(first.0 + length - 1)))
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

/// A stretch of time between two that people typed, both ends in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Period {
    since: Option<When>,
    until: Option<When>,
}

impl Period {
    /// Reads both as [`parse_time`] does; a day, hour or minute begins with its first second and
    /// ends with its last. `Kind::Invalid` when one is no time.
    pub fn parse(since: Option<&str>, until: Option<&str>, offsets: &Offsets) -> Result<Self> {
        let since = since.map(|text| parse_edge(text, offsets, Edge::First)).transpose()?;
        let until = until.map(|text| parse_edge(text, offsets, Edge::Last)).transpose()?;
        Ok(Self { since, until })
    }

    /// Whether a set lies in it: by its start or its end, whichever that kind of time is compared
    /// with. `latest` is the host's newest restore point.
    pub fn has(&self, set: &BackupSet, latest: Option<&RestorePoint>) -> bool {
        let compare = |when: When| match when {
            When::Latest => {
                latest.map_or(Ordering::Less, |latest| (set.time, &set.tag).cmp(&(latest.time(), latest.tag())))
            }
            When::Finished(time) => set.time.cmp(&time),
            When::Started(time) => set.start().cmp(&time),
        };
        self.since.is_none_or(|since| compare(since).is_ge()) && self.until.is_none_or(|until| compare(until).is_le())
    }
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
    /// The restore point that `text` names: its tag, `latest`, or a time. `Kind::NotFound`, with
    /// the reason, when there is none.
    pub fn find_point(&self, text: &str) -> Result<&RestorePoint> {
        if let Some(point) = self.chains.point(text) {
            return Ok(point);
        }
        if let Some(set) = self.set(text) {
            let mut problems = self.chains.problems.iter().filter(|problem| problem.tag() == &set.tag);
            let why = problems.find_map(|problem| problem.why_no_point());
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            return Err(Error::not_found(format!("{} of {} is no restore point{why}", set.tag, self.host)));
        }
        let points = self.chains.points();
        // Not a time: just a name that is not there.
        let when = parse_time(text, &self.offsets).map_err(|error| {
            let there = match (points.first(), points.last()) {
                (Some(first), Some(last)) => format!("those that are there go from {} to {}", first.tag(), last.tag()),
                _ => "there is none".into(),
            };
            Error::not_found(format!("{} has no restore point {text:?}: {error}; {there}", self.host))
        })?;
        let found = match when {
            When::Latest => self.latest(points.len()),
            other => self.chains.resolve(other),
        };
        found.ok_or_else(|| {
            let why = match points.first() {
                Some(first) => format!("the first restore point is {}", first.tag()),
                None => "there is no restore point".into(),
            };
            Error::not_found(format!("nothing of {} is as old as {text}: {why}", self.host))
        })
    }

    /// How many of its restore points there were at a time: those that a mount shows with `--at`.
    ///
    /// # Errors
    /// `Kind::Invalid` where it is no time.
    pub fn points_until(&self, at: &str) -> Result<usize> {
        let points = self.chains.points();
        let newest = match parse_time(at, &self.offsets)? {
            When::Latest => return Ok(points.len()),
            other => self.chains.resolve(other),
        };
        let is_there =
            |point: &RestorePoint, newest: &RestorePoint| (point.time(), point.tag()) <= (newest.time(), newest.tag());
        Ok(newest.map_or(0, |newest| points.partition_point(|point| is_there(point, newest))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::SetKind;
    use crate::catalog::testing::{TestSet, host_sets};
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

    #[test]
    fn times_from_now_become_moments() {
        let now = Timestamp("2026-11-29T02:00:00Z".parse::<jiff::Timestamp>().unwrap().as_microsecond());
        for (text, offset, meant) in [
            ("6h", 0, Some("2026-11-28T20:00:00Z")),
            ("-6h", 0, Some("2026-11-28T20:00:00Z")),
            ("2d", 3600, Some("2026-11-27T02:00:00Z")),
            ("today", 0, Some("2026-11-29")),
            ("yesterday", 0, Some("2026-11-28")),
            ("yesterday", -3 * 3600, Some("2026-11-27")),
            ("latest", 0, None),
            ("2026-11-21", 0, None),
            ("1795917600", 0, None),
            ("d", 0, None),
            ("5x", 0, None),
            ("99999999w", 0, None),
            ("\u{e9}d", 0, None),
        ] {
            assert_eq!(fixed_time(text, now, offset).as_deref(), meant, "{text}");
        }
        let utc = Offsets::default();
        assert!(matches!(parse_time("2d", &utc), Ok(When::Finished(_))));
        assert!(matches!(parse_time("yesterday", &utc), Ok(When::Started(_))));
        // A set of that name is meant before any time.
        let sets = host_sets(&[TestSet { kind: Some(SetKind::Full), ..TestSet::default() }]);
        assert_eq!(&*sets.find_point("2d").unwrap().tag().0, "1970-01-01-00-00");
    }

    #[test]
    fn a_period_has_both_of_its_ends() {
        const HOUR: i64 = 3600;
        // In UTC+1, started on the hour for a minute each: 1970-01-01-01-00 and on.
        let set = |hour: i64| TestSet {
            start: hour * HOUR,
            length: 60,
            kind: Some(if hour == 0 { SetKind::Full } else { SetKind::Incremental }),
            offset: 3600,
            stated: true,
            ..TestSet::default()
        };
        let sets = host_sets(&(0..30).map(set).collect::<Vec<_>>());
        let hours = |since: Option<&str>, until: Option<&str>| {
            let period = Period::parse(since, until, &sets.offsets).unwrap();
            let inside = sets.sets.iter().filter(|set| period.has(set, sets.chains.latest()));
            let hours: Vec<i64> = inside.map(|set| set.start().secs() / HOUR).collect();
            (hours.first().copied(), hours.last().copied(), hours.len())
        };
        let range = |first: i64, last: i64| (Some(first), Some(last), (last - first + 1) as usize);
        assert_eq!(hours(None, None), range(0, 29));
        assert_eq!(hours(Some("1970-01-02"), None), range(23, 29), "from local midnight");
        assert_eq!(hours(Some("1970-01-01"), Some("1970-01-01")), range(0, 22), "to local midnight");
        assert_eq!(hours(Some("1970-01-01-05"), Some("1970-01-01-07-00")), range(4, 6));
        assert_eq!(hours(Some("1970-01-01T05:01:00Z"), Some("1970-01-01T07:00:59Z")), range(5, 6), "by their ends");
        assert_eq!(hours(Some("latest"), None), range(29, 29));
        assert_eq!(hours(None, Some("latest")), range(0, 29));
        assert_eq!(hours(Some("1970-01-03"), None), (None, None, 0));
        assert!(Period::parse(Some("soon"), None, &sets.offsets).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in ".{0,40}|[0-9TZ:+. -]{0,40}") {
            let _ = parse_time(&text, &Offsets::new([(Timestamp(5), -3600)]));
        }
    }
}
