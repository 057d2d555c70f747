//! Directories whose names say that what they hold is still being made, or was broken off: tools and
//! scripts that copy give the final name in the end.

/// What the name begins or ends with, in small letters; anything but a letter or digit stands
/// between that and the rest.
const WORDS: [&str; 10] = [
    "in-progress",
    "in_progress",
    "inprogress",
    "incomplete",
    "not-complete",
    "unfinished",
    "partial",
    "temp",
    "tmp",
    "uploading",
];

/// What it ends with only: `part-1` is whole.
const ENDS: [&str; 1] = ["part"];

/// The name without what says so; `None` for a name that does not. All of it may say so.
pub(super) fn bare_name(name: &str) -> Option<&str> {
    let lower = name.to_ascii_lowercase();
    let is_end = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    let at_end = |word: &&str| lower.strip_suffix(*word).filter(|rest| is_end(rest.chars().next_back()));
    let at_start = |word: &&str| lower.strip_prefix(*word).filter(|rest| is_end(rest.chars().next()));
    let range = if let Some(rest) = WORDS.iter().chain(&ENDS).find_map(at_end) {
        0..rest.len()
    } else {
        lower.len() - WORDS.iter().find_map(at_start)?.len()..lower.len()
    };
    Some(name[range].trim_matches(|c: char| !c.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_what_is_still_being_made() {
        for name in [
            "20261121.partial",
            "20261121.tmp",
            "in-progress_20261121",
            ".20261121.PART",
            "tmp-20261121",
            "20261121_incomplete",
        ] {
            assert_eq!(bare_name(name), Some("20261121"), "{name}");
        }
        assert_eq!(bare_name("partial"), Some(""));
        for name in ["20261121", "template", "20261121-spart", "attempt", "part-1", "partner-1", "tmpfs", "é"] {
            assert_eq!(bare_name(name), None, "{name}");
        }
    }
}
