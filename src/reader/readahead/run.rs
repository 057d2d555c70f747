//! How an open file has been read lately, and what follows for what is fetched ahead.

/// How far from where the foremost read ended a read still counts as in order: the requests of the
/// kernel's read-ahead, each of up to 1 MiB and several at a time, overtake one another.
const SLACK: u64 = 4 << 20;

/// Read in order for this long before anything is fetched ahead.
const WARM_UP: u64 = 256 << 10;

/// Read in order from its start for this long, a file is landed whole.
pub(in crate::reader) const LANDING: u64 = 1 << 20;

/// A landing file is fetched ahead by this many times what was read in order so far: on a link of
/// 100 MB/s with 50 ms of latency, doubling takes five round trips to fill it.
const LANDING_GROWTH: u64 = 4;

/// How far ahead a landing file is fetched at most, bytes: it goes to the disk, so this costs no
/// memory.
const MAX_AHEAD: u64 = 64 << 20;

/// How the file has been read lately.
#[derive(Debug, Default)]
pub(super) struct Run {
    start: u64,
    pub(in crate::reader) position: u64,
    /// Bytes read in order.
    streak: u64,
    /// Spans up to this number were asked for ahead.
    pub(super) prefetched: usize,
    /// The cache had no room for the file.
    pub(in crate::reader) does_not_fit: bool,
}

/// What to do about bytes that nobody has asked for yet.
pub(super) enum Ahead {
    Nothing,
    /// Fetch up to this offset.
    Prefetch(u64),
    /// Land the whole file, up to this offset soon.
    Land(u64),
}

impl Run {
    /// Takes note of a read.
    pub(super) fn observe(&mut self, offset: u64, len: u64, size: u64, memory: u64) -> Ahead {
        let end = offset + len;
        let in_order = offset <= self.position + SLACK && end + SLACK >= self.position;
        if !in_order {
            *self = Self { start: offset, position: end, does_not_fit: self.does_not_fit, ..Self::default() };
            return Ahead::Nothing;
        }
        self.streak += end.saturating_sub(self.position).min(len);
        self.position = self.position.max(end);
        if self.streak < WARM_UP || end == size && self.start == 0 && self.streak < LANDING {
            return Ahead::Nothing;
        }
        if self.start < LANDING && self.streak >= LANDING && !self.does_not_fit {
            return Ahead::Land(self.position + (self.streak * LANDING_GROWTH).min(MAX_AHEAD));
        }
        // As far ahead as was read in order so far: that doubles each time it is used up.
        Ahead::Prefetch(self.position + self.streak.min(memory))
    }

    /// Whether the file of `size` bytes was read from its start to its end. A few reads that came
    /// in another order hide some of what was read.
    pub(in crate::reader) fn is_through(&self, size: u64) -> bool {
        self.start == 0 && self.position >= size && self.streak >= size / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    #[test]
    fn a_file_is_through_when_all_of_it_was_read() {
        let mut run = Run::default();
        run.observe(10 * MIB - 4 * KIB, 4 * KIB, 10 * MIB, MIB);
        assert!(!run.is_through(10 * MIB), "its end only");
        let mut run = Run::default();
        run.observe(0, MIB, 3 * MIB, MIB);
        run.observe(2 * MIB, MIB, 3 * MIB, MIB);
        run.observe(MIB, MIB, 3 * MIB, MIB);
        assert!(run.is_through(3 * MIB), "in another order");
    }

    #[test]
    fn read_ahead_grows_while_read_in_order_and_stops_when_random() {
        let mut run = Run::default();
        let mut read = |offset| run.observe(offset, 128 * KIB, 1 << 40, 8 * MIB);
        assert!(matches!(read(0), Ahead::Nothing));
        assert!(matches!(read(128 * KIB), Ahead::Prefetch(end) if end == 512 * KIB));
        for n in 2..7 {
            read(n * 128 * KIB);
        }
        assert!(matches!(read(7 * 128 * KIB), Ahead::Land(end) if end == 5 * MIB));
        for n in [12, 9, 8, 11, 10, 13] {
            assert!(matches!(read(n * 128 * KIB), Ahead::Land(_)), "shuffled a little");
        }
        assert!(matches!(read(14 * 128 * KIB), Ahead::Land(end) if end > 7 * MIB));
        assert!(matches!(read(900 * MIB), Ahead::Nothing));
        assert!(matches!(read(3 * MIB), Ahead::Nothing));
        assert!(matches!(read(700 * MIB), Ahead::Nothing));
        for n in 1..200 {
            let ahead = read(700 * MIB + n * 128 * KIB);
            assert!(!matches!(ahead, Ahead::Land(_)), "not from its start");
            if let Ahead::Prefetch(end) = ahead {
                assert!(end <= 700 * MIB + (n + 1) * 128 * KIB + 8 * MIB);
            }
        }
    }
}
