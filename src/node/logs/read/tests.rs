use super::*;
use crate::cassandra::commit_log::{log_of, write};

const NAME: &str = "CommitLog-7-1795229000000.log";

/// What is read of a log that is in two directories, with these bytes: the one that is taken, and
/// what is said.
fn read(copies: [&[u8]; 2]) -> (Option<(usize, u64)>, Vec<String>, Vec<String>) {
    let work = tempfile::tempdir().unwrap();
    let mut directories = Vec::new();
    for (number, bytes) in copies.iter().enumerate() {
        let directory = work.path().join(number.to_string());
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join(NAME), bytes).unwrap();
        directories.push(directory);
    }
    let reading = Reading { since: None, until: Timestamp(i64::MAX), installed: (5, 0) };
    let ReadLogs { logs, damages, notes } = reading.all(&directories, &Stopper::default(), &|_| {}).unwrap();
    assert!(logs.len() <= 1, "a log is replayed once");
    let taken = logs.first().map(|log| {
        let at = directories.iter().position(|directory| log.path.parent() == Some(directory)).unwrap();
        (at, log.bytes)
    });
    (taken, damages, notes)
}

#[test]
fn of_two_copies_that_is_taken_which_has_all() {
    let (few, more) = (write(1, 60), write(2, 61));
    let later = log_of("{}", &[&few, &more]);
    // As Cassandra still had it open.
    let open = [&log_of("{}", &[&few])[..], &[0; 9000]].concat();
    assert!(open.len() > later.len());
    for (copies, taken) in [([&later[..], &open], 0), ([&open, &later], 1), ([&later, &later], 0)] {
        let (found, damages, notes) = read(copies);
        assert_eq!(found, Some((taken, later.len() as u64)));
        assert!(damages.is_empty() && notes.is_empty(), "{damages:?} {notes:?}");
    }
    // Cut off while it was copied.
    let (found, damages, _) = read([&later[..later.len() - 9], &later]);
    assert_eq!((found.unwrap().0, damages.len()), (1, 0), "{damages:?}");
}

#[test]
fn copies_that_do_not_agree_are_said_by_name() {
    let (one, other) = (log_of("{}", &[&write(1, 60)]), log_of("{}", &[&write(2, 60)]));
    let (found, damages, _) = read([&one, &other]);
    assert_eq!(found.unwrap().0, 0);
    assert!(matches!(&damages[..], [said] if said.starts_with(NAME) && said.contains("neither is the beginning")));
    // A whole one that goes on as far is enough. What a longer one held, nobody knows.
    let longer = log_of("{}", &[&write(1, 60), &write(2, 61)]);
    for (broken, is_enough) in [(&one, true), (&longer, false)] {
        let mut flipped = broken.clone();
        *flipped.last_mut().unwrap() ^= 1;
        flipped[25] ^= 1;
        let (found, damages, notes) = read([&flipped, &one]);
        assert_eq!(found.unwrap().0, 1);
        let (said, other) = if is_enough { (notes, damages) } else { (damages, notes) };
        assert!(matches!(&said[..], [said] if said.contains("of its copies") && said.contains("/1/")), "{said:?}");
        assert_eq!(other, [""; 0]);
    }
}

#[test]
fn a_log_that_is_packed_and_shown_so_is_said() {
    let work = tempfile::tempdir().unwrap();
    for id in 1..9 {
        fs::write(work.path().join(format!("CommitLog-7-{id}.log.gz")), "x").unwrap();
    }
    let reading = Reading { since: None, until: Timestamp(0), installed: (5, 0) };
    let read = reading.all(&[work.path().to_owned()], &Stopper::default(), &|_| {}).unwrap();
    assert!(read.logs.is_empty() && read.damages[0].contains("it is cut short, or packed"));
    assert_eq!(read.damages.last().unwrap(), "and 3 more of that");
}
