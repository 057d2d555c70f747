//! The file in which a mount says what a restore point lacks: its name, and lines that programs can
//! read.

use crate::cassandra::TableName;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_back() {
        let lines = [line(None, "a is left out"), line(Some(&TableName::new("shop", "users")), "b lacks it")];
        let text = format!("x is incomplete ([*]: of any table):\n\n{}\n\nend\n", lines.join("\n"));
        assert_eq!(parse(&text).collect::<Vec<_>>(), [(None, "a is left out"), (Some("shop.users"), "b lacks it")]);
    }
}
