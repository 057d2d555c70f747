//! What a table holds, as a number of rows and a hash that the sample's `truth/` files can be
//! compared with.
//!
//! The recipe, found by matching those files: one JSON object a row, keys sorted, `", "` and `": "`
//! between; a null column stays `null`; every other scalar is text (`"7"`, `"True"`, `"30.5"`); a
//! map or a user type is an object, a list, set or tuple an array, of scalars as text. The rows,
//! sorted and joined with `\n`, through SHA-256.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Rows of a table and their hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    pub rows: usize,
    pub sha256: String,
}

impl Truth {
    /// From rows as `SELECT JSON *` gives them.
    ///
    /// # Panics
    /// On text that is not JSON.
    pub fn of(rows: &[String]) -> Self {
        let mut lines: Vec<String> = rows.iter().map(|row| canonical(row)).collect();
        lines.sort();
        Self { rows: lines.len(), sha256: hex(&Sha256::digest(lines.join("\n"))) }
    }

    /// From the object that stands for a table in a truth file.
    pub fn from_file(table: &Value) -> Option<Self> {
        let rows = table.get("rows")?.as_u64()?;
        Some(Self { rows: rows as usize, sha256: table.get("sha256")?.as_str()?.to_owned() })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn canonical(row: &str) -> String {
    Scanner { rest: row }.value(true)
}

/// Rewrites JSON value by value. Not through [`Value`]: it would read a decimal of 28 digits as a
/// float.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// The next value, rewritten; `row` says that it is the row itself, whose fields alone may stay
    /// null.
    fn value(&mut self, row: bool) -> String {
        self.rest = self.rest.trim_start();
        match self.rest.as_bytes().first() {
            Some(b'{') => {
                let mut fields = Vec::new();
                self.list('}', |scanner| {
                    let name = scanner.value(false);
                    scanner.skip(':');
                    let null = row && scanner.rest.starts_with("null");
                    let value = if null { scanner.scalar().to_owned() } else { scanner.value(false) };
                    fields.push(format!("{name}: {value}"));
                });
                fields.sort();
                format!("{{{}}}", fields.join(", "))
            }
            Some(b'[') => {
                let mut elements = Vec::new();
                self.list(']', |scanner| elements.push(scanner.value(false)));
                format!("[{}]", elements.join(", "))
            }
            Some(b'"') => self.scalar().to_owned(),
            _ => {
                // As Python, which wrote the truth, prints them.
                let word = match self.scalar() {
                    "true" => "True",
                    "false" => "False",
                    "null" => "None",
                    number => number,
                };
                format!("\"{word}\"")
            }
        }
    }

    /// The elements between an opening bracket, which comes next, and `close`.
    fn list(&mut self, close: char, mut element: impl FnMut(&mut Self)) {
        self.rest = &self.rest[1..];
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with(close) {
                self.rest = &self.rest[1..];
                return;
            }
            element(self);
            self.rest = self.rest.trim_start();
            if self.rest.starts_with(',') {
                self.rest = &self.rest[1..];
            }
        }
    }

    fn skip(&mut self, wanted: char) {
        let after = self.rest.trim_start().strip_prefix(wanted).expect("JSON of Cassandra");
        self.rest = after.trim_start();
    }

    /// A string with its quotes, a number or a word, as it stands.
    fn scalar(&mut self) -> &'a str {
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<Value>();
        assert!(matches!(values.next(), Some(Ok(_))), "not JSON: {}", self.rest);
        let (scalar, rest) = self.rest.split_at(values.byte_offset());
        self.rest = rest;
        scalar
    }
}

#[test]
fn rows_are_rewritten_by_the_recipe() {
    let row =
        r#"{"id": 7, "vip": true, "note": null, "total": 1.10, "tags": ["b"], "m": {"z": 1, "a": null}, "s": "x\"}"}"#;
    let line = r#"{"id": "7", "m": {"a": "None", "z": "1"}, "note": null, "s": "x\"}", "tags": ["b"], "total": "1.10", "vip": "True"}"#;
    assert_eq!(canonical(row), line);
    assert_eq!(Truth::of(&[]).sha256, hex(&Sha256::digest("")));
}
