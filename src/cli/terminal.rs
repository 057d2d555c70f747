//! What the terminal can show: how wide it is, and colours. Colours are always written;
//! [`super::output`] takes them out where nobody wants them (NO_COLOR, CLICOLOR, no terminal).

use super::words;
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};

/// The narrowest that is believed.
const NARROWEST: usize = 40;

/// Characters of a line: those of the terminal, else `COLUMNS`; `None`: the reader is no person at
/// a terminal, so lines may have any length.
pub(super) fn width() -> Option<usize> {
    let told = || std::env::var("COLUMNS").ok()?.parse::<usize>().ok().filter(|columns| *columns > 0);
    let own = || terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    own().filter(|columns| *columns > 0).or_else(told).map(|columns| columns.max(NARROWEST))
}

/// Characters of a line of what is told on standard error; `None` where that is no terminal.
pub(super) fn error_width() -> Option<usize> {
    let own = terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| usize::from(width.0));
    own.filter(|columns| *columns > 0).map(|columns| columns.max(NARROWEST))
}

/// Tells a person something on standard error, broken between words where that is a terminal.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::terminal::tell(&format!($($words)*)) };
}
pub(in crate::cli) use say;

/// As [`say!`].
pub(in crate::cli) fn tell(text: &str) {
    let text = error_width().map_or_else(|| text.to_owned(), |width| words::fitted(text, width));
    // Who closed standard error does not want to know.
    drop(writeln!(io::stderr(), "{text}"));
}

const fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(anstyle::Color::Ansi(colour)))
}

fn styled(style: Style, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{style}{text}{style:#}") }
}

/// As it should be.
pub(super) fn good(text: &str) -> String {
    styled(colour(AnsiColor::Green), text)
}

/// Something to look at.
pub(super) fn odd(text: &str) -> String {
    styled(colour(AnsiColor::Yellow), text)
}

/// Something is lost.
pub(super) fn bad(text: &str) -> String {
    styled(colour(AnsiColor::Red).bold(), text)
}

/// What explains the rest.
pub(super) fn dim(text: &str) -> String {
    styled(Style::new().dimmed(), text)
}

/// What comes below.
pub(super) fn heading(text: &str) -> String {
    styled(Style::new().bold(), text)
}
