//! Each component of real SSTables, damaged in each way: whoever reads the SSTable is told, or
//! Cassandra does without. docs/architecture.md has the table.

use super::bucket::{Tar, encrypt_with, gzip};
use super::plain::Plain;
use super::support::{Files, PASSPHRASE, World, read_one};
use cassmount::archive::Member;
use cassmount::archive::tar::MemberSink;
use cassmount::reader::{Listing, Reader};
use cassmount::store::ObjectMeta;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use testkit::unpacked::{files_below, sample_keys, unpack};

/// Who hears of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// Whoever reads the archive or all of the files; and who opens this file in a mount.
    All,
    /// Who reads the archive or all of the files. In a mount of plain files, the checksums in
    /// Data.db tell Cassandra.
    Readers,
    /// As [`Self::Readers`]; it alone is left out, for Cassandra does without it, or makes it anew.
    Spare,
    /// Nobody: Cassandra does without it, or makes it anew.
    Nobody,
}

/// A way to damage a file.
type Damage = fn(&mut Vec<u8>);

const DAMAGES: [(&str, Damage); 6] = [
    ("emptied", |bytes| bytes.clear()),
    ("cut by a byte", |bytes| bytes.truncate(bytes.len() - 1)),
    ("cut in half", |bytes| bytes.truncate(bytes.len() / 2)),
    ("zeroed at its start", |bytes| bytes.iter_mut().take(16).for_each(|byte| *byte = 0)),
    ("flipped early", |bytes| {
        let at = 50.min(bytes.len() / 2);
        bytes[at] ^= 0x20;
    }),
    ("flipped at its end", |bytes| *bytes.last_mut().unwrap() ^= 1),
];

use Told::{All, Nobody, Readers, Spare};

/// Of each component, what each damage comes to, in the order of [`DAMAGES`].
const COMPRESSED: [(&str, [Told; 6]); 8] = [
    ("Data.db", [Readers; 6]),
    ("Statistics.db", [All; 6]),
    ("CompressionInfo.db", [All, All, All, All, All, Readers]),
    ("Index.db", [All, All, All, All, Readers, All]),
    // What is no number tells nothing.
    ("Digest.crc32", [Nobody, Spare, Spare, Nobody, Nobody, Spare]),
    ("Filter.db", [Spare; 6]),
    // What is cut short Cassandra makes anew.
    ("Summary.db", [Nobody, Nobody, Nobody, Nobody, Spare, Spare]),
    ("TOC.txt", [Nobody; 6]),
];

struct NoSink;

impl MemberSink for NoSink {
    fn begin(&mut self, _: &Member) -> cassmount::Result<()> {
        Ok(())
    }
    fn data(&mut self, _: &[u8]) -> cassmount::Result<()> {
        Ok(())
    }
    fn end(&mut self, _: &Member) -> cassmount::Result<()> {
        Ok(())
    }
}

/// An SSTable of the sample, without its name's `nb-1`.
fn sample(table: &str) -> Files {
    let directory = tempfile::tempdir().unwrap();
    let archive = testkit::project().join("sample/bucket/cass-a/2026-11-21-02-45/shop").join(table);
    assert!(unpack(&archive.with_extension("tar.gz.enc"), &sample_keys(), directory.path()));
    let files = files_below(directory.path()).into_iter();
    files.filter_map(|(path, bytes, _)| Some((path.strip_prefix("nb-1-big-")?.to_owned(), bytes))).collect()
}

/// Per SSTable's number, the components that cannot be read.
type Condemned = BTreeMap<usize, BTreeSet<String>>;

fn condemned(listing: &Listing) -> Condemned {
    let mut found = Condemned::new();
    for file in listing.files.iter().filter(|file| file.damage.is_some()) {
        let (number, component) = parts(&file.path);
        found.entry(number).or_default().insert(component.to_owned());
    }
    found
}

/// Of `nb-7-big-Data.db`.
fn parts(path: &str) -> (usize, &str) {
    (path.split('-').nth(1).unwrap().parse().unwrap(), path.rsplit('-').next().unwrap())
}

async fn streamed(reader: &Reader, object: &Arc<ObjectMeta>) -> Condemned {
    condemned(reader.stream(object, NoSink).await.unwrap().0.listing())
}

/// Read as an archive in a mount, and as `extract` and `verify` do.
async fn of_archive(files: impl Iterator<Item = (&String, &Vec<u8>)>) -> [Condemned; 2] {
    let world = World::new();
    let tar = files.fold(Tar::new(), |tar, (name, bytes)| tar.file(format!("./{name}"), bytes));
    let object = world.memory.put("a.enc", encrypt_with(PASSPHRASE, &gzip(&tar.end())));
    let archive = condemned(&world.reader().listing(&object).await.unwrap());
    [archive, streamed(&World { memory: world.memory, ..World::new() }.reader(), &object).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_component_is_told_or_costs_no_row() {
    let plain_data = [
        ("Data.db", [Readers; 6]),
        ("CRC.db", [Spare; 6]),
        ("Statistics.db", [All; 6]),
        ("Index.db", [All, All, All, All, Readers, All]),
    ];
    // Of an SSTable without Digest.crc32.
    let by_list = [("Data.db", [Readers, All, All, All, All, All])];
    for (table, expected, has_digest) in [
        ("users", &COMPRESSED[..], true),
        ("events", &plain_data, true),
        ("users", &by_list, false),
        ("events", &by_list, false),
    ] {
        let mut sound = sample(table);
        if !has_digest {
            sound.remove("Digest.crc32");
        }
        let mut cases = vec![(format!("{table}, sound"), "", Nobody)];
        let mut files = Files::new();
        let mut add = |number: usize, components: &Files| {
            files.extend(components.iter().map(|(name, bytes)| (format!("nb-{number}-big-{name}"), bytes.clone())));
        };
        add(0, &sound);
        for (component, told) in expected {
            for ((what, damage), told) in DAMAGES.iter().zip(told) {
                let mut damaged = sound.clone();
                damage(damaged.get_mut(*component).unwrap());
                add(cases.len(), &damaged);
                // A bit that is set in a filter by mistake costs nothing.
                let (was, is) = (&sound[*component], &damaged[*component]);
                let is_cleared = is.len() < was.len() || was.iter().zip(is).any(|(was, is)| was & !is != 0);
                let told = if *component == "Filter.db" && !is_cleared { Nobody } else { *told };
                cases.push((format!("{table}, {component} {what}"), component, told));
            }
        }
        let [archive, extracted] = of_archive(files.iter()).await;
        // Some are told by what comes before them; here nothing does.
        let [archive_backwards, extracted_backwards] = of_archive(files.iter().rev()).await;

        let mut plain = Plain { world: World::new(), files };
        let (bundle, reader) = plain.open();
        let mut in_mount = Condemned::new();
        for (number, file) in reader.listing(&bundle).await.unwrap().files.iter().enumerate() {
            let is_read = read_one(&reader, &bundle, number).await.is_ok();
            let (sstable, component) = parts(&file.path);
            // What is emptied is not asked for: who lists the files is told of it.
            if !is_read || file.size == 0 && component != "Data.db" {
                in_mount.entry(sstable).or_default().insert(component.to_owned());
            }
        }
        let copied = streamed(&reader, &bundle).await;
        for (number, (case, component, told)) in cases.iter().enumerate() {
            let by = [&archive, &extracted, &copied, &archive_backwards, &extracted_backwards];
            let found = by.map(|found| found.contains_key(&number));
            let who = "archive in a mount, extracted, plain files read; both again backwards";
            // Where Digest.crc32 vouches for Data.db, nobody reads that once more for a CRC.db.
            let is_late = ["CompressionInfo.db flipped", "CRC.db flipped"].iter().any(|late| case.contains(late));
            assert_eq!(found[..3], [*told != Nobody; 3], "{case}: {who}");
            assert!(is_late || found[3..] == [*told != Nobody; 2], "{case}: {who}: {found:?}");
            if *told == Spare {
                let alone = BTreeSet::from([(*component).to_owned()]);
                let left_out = by.into_iter().filter_map(|found| found.get(&number));
                assert!(
                    left_out.clone().count() >= 3 && left_out.clone().all(|found| *found == alone),
                    "{case}: {who}"
                );
                let in_mount = in_mount.get(&number);
                assert!(in_mount.is_none_or(|found| !found.contains("Data.db")), "{case}: {in_mount:?}");
            }
            if *told == All {
                assert!(in_mount.contains_key(&number), "{case}: plain files in a mount");
            }
        }
        assert!(!in_mount.contains_key(&0), "{table}");
    }
}
