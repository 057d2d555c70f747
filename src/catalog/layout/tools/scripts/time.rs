//! When a set was made. Its directory's name says the day, or the second, by the host's clock; when
//! its archives were written, the store says, unless they were copied since. Pure.

use super::names::Date;
use crate::catalog::SetKind;
use crate::catalog::local::LocalTime;
use crate::time::Timestamp;

const HOUR_US: i64 = 3_600_000_000;

/// How far east and west of Greenwich clocks are.
const EAST_US: i64 = 14 * HOUR_US;
const WEST_US: i64 = 12 * HOUR_US;

/// Longest run believed.
const LONGEST_RUN_US: i64 = 48 * HOUR_US;

const DAY_US: i64 = 24 * HOUR_US;

/// Start and end of a set's run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SetTimes {
    /// By the host's clock; where the name tells the day only, in UTC.
    pub(super) started: LocalTime,
    pub(super) finished: Timestamp,
}

/// `written`: when the first and the last of its archives were.
pub(super) fn of_set(date: Date, kind: SetKind, written: Option<(Timestamp, Timestamp)>) -> SetTimes {
    let named = date.local.at_offset(0);
    let earliest = named.0 - EAST_US;
    let latest = named.0 + WEST_US + LONGEST_RUN_US + if date.is_day { DAY_US } else { 0 };
    let believed = |time: &Timestamp| (earliest..=latest).contains(&time.0);
    match written.filter(|(first, last)| believed(first) && believed(last)) {
        Some((first, last)) if date.is_day => SetTimes { started: LocalTime::of(first, 0), finished: last },
        Some((_, last)) => SetTimes { started: date.local, finished: last },
        // Copied since. Of a day's fulls and incrementals the latter are taken for the later: what
        // they hold besides does no harm, what they might lack would.
        None if date.is_day && kind == SetKind::Incremental => {
            SetTimes { started: date.local, finished: Timestamp(named.0 + DAY_US - 1_000_000) }
        }
        None => SetTimes { started: date.local, finished: named },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    fn times(name: &str, kind: SetKind, written: (&str, &str)) -> (String, String) {
        let found = of_set(Date::parse(name).unwrap(), kind, Some((t(written.0), t(written.1))));
        (found.started.at_offset(0).to_string(), found.finished.to_string())
    }

    fn pair(a: &str, b: &str) -> (String, String) {
        (a.to_owned(), b.to_owned())
    }

    #[test]
    fn the_store_knows_better_unless_it_holds_copies() {
        let night = ("2026-11-21T01:00:10Z", "2026-11-21T03:30:00Z");
        assert_eq!(times("20261121", SetKind::Full, night), pair("2026-11-21T01:00:10Z", "2026-11-21T03:30:00Z"));
        // A host in New York: its clock shows 5 hours less.
        assert_eq!(
            times("20261120-200007", SetKind::Full, night),
            pair("2026-11-20T20:00:07Z", "2026-11-21T03:30:00Z")
        );
        let copied = ("2027-01-01T00:00:00Z", "2027-01-01T00:10:00Z");
        assert_eq!(times("20261121", SetKind::Full, copied), pair("2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z"));
        assert_eq!(
            times("20261121", SetKind::Incremental, copied),
            pair("2026-11-21T00:00:00Z", "2026-11-21T23:59:59Z")
        );
        assert_eq!(
            times("20261121-024507", SetKind::Full, copied),
            pair("2026-11-21T02:45:07Z", "2026-11-21T02:45:07Z")
        );
    }
}
