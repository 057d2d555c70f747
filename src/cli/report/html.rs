//! Text in HTML.

use std::fmt::{self, Display, Write};

/// Text that may hold anything.
pub(super) struct Text<T>(pub(super) T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.to_string().chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                char if char.is_control() && char != '\n' => f.write_char('\u{fffd}')?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// What the colours mean: classes, and a word for each, which stay on one line.
pub(super) fn legend(entries: &[(&str, &str)]) -> String {
    let entry = |(class, word): &(&str, &str)| {
        format!("<span class=\"entry\"><span class=\"key {class}\"></span>{}</span> ", Text(word))
    };
    entries.iter().map(entry).collect()
}

/// How what was never verified is filled. Drawn once, and of no size: only others show it.
pub(super) const HATCH: &str = "<svg width=\"0\" height=\"0\" aria-hidden=\"true\" style=\"position:absolute\"><pattern id=\"never\" \
     width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><path class=\"hatch\" d=\"M1 0v4\" \
     stroke-width=\"1.4\" opacity=\".85\"/></pattern></svg>\n";

pub(super) const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2024; --faint: #6b7280; --line: #e2e5e9;
  --full: #14532d; --incr: #4ade80; --none: #e5e7eb; --bad: #dc2626; --odd: #b45309; --base: #1d4ed8; --next: #93c5fd; --hatch: #fff; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e6e8ea; --faint: #9aa2ab; --line: #2b3036;
  --full: #86efac; --incr: #15803d; --none: #2b3036; --bad: #f87171; --odd: #fbbf24; --base: #93c5fd; --next: #1e40af; --hatch: #14171a; } }
body { background: var(--paper); color: var(--ink); font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; } h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .2rem 0; } .faint { color: var(--faint); } .bad { color: var(--bad); } .odd { color: var(--odd); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .1rem .9rem .1rem 0; vertical-align: middle; white-space: nowrap; }
td.state { white-space: normal; min-width: 14rem; } th { color: var(--faint); font-weight: 500; border-bottom: 1px solid var(--line); } td.number { text-align: right; }
svg { display: block; } svg text { fill: var(--faint); font: 10px system-ui, sans-serif; }
.full { fill: var(--full); } .incr { fill: var(--incr); } .none { fill: var(--none); } .lack { fill: var(--bad); }
.base { fill: var(--base); } .next { fill: var(--next); } .deep { fill: var(--full); } .glance { fill: var(--incr); } .part { fill: var(--odd); }
.never { fill: url(#never); } .hatch { stroke: var(--hatch); } .life { fill: var(--none); } .event { fill: var(--ink); } .end { fill: var(--bad); } .box { stroke: var(--paper); }
.gap { fill: none; stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 2 1; pointer-events: all; } .key.gap { border: 1.5px dashed var(--bad); box-sizing: border-box; }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 0; vertical-align: -.05em; }
.entry { white-space: nowrap; margin-right: .8em; }
.key.full { background: var(--full); } .key.incr { background: var(--incr); } .key.none { background: var(--none); } .key.lack { background: var(--bad); }
.key.deep { background: var(--full); } .key.glance { background: var(--incr); } .key.part { background: var(--odd); }
.key.never { background: repeating-linear-gradient(45deg, var(--faint) 0 2px, var(--none) 2px 4px); } .key.event { background: var(--ink); } .key.end { background: var(--bad); } .key.life { background: var(--none); }
.key.base { background: var(--base); } .key.next { background: var(--next); }
#tip { position: fixed; display: none; pointer-events: none; box-sizing: border-box; max-width: min(44rem, calc(100vw - 16px)); background: var(--ink); color: var(--paper); padding: .2rem .5rem; border-radius: .25rem; }
@media print { body { margin: 0; max-width: none; font-size: 10px; } .scroll { overflow: visible; } tr, svg { break-inside: avoid; }
  svg { max-width: 100%; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
";

/// Shows what is under the pointer: a day of a row of days, or a box.
pub(super) const SCRIPT: &str = "
const tip = document.getElementById('tip');
document.addEventListener('mousemove', event => {
  const days = event.target.closest('svg[data-days]'), box = event.target.closest('[data-tip]');
  let text = '';
  if (box) text = box.dataset.tip;
  else if (days) {
    const at = Math.floor((event.clientX - days.getBoundingClientRect().left) / Number(days.dataset.wide));
    const sign = days.dataset.days[at];
    if (sign) {
      const date = new Date((Number(days.dataset.first) + at) * 864e5).toISOString().slice(0, 10);
      const said = days.dataset.told === 'verified' ? {'d': 'read whole, and good', 'g': 'looked at, and good', 'p': 'verified in part',
        'n': 'never verified', 'x': 'something is lost', '.': 'no set'}[sign] : sign === 'F' ? 'a full' : sign === '.' ? 'nothing' : sign === '!' ? 'unfinished or lacking something'
        : sign === '+' ? 'more than 9 incrementals' : sign + ' incremental' + (sign === '1' ? '' : 's');
      text = days.dataset.host + ', ' + date + ': ' + said;
    }
  }
  tip.style.display = text ? 'block' : 'none';
  tip.textContent = text;
  tip.style.left = 0;
  tip.style.left = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8) + 'px';
  tip.style.top = event.clientY + 16 + 'px';
});
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_becomes_markup() {
        let hostile = Text("<script>alert('\"&\x07").to_string();
        assert_eq!(hostile, "&lt;script&gt;alert(&#39;&quot;&amp;\u{fffd}");
    }
}
