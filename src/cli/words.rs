//! Numbers, times and texts as people read them.

use cassmount::catalog::LocalTime;
use cassmount::time::Timestamp;
pub(super) use cassmount::time::{now, span};
use cassmount::{Error, Kind};

/// `1 table`, `2 tables`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The verdict on what was taken although so many things are missing from it.
pub(super) fn incomplete(lacks: usize) -> Error {
    Error::new(Kind::Corrupt, format!("the restore point is incomplete: it lacks {}", count(lacks, "thing")))
}

/// Names in one line.
const NAMED: usize = 5;

/// `a, b, c`; of many the first and how many more there are.
pub(super) fn some(names: &[String]) -> String {
    let mut some: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let more = format!("{} more", names.len().saturating_sub(NAMED));
    if names.len() > NAMED {
        some.push(&more);
    }
    some.join(", ")
}

/// Digits of an id that tell one incarnation from another to a person.
pub(super) const ID_DIGITS: usize = 8;

/// `shop/users-763dab90*` for a table's directory with its whole id: a shell knows what that means.
pub(super) fn short_directory(directory: &str) -> String {
    let is_id = |id: &str| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let short = |name: &str| match name.rsplit_once('-') {
        Some((table, id)) if is_id(id) => format!("{table}-{}*", &id[..ID_DIGITS]),
        _ => name.to_owned(),
    };
    directory.split('/').map(short).collect::<Vec<_>>().join("/")
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A time span in seconds, short: `5m`, `6h`, `12d`, `3y`.
pub(super) fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds if seconds < 2 * HOUR => format!("{}m", seconds / MINUTE),
        seconds if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        seconds if seconds < 1000 * DAY => format!("{}d", seconds / DAY),
        seconds => format!("{}y", seconds / (365 * DAY)),
    }
}

/// `21 Nov 02:52`.
pub(super) fn date_and_time(local: LocalTime) -> String {
    formatted(local, "%-d %b %H:%M")
}

/// `2026-11-28 20:03Z`.
pub(super) fn minute(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(..16).map_or_else(|| text.clone(), |minute| format!("{}Z", minute.replace('T', " ")))
}

/// `21 Nov`.
pub(super) fn date(local: LocalTime) -> String {
    formatted(local, "%-d %b")
}

fn formatted(local: LocalTime, format: &str) -> String {
    local.civil().map_or_else(|| local.0.to_string(), |civil| civil.strftime(format).to_string())
}

/// `+00`, `-03:30`.
pub(super) fn zone(utc_offset: i32) -> String {
    let (sign, seconds) = (if utc_offset < 0 { '-' } else { '+' }, utc_offset.unsigned_abs());
    let (hours, minutes) = (seconds / 3600, seconds % 3600 / 60);
    if minutes == 0 { format!("{sign}{hours:02}") } else { format!("{sign}{hours:02}:{minutes:02}") }
}

/// Characters that take room: all but those of colours.
pub(super) fn visible(text: &str) -> usize {
    let mut count = 0;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char == '\x1b' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            count += 1;
        }
    }
    count
}

/// Lines of at most `width` characters, broken between words; a line keeps the spaces between its
/// own. A longer word has a line of its own.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    if visible(text) <= width {
        return vec![text.to_owned()];
    }
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut spaces = 0;
    for word in text.split(' ') {
        if word.is_empty() {
            spaces += 1;
            continue;
        }
        if !line.is_empty() && visible(&line) + spaces + visible(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.extend(std::iter::repeat_n(' ', spaces));
        }
        line.push_str(word);
        spaces = 1;
    }
    lines.push(line);
    lines
}

/// A text whose lines are too long, with these broken between words and the rest of each set in.
pub(super) fn fitted(text: &str, width: usize) -> String {
    let mut fitted = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (content, end) = line.strip_suffix('\n').map_or((line, ""), |content| (content, "\n"));
        if visible(content) <= width {
            fitted.push_str(line);
            continue;
        }
        let indent = content.len() - content.trim_start_matches(' ').len();
        let room = width.saturating_sub(indent + 2).max(width / 2);
        let parts = wrapped(&content[indent..], room);
        fitted.push_str(&" ".repeat(indent));
        fitted.push_str(&parts.join(&format!("\n{}", " ".repeat(indent + 2))));
        fitted.push_str(end);
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well() {
        for (seconds, short, long) in [
            (0, "0m", "0 seconds"),
            (59, "0m", "59 seconds"),
            (60, "1m", "1 minute"),
            (6 * HOUR, "6h", "6 hours"),
            (30 * HOUR, "30h", "1 day"),
            (3 * DAY + 5, "3d", "3 days"),
            (2000 * DAY, "5y", "2000 days"),
        ] {
            assert_eq!((age(seconds), span(seconds)), (short.to_owned(), long.to_owned()));
        }
        let local = LocalTime::new(2026, 11, 1, 2, 52, 0).unwrap();
        assert_eq!((date_and_time(local), date(local)), ("1 Nov 02:52".into(), "1 Nov".into()));
        assert_eq!([0, 20_700, -12_600].map(zone), ["+00", "+05:45", "-03:30"]);
        assert_eq!((count(1, "table"), count(0, "table")), ("1 table".into(), "0 tables".into()));
    }

    #[test]
    fn long_lines_break_between_words() {
        let text = "short\n  one two three four five six seven\nend";
        assert_eq!(fitted(text, 20), "short\n  one two three\n    four five six\n    seven\nend");
        assert_eq!(fitted(text, 100), text);
        assert_eq!(fitted("name      5 kB  and more", 16), "name      5 kB\n  and more");
        assert_eq!(fitted("one two three", 9), "one two\n  three", "no line is added at the end");
        assert_eq!(wrapped("a verylongword b", 5), ["a", "verylongword", "b"]);
        assert_eq!(visible("\x1b[1m\x1b[31mred\x1b[0m"), 3);
    }
}
