//! Plain tables for people: aligned columns, no lines, no wider than the terminal.

use super::terminal;
use super::words::{count, visible, wrapped};
use cassmount::incomplete::Archived;
use std::borrow::Cow;
use std::fmt::Write;

/// Between two columns.
const GAP: usize = 2;
/// A column that wraps gets so much before others are left out.
const LEAST_WRAPPED: usize = 26;

/// A column of a [`Table`].
#[derive(Clone, Debug)]
pub(super) struct Column {
    name: Cow<'static, str>,
    is_right: bool,
    wraps: bool,
    /// Where the terminal is too narrow, the column with the greatest number is left out first; 0:
    /// never.
    dispensable: u8,
    /// What stands for a cell where the terminal is too narrow: tried before columns are left out.
    short: Option<fn(&str) -> String>,
}

impl Column {
    pub(super) fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), is_right: false, wraps: false, dispensable: 0, short: None }
    }

    /// Numbers, flush right.
    #[must_use]
    pub(super) fn right(self) -> Self {
        Self { is_right: true, ..self }
    }

    /// Text that may go on in the next line.
    #[must_use]
    pub(super) fn wraps(self) -> Self {
        Self { wraps: true, ..self }
    }

    /// Left out where there is no room for it; greater numbers go first.
    #[must_use]
    pub(super) fn dispensable(self, order: u8) -> Self {
        Self { dispensable: order, ..self }
    }

    /// Shortened where there is no room for it.
    #[must_use]
    pub(super) fn shortens(self, short: fn(&str) -> String) -> Self {
        Self { short: Some(short), ..self }
    }
}

/// Rows under a header.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// As the terminal has room for it.
    pub(super) fn text(&self) -> String {
        self.fitted(terminal::width())
    }

    /// In lines of at most `width` characters, if words and the columns that cannot be left out let
    /// it; `None`: of any length.
    pub(super) fn fitted(&self, width: Option<usize>) -> String {
        let natural: Vec<usize> = (0..self.columns.len()).map(|column| self.natural(column)).collect();
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let mut widths = natural.clone();
        if let Some(width) = width {
            let all = natural.iter().map(|natural| natural + GAP).sum::<usize>().saturating_sub(GAP);
            if all > width && self.columns.iter().any(|column| column.short.is_some()) {
                return self.shortened().fitted(Some(width));
            }
            let least = |column: usize| {
                if self.columns[column].wraps { natural[column].min(LEAST_WRAPPED) } else { natural[column] }
            };
            let needed = |shown: &[usize], of: &dyn Fn(usize) -> usize| {
                shown.iter().map(|column| of(*column) + GAP).sum::<usize>().saturating_sub(GAP)
            };
            while needed(&shown, &least) > width {
                let dispensable = |column: &&usize| self.columns[**column].dispensable > 0;
                let Some(first) =
                    shown.iter().filter(dispensable).max_by_key(|column| self.columns[**column].dispensable).copied()
                else {
                    break;
                };
                shown.retain(|column| *column != first);
            }
            let excess = needed(&shown, &|column| natural[column]).saturating_sub(width);
            if let Some(column) = shown.iter().rev().find(|column| self.columns[**column].wraps) {
                widths[*column] = natural[*column].saturating_sub(excess).max(least(*column));
            }
        }
        let names: Vec<String> = self.columns.iter().map(|column| column.name.to_string()).collect();
        let mut text = String::new();
        for row in std::iter::once(&names).chain(&self.rows) {
            text += &self.lines(row, &shown, &widths);
        }
        text
    }

    /// With the short forms of all cells that have one.
    fn shortened(&self) -> Self {
        let mut table = self.clone();
        for (index, column) in table.columns.iter_mut().enumerate() {
            let Some(short) = column.short.take() else { continue };
            table.rows.iter_mut().filter_map(|row| row.get_mut(index)).for_each(|cell| *cell = short(cell));
        }
        table
    }

    fn natural(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| visible(cell));
        cells.chain([visible(&self.columns[column].name)]).max().unwrap_or(0)
    }

    /// One row, in as many lines as its longest cell takes.
    fn lines(&self, row: &[String], shown: &[usize], widths: &[usize]) -> String {
        let cell = |column: &usize| {
            let text = row.get(*column).map_or("", String::as_str);
            if self.columns[*column].wraps { wrapped(text, widths[*column]) } else { vec![text.to_owned()] }
        };
        let cells: Vec<Vec<String>> = shown.iter().map(cell).collect();
        let mut text = String::new();
        for line in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let mut whole = String::new();
            for (column, cell) in shown.iter().zip(&cells) {
                let part = cell.get(line).map_or("", String::as_str);
                let padding = " ".repeat(widths[*column].saturating_sub(visible(part)));
                let (before, after) = if self.columns[*column].is_right { (&*padding, "") } else { ("", &*padding) };
                let _ = write!(whole, "{before}{part}{after}{:GAP$}", "");
            }
            text.push_str(whole.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Aligns rows under `header`; columns named in `right` are flushed right. What the terminal has no
/// room for goes on in the next line of the last column.
pub(super) fn render(header: &[&str], right: &[&str], rows: &[Vec<String>]) -> String {
    let last = header.len().saturating_sub(1);
    let column = |(index, name): (usize, &&str)| {
        let column = Column::new((*name).to_owned());
        match (right.contains(name), index == last) {
            (true, _) => column.right(),
            (false, true) => column.wraps(),
            (false, false) => column,
        }
    };
    Table { columns: header.iter().enumerate().map(column).collect(), rows: rows.to_vec() }.text()
}

/// Bytes as people read them: `3.4 MB`, decimal as storage is sold and billed.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else if value < 9.95 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// `archived: 2 objects, 96 kB; …`; of nothing, nothing.
pub(super) fn archived(archived: Archived) -> Option<String> {
    let Archived { objects, bytes } = archived;
    let objects = count(usize::try_from(objects).unwrap_or(usize::MAX), "object");
    let line = format!("archived: {objects}, {}; `cassmount thaw` asks the store for them", self::bytes(bytes));
    (!archived.is_none()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::words;

    fn table() -> Table {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        Table {
            columns: vec![
                Column::new("NAME"),
                Column::new("N").right(),
                Column::new("MORE").dispensable(1),
                Column::new("STATE").wraps(),
            ],
            rows: vec![
                row(["a", "10", "something", "ok"]),
                row(["long", "9", "else", "three days without a set, and then a full was missed"]),
            ],
        }
    }

    #[test]
    fn columns_align() {
        let expected = "\
NAME   N  MORE       STATE
a     10  something  ok
long   9  else       three days without a set, and then a full was missed
";
        assert_eq!(table().fitted(None), expected);
        assert_eq!(table().fitted(Some(140)), expected);
    }

    #[test]
    fn a_narrow_terminal_gets_less_and_no_broken_word() {
        let wrapped = "\
NAME   N  MORE       STATE
a     10  something  ok
long   9  else       three days without a set, and
                     then a full was missed
";
        assert_eq!(table().fitted(Some(52)), wrapped);
        let without = "\
NAME   N  STATE
a     10  ok
long   9  three days without a set, and
          then a full was missed
";
        assert_eq!(table().fitted(Some(40)), without);
        for width in 0..80 {
            let text = table().fitted(Some(width));
            let word = |word: &str| text.split_whitespace().any(|found| found == word);
            assert!(["without", "missed", "three"].into_iter().all(word), "{width}: {text}");
        }
    }

    #[test]
    fn cells_are_shortened_before_columns_are_left_out() {
        let directory = "shop/users-763dab90e55511f185a85b65bc0eb462".to_owned();
        let columns =
            vec![Column::new("DIRECTORY").shortens(words::short_directory), Column::new("SIZE").right().dispensable(1)];
        let table = Table { columns, rows: vec![vec![directory.clone(), "1 MB".to_owned()]] };
        assert!(table.fitted(Some(60)).contains(&directory));
        assert_eq!(table.fitted(Some(40)), "DIRECTORY             SIZE\nshop/users-763dab90*  1 MB\n");
    }

    #[test]
    fn colours_take_no_room() {
        let table = Table {
            columns: vec![Column::new("A"), Column::new("B")],
            rows: vec![vec![crate::cli::terminal::bad("x"), "1".into()], vec!["yyy".into(), "2".into()]],
        };
        let text = table.fitted(Some(10));
        let plain: String = text.replace("\x1b[1m\x1b[31m", "").replace("\x1b[0m", "");
        assert_eq!(plain, "A    B\nx    1\nyyy  2\n");
    }

    #[test]
    fn bytes_read_well() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (3_400_000, "3.4 MB"),
            (999_999, "1.0 MB"),
            (12_345_678_901, "12 GB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
