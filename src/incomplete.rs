//! The file in which a mount says what a restore point lacks: its name, and lines that programs can
//! read.

use crate::cassandra::TableName;
use serde::Serialize;
use std::fmt;
use std::iter::Sum;
use std::ops::AddAssign;

/// Lies beside the restore point's schema.cql, only where something is missing.
pub const FILE_NAME: &str = "INCOMPLETE.txt";
/// Stands for the table where it may be any.
const ANY_TABLE: &str = "*";

/// `[<keyspace>.<table>] <sentence>`; without a table, rows of any table may be missing.
pub fn line(table: Option<&TableName>, sentence: &str) -> String {
    let table = table.map_or(ANY_TABLE.to_owned(), ToString::to_string);
    format!("[{table}] {sentence}")
}

/// The lines in such a text: the table (`None`: any) and the sentence.
pub fn parse(text: &str) -> impl Iterator<Item = (Option<&str>, &str)> {
    text.lines().filter_map(|line| {
        let (table, sentence) = line.strip_prefix('[')?.split_once("] ")?;
        Some(((table != ANY_TABLE).then_some(table), sentence))
    })
}

/// Objects in an archive tier of the store (Glacier, Azure Archive), which cannot be read before they
/// have been thawed; each counted once. Of a table whose files lie there by themselves, they
/// are one, of all their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Archived {
    pub objects: u64,
    pub bytes: u64,
}

impl Archived {
    /// One object, if it is there.
    pub fn of(is_archived: bool, bytes: u64) -> Self {
        if is_archived { Self { objects: 1, bytes } } else { Self::default() }
    }

    pub fn is_none(&self) -> bool {
        self.objects == 0
    }

    /// The line that says so in a text for programs.
    pub fn line(&self) -> String {
        format!("{LINE}{} {} bytes", self.objects, self.bytes)
    }

    /// What such a line in a text says.
    pub fn parse(text: &str) -> Self {
        let numbers = text.lines().find_map(|line| {
            let (objects, bytes) = line.strip_prefix(LINE)?.strip_suffix(" bytes")?.split_once(' ')?;
            Some(Self { objects: objects.parse().ok()?, bytes: bytes.parse().ok()? })
        });
        numbers.unwrap_or_default()
    }
}

const LINE: &str = "archived objects of all tables: ";

impl AddAssign for Archived {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl Sum for Archived {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let mut sum = Self::default();
        all.for_each(|one| sum += one);
        sum
    }
}

/// For messages of parts that format no sizes.
impl fmt::Display for Archived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { objects, bytes } = self;
        let s = if *objects == 1 { "" } else { "s" };
        write!(
            f,
            "archived, of all tables: {objects} object{s} of {bytes} bytes; `cassmount thaw` asks the store for them"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_back() {
        let lines = [line(None, "a is left out"), line(Some(&TableName::new("shop", "users")), "b lacks it")];
        let text = format!("x is incomplete ([*]: of any table):\n\n{}\n\nend\n", lines.join("\n"));
        assert_eq!(parse(&text).collect::<Vec<_>>(), [(None, "a is left out"), (Some("shop.users"), "b lacks it")]);
    }

    #[test]
    fn what_a_text_says_is_read_back() {
        let all: Archived = [Archived::of(true, 5), Archived::of(false, 9), Archived::of(true, 7)].into_iter().sum();
        assert_eq!(all, Archived { objects: 2, bytes: 12 });
        assert_eq!(Archived::parse(&format!("a\n\n{}\nb", all.line())), all);
        assert!(Archived::parse("archived objects of all tables: x").is_none());
    }
}
