//! Names that people and file managers give to a copy, or to what they put aside: `x.bak`,
//! `x (copy)`, `x~`. And those of a host's directory whose copy was not finished. Pure.

use crate::catalog::unfinished;

/// What is put behind a name, in small letters; anything but a letter or digit stands before it.
const WORDS: [&str; 10] = ["bak", "bkp", "old", "orig", "original", "copy", "save", "saved", "prev", "previous"];
/// What is put before it.
const BEFORE: [&str; 2] = ["copy of ", "copy_of_"];

/// The name of what a copy was made of, or of what was put aside; `None` for any other name.
pub(super) fn original(name: &str) -> Option<&str> {
    let lower = name.to_ascii_lowercase();
    let before = BEFORE.iter().find_map(|word| lower.strip_prefix(word));
    let at_start = before.map(|rest| &name[name.len() - rest.len()..]);
    at_start.or_else(|| without_mark(name)).or_else(|| without_word(name)).filter(|rest| !rest.is_empty())
}

/// The name that it was copied from, or is to get when its copy is finished; `None` where it may be
/// the name of a host, or of any other thing, as `node-old` is.
pub(super) fn original_of_any(name: &str) -> Option<&str> {
    let is_mark = |rest: &&str| name[rest.len()..].starts_with(['.', '~', ' ', '(']);
    let copied = original(name).filter(|rest| !name.starts_with(*rest) || is_mark(rest));
    copied.or_else(|| unfinished::bare_name(name).filter(|rest| name.starts_with(*rest) && is_mark(rest)))
}

/// The key of the archive whose copy one is by its name: `d/x.tar.gz` of `d/x (1).tar.gz`.
pub(in crate::catalog) fn original_archive(key: &str) -> Option<String> {
    let (directory, file) = key.split_at(key.rfind('/').map_or(0, |at| at + 1));
    let at = file.rfind(".tar").or_else(|| file.rfind(".tgz")).filter(|_| !file.starts_with("._"))?;
    let stem = &file[..at];
    original(stem).map(|bare| format!("{directory}{bare}{}", &file[stem.len()..]))
}

/// `x~`, `x.~1~`, `x (1)`, `x (another copy)`.
fn without_mark(name: &str) -> Option<&str> {
    if let Some(rest) = name.strip_suffix('~') {
        return Some(rest.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(".~"))
            .filter(|bare| *bare != rest && rest[bare.len()..].starts_with(".~"))
            .or(Some(rest));
    }
    let (rest, mark) = name.strip_suffix(')')?.rsplit_once('(')?;
    let is_number = !mark.is_empty() && mark.bytes().all(|b| b.is_ascii_digit());
    let rest = rest.trim_end();
    (is_number || mark.to_ascii_lowercase().contains("copy")).then(|| without_word(rest).unwrap_or(rest))
}

/// `x.bak`, `x-old2`, `x - Copy`.
fn without_word(name: &str) -> Option<&str> {
    let numbered = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let lower = numbered.to_ascii_lowercase();
    let rest = WORDS.iter().find_map(|word| lower.strip_suffix(word))?;
    let bare = rest.trim_end_matches([' ', '.', '-', '_']);
    (bare.len() < rest.len()).then(|| &name[..bare.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_archives() {
        for copy in ["x (1).tar.gz", "x.bak.tar.gz", "copy of x.tar.gz", "x - Copy.tar.gz"] {
            assert_eq!(original_archive(&format!("d (1)/{copy}")).as_deref(), Some("d (1)/x.tar.gz"), "{copy}");
        }
        assert_eq!(original_archive("x (1).tar.gz.enc").as_deref(), Some("x.tar.gz.enc"));
        for other in ["x.tar.gz", "d (1)/x.tar.gz", "x (1).txt", "(1).tar.gz"] {
            assert_eq!(original_archive(other), None, "{other}");
        }
    }

    #[test]
    fn names_of_copies() {
        for name in [
            "20261121.bak",
            "20261121.BAK",
            "20261121-old",
            "20261121.old2",
            "20261121_orig",
            "20261121~",
            "20261121.~1~",
            "20261121 (1)",
            "20261121(2)",
            "20261121 (copy)",
            "20261121 (another copy)",
            "20261121 (3rd copy)",
            "20261121-copy",
            "20261121 - Copy",
            "20261121 - Copy (2)",
            "Copy of 20261121",
        ] {
            assert_eq!(original(name), Some("20261121"), "{name}");
        }
        for name in ["20261121", "20261121-0245", "20261121.1", "threshold", "gold", "bak", "~", "20261121-weekly", "é"]
        {
            assert_eq!(original(name), None, "{name}");
        }
    }

    #[test]
    fn hosts_may_be_called_old() {
        for name in ["node1.bak", "node1.partial", "node1.tmp", "node1 (1)", "node1~", "copy of node1"] {
            assert_eq!(original_of_any(name), Some("node1"), "{name}");
        }
        for name in ["node1-old", "node1_copy", "tmp-1", "node-temp", "node1", "10.0.0.1", "node.old.example.org"] {
            assert_eq!(original_of_any(name), None, "{name}");
        }
    }
}
