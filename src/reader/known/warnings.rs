//! What is odd about an archive, for people: bounded, for a hostile archive could make millions.

/// Warnings that are kept.
pub(super) const MAX_WARNINGS: usize = 200;

#[derive(Default)]
pub(super) struct Warnings {
    list: Vec<String>,
    more: usize,
}

impl Warnings {
    pub(in crate::reader) fn of(warnings: &[String]) -> Self {
        let list = warnings.iter().take(MAX_WARNINGS).cloned().collect();
        Self { list, more: warnings.len().saturating_sub(MAX_WARNINGS) }
    }

    pub(in crate::reader) fn push(&mut self, warning: String) {
        if self.list.len() < MAX_WARNINGS {
            self.list.push(warning);
        } else {
            self.more += 1;
        }
    }

    pub(in crate::reader) fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.list.push(format!("and {} more", self.more));
        }
        self.list
    }
}
