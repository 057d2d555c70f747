//! What `openssl enc` can be told besides the usual, told by trial; archives in base64; and what is
//! not encrypted where all else is.

use super::bucket::{Header, Tar, filter, gzip};
use super::support::{Files, PASSPHRASE, World, assert_same, content, number_of, read_all, read_one, ring, table};
use cassmount::Kind;
use cassmount::archive::compression::Spacing;
use cassmount::archive::parameters::EnvelopeOptions;
use cassmount::reader::{Seal, Stage};
use std::process::Command;

fn openssl(options: &str, plain: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(["enc", "-salt", "-pass", "env:TEST_PASSPHRASE"]).args(options.split_whitespace());
    filter(command.env("TEST_PASSPHRASE", PASSPHRASE), plain)
}

fn tar_gz(files: &Files) -> Vec<u8> {
    let tar = files.iter().fold(Tar::new(), |tar, (path, content)| tar.file(format!("./{path}"), content));
    gzip(&tar.end())
}

const USUAL: [&str; 13] = [
    "-aes-256-cbc -pbkdf2 -md sha256",
    "-aes-256-cbc -md md5",
    "-aes-256-cbc -md sha256",
    "-aes-256-cbc -pbkdf2 -md sha512",
    "-aes-192-cbc -pbkdf2 -md sha1",
    "-aes-128-cbc -md sha512",
    "-aes-128-cbc -pbkdf2 -md sha256",
    "-aes-256-ctr -pbkdf2 -md sha256",
    "-aes-192-ctr -md sha1",
    "-aes-128-ctr -pbkdf2 -md md5",
    "-a -aes-256-cbc -pbkdf2 -md sha256",
    "-a -A -aes-256-cbc -pbkdf2 -md sha256",
    "-a -aes-256-ctr -md md5",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_parameters_are_told_by_trial() {
    let files = table(300 << 10);
    let packed = tar_gz(&files);
    for options in USUAL {
        let mut world = World::new();
        world.options.spacing = Some(Spacing::every(64 << 10));
        // Not all of it is fetched in one go.
        let object = world.memory.put("h/t/ks/table.tar.gz.enc", openssl(options, &packed));
        let reader = world.reader();
        assert_eq!(reader.check_ends(&object).await.unwrap(), Seal::Key(1), "{options}");
        assert_same(&read_all(&reader, &object).await.unwrap(), &files);
        drop(reader);

        // Another process, with nothing in its cache: spans are enough.
        world.empty_cache();
        let reader = world.reader();
        let number = number_of(&reader, &object, "nb-1-big-Data.db").await;
        let file = reader.open(&object, number).await.unwrap();
        for offset in [250_001, 16, 0, 131_072, 299_990] {
            let part = file.read_at(offset, 5000).await.unwrap();
            let wanted = &files["nb-1-big-Data.db"][offset as usize..];
            assert!(part == wanted[..wanted.len().min(5000)], "{options} at {offset}");
        }
        assert_eq!(reader.stats().passes, 0, "{options}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_parameters_are_named_by_the_error_and_taken_from_options() {
    let files = table(10 << 10);
    for (sealed_with, options) in [
        ("-aes-256-cbc -pbkdf2 -iter 777 -md sha256", EnvelopeOptions { iterations: Some(777), ..Default::default() }),
        (
            "-a -aes-128-ctr -pbkdf2 -iter 31 -md sha512",
            EnvelopeOptions { iterations: Some(31), digest: "sha512".parse().ok(), ..Default::default() },
        ),
    ] {
        let mut world = World::new();
        let object = world.memory.put("h/t/ks/table.tar.gz.enc", openssl(sealed_with, &tar_gz(&files)));
        let usual = world.memory.put("h/t/ks/usual.tar.gz.enc", openssl(USUAL[1], &tar_gz(&files)));
        let error = world.reader().listing(&object).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NoKey);
        for option in ["--cipher", "--kdf", "--iterations", "--digest"] {
            assert!(error.to_string().contains(option), "{error}");
        }
        world.options.envelope = options;
        let reader = world.reader();
        assert_same(&read_all(&reader, &object).await.unwrap(), &files);
        assert_same(&read_all(&reader, &usual).await.unwrap(), &files);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_from_windows_opens_what_it_was_meant_for() {
    let files = table(1000);
    let mut world = World::new();
    world.keys = vec!["\u{feff}secret of the operator\r"];
    let plain = tar_gz(&files);
    let seal = |passphrase: &str| {
        let mut command = Command::new("openssl");
        command.args(["enc", "-aes-256-cbc", "-pbkdf2", "-pass", "env:TEST_PASSPHRASE"]);
        filter(command.env("TEST_PASSPHRASE", passphrase), &plain)
    };
    for (number, passphrase) in [world.keys[0], "secret of the operator"].into_iter().enumerate() {
        let object = world.memory.put(&format!("h{number}/t/ks/table.tar.gz.enc"), seal(passphrase));
        assert_same(&read_all(&world.reader(), &object).await.unwrap(), &files);
    }
    let other = world.memory.put("h3/t/ks/table.tar.gz.enc", seal("another secret"));
    let error = world.reader().listing(&other).await.unwrap_err();
    assert!(error.to_string().contains("carriage return"), "{error}");
    assert_eq!(ring(&world.keys).keys().len(), 1);
}

/// Whatever is flipped or cut, no wrong byte is read.
#[tokio::test(flavor = "multi_thread")]
async fn damage_of_other_envelopes_is_noticed() {
    let files: Files = [("nb-1-big-Data.db".to_owned(), content(5, 700))].into();
    for options in ["-aes-256-ctr -pbkdf2", "-a -aes-256-cbc -pbkdf2", "-aes-128-cbc -md md5"] {
        let sealed = openssl(options, &tar_gz(&files));
        let world = World::new();
        let reader = world.reader();
        for at in (0..sealed.len()).step_by(61) {
            for damaged in [
                sealed.iter().enumerate().map(|(n, &b)| if n == at { b ^ 1 } else { b }).collect(),
                sealed[..at].to_vec(),
            ] {
                let damaged: Vec<u8> = damaged;
                let object = world.memory.put("h/t/ks/table.tar.gz.enc", damaged);
                if let Ok(read) = read_all(&reader, &object).await {
                    // A line end, or bits of gzip's header that mean nothing.
                    assert_same(&read, &files);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_archive_of_a_sealed_ones_name_is_refused() {
    let files = table(1000);
    let plain = tar_gz(&files);
    let mut world = World::new();
    let by_name = world.memory.put("a/t/ks/one.tar.gz.enc", plain.clone());
    let empty = world.memory.put("a/t/ks/empty.tar.gz.enc", vec![0; 10_240]);
    let alone = world.memory.put("d/t/ks/one.tar.gz", plain);
    for object in [&by_name, &empty] {
        let reader = world.reader();
        let error = reader.listing(object).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        assert!(error.to_string().contains("--allow-plaintext"), "{error}");
        assert_eq!(reader.check_ends(object).await.unwrap_err().stage, Stage::Unsealed);
    }
    assert_same(&read_all(&world.reader(), &alone).await.unwrap(), &files);
    // One that is sealed among many that are not is the odd one.
    let odd = world.memory.put("e/t/ks/sealed.tar.gz.enc", vec![0; 10_240]);
    let many: Vec<_> = (0..5).map(|n| world.memory.put(&format!("e/t/ks/{n}.tar.gz"), tar_gz(&files))).collect();
    assert_same(&read_all(&world.reader(), &many[0]).await.unwrap(), &files);
    assert!(world.reader().listing(&odd).await.is_err());
    world.options.allow_plaintext = true;
    assert_same(&read_all(&world.reader(), &by_name).await.unwrap(), &files);
    world.options.allow_plaintext = false;
    world.keys.clear();
    assert_same(&read_all(&world.reader(), &by_name).await.unwrap(), &files);
}

/// Links, holes and several tars: read whole, and by spans when the cache has lost them.
#[tokio::test(flavor = "multi_thread")]
async fn links_holes_and_tars_behind_tars_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let data = content(3, 200_000);
    std::fs::create_dir_all(at("t/snapshots/daily")).unwrap();
    std::fs::write(at("t/nb-1-big-Data.db"), &data).unwrap();
    std::fs::hard_link(at("t/nb-1-big-Data.db"), at("t/snapshots/daily/nb-1-big-Data.db")).unwrap();
    let holes = std::fs::File::create(at("t/snapshots/daily/holes.bin")).unwrap();
    std::os::unix::fs::FileExt::write_at(&holes, &data[..8192], 40_960).unwrap();
    holes.set_len(150_001).unwrap();
    std::fs::write(at("more"), b"more").unwrap();
    let tar = |args: &[&str]| {
        let out = Command::new("tar").arg("-C").arg(dir.path()).args(args).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    };
    let first = tar(&["-cS", "--sort=name", "t"]);
    let second = tar(&["-c", "--transform=s,^,t/snapshots/daily/,", "more"]);
    let mut world = World::new();
    world.options.spacing = Some(Spacing::every(64 << 10));
    world.options.allow_plaintext = true;
    let object = world.memory.put("h/t/ks/table.tar", [first, second].concat());
    let mut index = vec![0; 150_001];
    index[40_960..49_152].copy_from_slice(&data[..8192]);
    let wanted: Files = [
        ("nb-1-big-Data.db".to_owned(), data.clone()),
        ("holes.bin".to_owned(), index.clone()),
        ("more".to_owned(), b"more".to_vec()),
    ]
    .into();
    assert_same(&read_all(&world.reader(), &object).await.unwrap(), &wanted);
    world.empty_cache();
    let reader = world.reader();
    assert_same(&read_all(&reader, &object).await.unwrap(), &wanted);
    assert_eq!(reader.stats().passes, 0);

    // Without its target a link's SSTable cannot be read, and that is all of the SSTable.
    let header = Header { name: b"./nb-7-big-Data.db", kind: b'1', link: b"./gone", ..Header::default() };
    let broken =
        Tar::new().entry(&header, b"").file("./nb-7-big-Index.db", b"index").file("./nb-8-big-Data.db", b"rows");
    let object = world.memory.put("h/t/ks/broken.tar", broken.end());
    let reader = world.reader();
    let listing = reader.listing(&object).await.unwrap();
    for (number, file) in listing.files.iter().enumerate() {
        let read = read_one(&reader, &object, number).await;
        assert_eq!(read.is_ok(), file.path.starts_with("nb-8"), "{}", file.path);
        assert!(
            read.err().is_none_or(|error| error.kind() == Kind::Corrupt && error.to_string().contains("hard link"))
        );
    }
}
