//! Whether a listing gets on. A store that repeats itself would never come to an end, and one that
//! jumps back leaves out what it jumped over.

use super::raw::RawPage;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// How far a listing has come.
pub(super) struct Progress {
    /// The store promises ascending keys.
    is_ordered: bool,
    last: Option<String>,
    /// Hashes of the tokens so far: 8 bytes for some thousand keys.
    tokens: HashSet<u64>,
    hasher: RandomState,
}

impl Progress {
    pub(super) fn new(is_ordered: bool) -> Self {
        Self { is_ordered, last: None, tokens: HashSet::new(), hasher: RandomState::new() }
    }

    /// Checks the next page and goes on to its end. After an error nothing has changed.
    pub(super) fn advance(&mut self, page: &RawPage) -> Result<(), String> {
        let token = page.token.as_ref().map(|token| self.hasher.hash_one(token));
        if token.is_some_and(|token| self.tokens.contains(&token)) {
            return Err("its pages repeat: it gave the same continuation token twice".to_owned());
        }
        if self.is_ordered {
            let objects = page.objects.iter().map(|object| object.key.as_str());
            self.check(objects)?;
            self.check(page.prefixes.iter().map(String::as_str))?;
        }
        let last = page.objects.last().map(|object| &object.key).max(page.prefixes.last());
        if let Some(last) = last {
            self.last = Some(last.clone());
        }
        self.tokens.extend(token);
        Ok(())
    }

    fn check<'a>(&'a self, keys: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let mut last = self.last.as_deref();
        // XML changes line ends, and with them the order.
        for key in keys.filter(|key| !key.contains(|c: char| c.is_ascii_control())) {
            match last {
                Some(last) if key < last => {
                    return Err(format!("{key:?} comes after {last:?}: its keys do not ascend"));
                }
                // Some servers give a directory at the end of a page and at the beginning of the
                // next one.
                Some(last) if key == last && !key.ends_with('/') => return Err(format!("{key:?} comes twice")),
                _ => last = Some(key),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::raw::RawObject;
    use super::*;
    use crate::time::Timestamp;

    fn page(keys: &[&str], prefixes: &[&str], token: Option<&str>) -> RawPage {
        let object = |key: &&str| RawObject {
            key: (*key).to_owned(),
            size: 1,
            e_tag: None,
            modified: Timestamp::default(),
            archived: false,
        };
        RawPage {
            objects: keys.iter().map(object).collect(),
            prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
            token: token.map(str::to_owned),
            ..RawPage::default()
        }
    }

    #[test]
    fn pages_that_ascend_are_passed() {
        let mut progress = Progress::new(true);
        progress.advance(&page(&["a", "c"], &["b/", "d/"], Some("1"))).unwrap();
        progress.advance(&page(&[], &[], Some("2"))).unwrap();
        progress.advance(&page(&["e"], &["d/", "f/"], None)).unwrap();
    }

    #[test]
    fn pages_that_repeat_or_go_back_are_refused() {
        let first = page(&["a", "c"], &["d/"], Some("1"));
        for (next, is_ordered) in [
            (page(&["a", "c"], &["d/"], Some("2")), true),
            (page(&["e"], &[], Some("1")), true),
            (page(&["e"], &[], Some("1")), false),
            (page(&["f", "e"], &[], None), true),
            (page(&["e", "e"], &[], None), true),
            (page(&["e"], &["b/"], None), true),
        ] {
            let mut progress = Progress::new(is_ordered);
            progress.advance(&first).unwrap();
            assert!(progress.advance(&next).is_err(), "{next:?}");
            progress.advance(&page(&["x"], &[], Some("9"))).unwrap();
        }
        let mut progress = Progress::new(false);
        progress.advance(&first).unwrap();
        progress.advance(&page(&["b"], &[], None)).unwrap();
    }
}
