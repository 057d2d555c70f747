//! Sizes, rates and times as people write them: `64M`, `50M/s`, `90s`.

use crate::time::Timestamp;
use std::time::Duration;

/// Bytes: a number with an optional fraction and one of K, M, G, T (powers of 1024, as the units of
/// dd and systemd; `KB`, `KiB` and lower case too).
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let expected = || format!("{text:?} is not a size; expected something like 64M, 10G or 1048576");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| expected())?;
    let unit = unit.trim().to_ascii_uppercase();
    let shift = match unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit) {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(expected()),
    };
    let bytes = number * (1u64 << shift) as f64;
    // Exact up to 2^53, which is 8 PiB.
    if (0.0..9e15).contains(&bytes) { Ok(bytes as u64) } else { Err(expected()) }
}

/// Bytes per second: a size with or without `/s`. Zero is refused: nothing would ever arrive.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    match parse_size(text.trim().trim_end_matches("/s")) {
        Ok(0) => Err("a rate of 0 would stop everything".into()),
        Ok(rate) => Ok(rate),
        Err(_) => Err(format!("{text:?} is not a rate; expected something like 50M or 50M/s")),
    }
}

/// A time: a number with one of ms, s, m, h, d. A bare number is refused: of `30`, nobody knows
/// whether it means days.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let expected = || format!("{text:?} is not a time; expected something like 90s, 5m or 1h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().map_err(|_| expected())?;
    let unit = match unit.trim() {
        "" => return Err(format!("{number} of what? Write {number}s, {number}m, {number}h or {number}d")),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" | "min" => Duration::from_mins(1),
        "h" => Duration::from_hours(1),
        "d" => Duration::from_hours(24),
        _ => return Err(expected()),
    };
    unit.checked_mul(number).filter(|time| !time.is_zero()).ok_or_else(expected)
}

/// A moment of the past: RFC 3339, or a date and time by this machine's clock. Nothing relative to
/// now: a daemon that is started again would take it for another moment.
pub(super) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let expected =
        || format!("{text:?} is not a moment; expected 2026-11-21T02:50:00Z, or 2026-11-21 02:50 by the local clock");
    let moment = if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        moment
    } else {
        let civil: jiff::civil::DateTime = text.parse().map_err(|_| expected())?;
        jiff::tz::TimeZone::system().to_timestamp(civil).map_err(|_| expected())?
    };
    if moment > jiff::Timestamp::now() {
        return Err(format!("{moment} is in the future: what there will be then is not known"));
    }
    Ok(Timestamp(moment.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("64M", 64 << 20),
            ("1.5G", 3 << 29),
            ("10 GiB", 10 << 30),
            ("2tb", 2 << 40),
            ("5k", 5120),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "many", "-1", "1X", "1e99", "99999999T", "1.2.3", "M"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_and_times() {
        assert_eq!(parse_rate("50M/s"), Ok(50 << 20));
        assert!(parse_rate("0").is_err() && parse_rate("fast").is_err());
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("30").unwrap_err(), "30 of what? Write 30s, 30m, 30h or 30d");
        assert_eq!(parse_duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_hours(720)));
        assert!(parse_duration("0s").is_err() && parse_duration("-1s").is_err() && parse_duration("1y").is_err());
    }

    #[test]
    fn moments() {
        let moment = |text: &str| parse_moment(text).map(|moment| moment.to_string());
        assert_eq!(moment("2026-11-21T02:50:00Z").as_deref(), Ok("2026-11-21T02:50:00Z"));
        assert_eq!(moment("2026-11-21T04:50:00+02:00").as_deref(), Ok("2026-11-21T02:50:00Z"));
        assert!(moment("2026-11-21 02:50").is_ok() && moment("2026-11-21").is_ok(), "by the local clock");
        for wrong in ["", "yesterday", "-6h", "02:50", "9999-01-01T00:00:00Z"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
