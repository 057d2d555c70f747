//! A host's days as a row of squares.

use super::html::Text;
use cassmount::catalog::HostSets;
use cassmount::catalog::cluster::{ClusterView, Day, days, first_and_last_day};
use std::fmt::Write;

/// The days that are drawn, and how wide a day is.
pub(super) struct Days {
    first: i64,
    count: usize,
    wide: usize,
}

/// Days that are drawn at most.
const MOST_DAYS: i64 = 400;
const HIGH: usize = 12;
/// Of all days, pixels.
const ROOM: usize = 640;

impl Days {
    pub(super) fn of(view: &ClusterView) -> Self {
        let spans: Vec<(i64, i64)> = view.hosts.iter().filter_map(|host| first_and_last_day(&host.sets)).collect();
        let last = spans.iter().map(|(_, last)| *last).max().unwrap_or(0);
        let first = spans.iter().map(|(first, _)| *first).min().unwrap_or(last).max(last + 1 - MOST_DAYS);
        let count = usize::try_from(last + 1 - first).unwrap_or(1);
        Self { first, count, wide: (ROOM / count).clamp(2, 14) }
    }

    /// One path for each kind of day, so that 200 hosts stay quick to draw. What a day holds, the
    /// page's script tells from `data-days`.
    pub(super) fn row(&self, sets: &HostSets) -> String {
        let days = days(sets, self.first, self.count);
        let signs: String = days.iter().map(sign).collect();
        let wide = self.wide * self.count;
        let mut svg = format!(
            "<svg width=\"{wide}\" height=\"{HIGH}\" role=\"img\" aria-label=\"{signs}\" data-days=\"{signs}\" data-first=\"{}\" \
             data-wide=\"{}\" data-host=\"{}\"><rect class=\"none\" width=\"{wide}\" height=\"{HIGH}\"/>",
            self.first,
            self.wide,
            Text(&sets.host)
        );
        for (class, is_of) in CLASSES {
            let mut path = String::new();
            let mut at = 0;
            while at < days.len() {
                let length = signs[at..].chars().take_while(|sign| is_of(*sign)).count();
                if length > 0 {
                    let _ =
                        write!(path, "M{} 0h{}v{HIGH}h-{}z", at * self.wide, length * self.wide, length * self.wide);
                }
                at += length.max(1);
            }
            if !path.is_empty() {
                let _ = write!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
            }
        }
        svg + "</svg>"
    }

    /// Dates above the rows.
    pub(super) fn ruler(&self) -> String {
        let wide = self.wide * self.count;
        let mut svg = format!("<svg width=\"{wide}\" height=\"12\" aria-hidden=\"true\">");
        let step = (50 / self.wide).max(1).next_multiple_of(7);
        for day in (0..self.count).step_by(step) {
            let date = crate::cli::words::date(cassmount::catalog::LocalTime((self.first + day as i64) * 24 * 3600));
            let _ = write!(svg, "<text x=\"{}\" y=\"9\">{date}</text>", day * self.wide);
        }
        svg + "</svg>"
    }
}

type IsOf = fn(char) -> bool;

const CLASSES: [(&str, IsOf); 3] =
    [("full", |sign| sign == 'F'), ("incr", |sign| sign == '+' || sign.is_ascii_digit()), ("lack", |sign| sign == '!')];

fn sign(day: &Day) -> char {
    match day {
        Day { lacking: true, .. } => '!',
        Day { fulls: 1.., .. } => 'F',
        Day { incrementals: 0, .. } => '.',
        Day { incrementals, .. } => char::from_digit(*incrementals, 10).unwrap_or('+'),
    }
}
