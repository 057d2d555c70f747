//! A host's days as a row of squares.

use super::html::Text;
use cassmount::catalog::cluster::{ClusterView, Day, days, first_and_last_day};
use cassmount::catalog::{BackupSet, Host, HostSets};
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
const DAY: i64 = 24 * 3600;

impl Days {
    pub(super) fn of(view: &ClusterView) -> Self {
        let spans: Vec<(i64, i64)> = view.hosts.iter().filter_map(|host| first_and_last_day(&host.sets)).collect();
        let last = spans.iter().map(|(_, last)| *last).max().unwrap_or(0);
        let first = spans.iter().map(|(first, _)| *first).min().unwrap_or(last).max(last + 1 - MOST_DAYS);
        let count = usize::try_from(last + 1 - first).unwrap_or(1);
        Self { first, count, wide: (ROOM / count).clamp(2, 14) }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Which of the days a set was started on, by its host's clock.
    pub(super) fn index(&self, set: &BackupSet) -> Option<usize> {
        usize::try_from(set.local_start().0.div_euclid(DAY) - self.first).ok()
    }

    /// What a host made on each day.
    pub(super) fn row(&self, sets: &HostSets) -> String {
        let signs: String = days(sets, self.first, self.count).iter().map(sign).collect();
        draw(self, &sets.host, "made", &signs, |sign| match sign {
            'F' => Some("full"),
            '!' => Some("lack"),
            '+' | '0'..='9' => Some("incr"),
            _ => None,
        })
    }

    /// Dates above the rows.
    pub(super) fn ruler(&self) -> String {
        let wide = self.wide * self.count;
        let mut svg = format!("<svg width=\"{wide}\" height=\"12\" aria-hidden=\"true\">");
        let step = (50 / self.wide).max(1).next_multiple_of(7);
        for day in (0..self.count).step_by(step) {
            let date = crate::cli::words::date(cassmount::catalog::LocalTime((self.first + day as i64) * DAY));
            let _ = write!(svg, "<text x=\"{}\" y=\"9\">{date}</text>", day * self.wide);
        }
        svg + "</svg>"
    }
}

/// A row of days, a letter each. One path for each style, so that 200 hosts stay quick to draw.
/// What a day holds, the page's script tells from the letters, by what is `told` of.
pub(super) fn draw(
    days: &Days,
    host: &Host,
    told: &str,
    signs: &str,
    style: impl Fn(char) -> Option<&'static str>,
) -> String {
    let wide = days.wide * days.count;
    let mut svg = format!(
        "<svg width=\"{wide}\" height=\"{HIGH}\" role=\"img\" aria-label=\"{signs}\" data-days=\"{signs}\" data-first=\"{}\" \
         data-wide=\"{}\" data-host=\"{}\" data-told=\"{told}\"><rect class=\"none\" width=\"{wide}\" height=\"{HIGH}\"/>",
        days.first,
        days.wide,
        Text(host)
    );
    let mut paths: Vec<(&'static str, String)> = Vec::new();
    let styles: Vec<Option<&'static str>> = signs.chars().map(style).collect();
    let mut at = 0;
    while at < styles.len() {
        let length = styles[at..].iter().take_while(|style| **style == styles[at]).count();
        if let Some(style) = styles[at] {
            let (x, wide) = (at * days.wide, length * days.wide);
            let index = paths.iter().position(|(known, _)| *known == style).unwrap_or_else(|| {
                paths.push((style, String::new()));
                paths.len() - 1
            });
            let _ = write!(paths[index].1, "M{x} 0h{wide}v{HIGH}h-{wide}z");
        }
        at += length;
    }
    for (style, path) in paths {
        let _ = write!(svg, "<path class=\"{style}\" d=\"{path}\"/>");
    }
    svg + "</svg>"
}

fn sign(day: &Day) -> char {
    match day {
        Day { lacking: true, .. } => '!',
        Day { fulls: 1.., .. } => 'F',
        Day { incrementals: 0, .. } => '.',
        Day { incrementals, .. } => char::from_digit(*incrementals, 10).unwrap_or('+'),
    }
}
