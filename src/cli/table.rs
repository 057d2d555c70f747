//! Plain tables for people: aligned columns, no lines.

use std::fmt::Write;

/// Aligns rows under `header`; columns named in `right` are flushed right.
pub(super) fn render(header: &[&str], right: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (column, cell) in cells.enumerate() {
            let padding = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            let (before, after) =
                if right.contains(&header[column]) { (padding.as_str(), "") } else { ("", padding.as_str()) };
            let _ = write!(text, "{before}{cell}{after}  ");
        }
        format!("{}\n", text.trim_end())
    };
    let mut table = line(&mut header.iter().copied());
    for row in rows {
        table.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    table
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let rows = [vec!["a".into(), "10".into()], vec!["long".into(), "9".into()]];
        assert_eq!(render(&["NAME", "N"], &["N"], &rows), "NAME   N\na     10\nlong   9\n");
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
