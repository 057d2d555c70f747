//! Keeps small files of an archive together, where it has very many of them.
//!
//! A cache file for each would cost an inode and a block of the disk for some hundred bytes. So
//! beyond a number of them, what is kept is the spans that they lie in, from which a file without a
//! cache file is read in any case. That is for small files in a row: of a span that holds a few
//! beside large ones, most would be kept for nothing.

use crate::archive::Member;

/// A file of up to so many bytes is small.
const SMALL: u64 = 64 << 10;

/// Small files in a row: so many in the span before.
const IN_A_ROW: usize = 64;

/// Longest span that is kept, bytes: it is held in memory while it grows. Files in a longer one are
/// fetched when they are read.
const LONGEST: usize = 8 << 20;

/// The span that a pass is in, as far as small files in it need that.
#[derive(Debug)]
pub(super) struct SmallFiles {
    /// How many may still have a cache file each.
    single: usize,
    /// Small files in the span so far.
    count: usize,
    /// The plain bytes of the span. `None`: they are not kept.
    span: Option<Vec<u8>>,
    /// Whether a file without a cache file lies in the span.
    is_needed: bool,
    /// Whether the member that is being read is such a file.
    is_inside: bool,
}

impl SmallFiles {
    /// Gives a cache file each to the first `single` small files.
    pub(super) fn new(single: usize) -> Self {
        Self { single, count: 0, span: None, is_needed: false, is_inside: false }
    }

    /// Whether the file, which begins, stays in its span; else it wants a cache file.
    pub(super) fn take(&mut self, member: &Member) -> bool {
        if member.size > SMALL {
            return false;
        }
        self.count += 1;
        if self.single > 0 {
            self.single -= 1;
            return false;
        }
        self.is_inside = self.span.is_some();
        self.is_needed |= self.is_inside;
        self.is_inside
    }

    /// The member that was being read ends.
    pub(super) fn end(&mut self) {
        self.is_inside = false;
    }

    /// Takes bytes of the span.
    pub(super) fn add(&mut self, plain: &[u8]) {
        let Some(span) = &mut self.span else { return };
        if span.len() + plain.len() > LONGEST {
            self.span = None;
        } else {
            span.extend_from_slice(plain);
        }
    }

    /// The span ends and another begins. Gives its bytes out if it has to be kept.
    pub(super) fn next_span(&mut self) -> Option<Vec<u8>> {
        let begun = (self.single == 0 && self.count >= IN_A_ROW).then(Vec::new);
        self.count = 0;
        let span = std::mem::replace(&mut self.span, begun).filter(|span| !span.is_empty() && self.is_needed);
        // A file may go on into the next one.
        self.is_needed = self.is_inside;
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::MemberKind;
    use crate::time::Timestamp;

    fn member(size: u64) -> Member {
        let (raw_name, mtime) = (b"nb-1-big-TOC.txt".as_slice().into(), Timestamp::default());
        Member { raw_name, kind: MemberKind::File, size, mtime, offset: 512, crc32: 0 }
    }

    /// Takes so many small files.
    fn take(files: &mut SmallFiles, count: usize) -> bool {
        let mut one = || {
            let is_taken = files.take(&member(100));
            files.end();
            is_taken
        };
        let first = one();
        assert!((1..count).all(|_| one() == first));
        first
    }

    #[test]
    fn spans_of_small_files_in_a_row_are_kept() {
        let mut files = SmallFiles::new(1);
        assert!(!take(&mut files, IN_A_ROW), "the span was not kept from its start");
        files.add(&[1; 1024]);
        assert_eq!(files.next_span(), None);

        assert!(take(&mut files, IN_A_ROW));
        files.add(&[2; 512]);
        assert!(files.take(&member(100)), "this one goes on into the next span");
        assert_eq!(files.next_span(), Some(vec![2; 512]));
        files.add(&[3; 512]);
        files.end();
        assert!(!files.take(&member(SMALL + 1)));
        assert_eq!(files.next_span(), Some(vec![3; 512]));

        assert!(!take(&mut files, IN_A_ROW), "there was one in the span before");
        files.add(&[4; 512]);
        assert_eq!(files.next_span(), None);

        assert!(take(&mut files, IN_A_ROW));
        files.add(&vec![5; LONGEST]);
        files.add(&[5]);
        assert_eq!(files.next_span(), None, "it is too long");
    }

    #[test]
    fn the_first_small_files_have_a_cache_file_each() {
        let mut files = SmallFiles::new(10 * IN_A_ROW);
        for _ in 0..9 {
            assert!(!take(&mut files, IN_A_ROW));
            files.add(&[1; 512]);
            assert_eq!(files.next_span(), None);
        }
    }
}
