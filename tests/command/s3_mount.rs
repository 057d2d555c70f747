//! The sample bucket mounted over S3: the same bytes as from a directory, no request that writes,
//! and what programs see when the server goes away.

use testkit::bucket;
use testkit::command;
use testkit::s3;
use testkit::skip;

use bucket::{Bucket, HOST, Tar, encrypt, gzip, sample_keys, sstable};
use command::Mounted;
use s3::{Faults, S3Server};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::aws_services::{AwsServices, ServiceHabits, static_profile};

fn mount(server: &S3Server, source: &str, arguments: &[&str]) -> Mounted {
    Mounted::start_with(source, arguments, &server.environment())
        .unwrap_or_else(|output| panic!("mount failed: {output:?}"))
}

/// A server's root with the bucket as `name`.
fn root_with(bucket: &Bucket, name: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::rename(bucket.path(), root.path().join(name)).unwrap();
    root
}

/// Path to BLAKE3 and modification time (seconds: S3 knows no more) of everything below a
/// directory; links by their target.
fn everything(directory: &Path) -> BTreeMap<PathBuf, (String, i64)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_dir() {
                todo.push(path.clone());
                String::new()
            } else if metadata.is_symlink() {
                fs::read_link(&path).unwrap().to_str().unwrap().to_owned()
            } else {
                blake3::hash(&fs::read(&path).unwrap()).to_string()
            };
            // Directories and links have times of sets and objects, to the fraction that the store
            // knows.
            let time = if metadata.is_file() { metadata.mtime() } else { 0 };
            found.insert(path.strip_prefix(directory).unwrap().to_owned(), (content, time));
        }
    }
    found
}

#[test]
fn the_sample_bucket_is_the_same_over_s3_as_from_a_directory() {
    if !skip::fuse_or_skip("the_sample_bucket_is_the_same_over_s3_as_from_a_directory") {
        return;
    }
    let bucket = Bucket::sample();
    let local = Mounted::start(&bucket.source(), &sample_keys());
    let expected = everything(&local.mountpoint);
    assert!(expected.len() > 1000, "only {} names", expected.len());
    drop(local);
    let root = root_with(&bucket, "backups");
    let server = S3Server::start(root.path());
    let remote = mount(&server, "s3://backups", &sample_keys());
    let seen = everything(&remote.mountpoint);
    for (path, expected) in &expected {
        assert_eq!(seen.get(path), Some(expected), "{}", path.display());
    }
    assert_eq!(seen.len(), expected.len());
    for request in server.requests() {
        assert!(request.starts_with("GET ") || request.starts_with("HEAD "), "a request that may write: {request}");
    }
}

/// The set of the outage test.
const TAG: &str = "2026-11-20-03-00";

#[test]
fn an_outage_is_an_error_and_passes() {
    if !skip::fuse_or_skip("an_outage_is_an_error_and_passes") {
        return;
    }
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    for table in ["one", "two"] {
        bucket.add_archive(TAG, "ks", table, &sstable(Tar::new(), 1, table.as_bytes()).end());
    }
    let key_file = bucket.key_file();
    let root = root_with(&bucket, "backups");
    let mut server = S3Server::start(root.path());
    let mount = mount(&server, "s3://backups", &["--key-file", &key_file, "--timeout", "3s"]);
    let keyspace = mount.path(HOST).join("restore-points").join(TAG).join("ks");
    let data = |table: &str| keyspace.join(table).join("nb-1-big-Data.db");
    assert_eq!(fs::read(data("one")).unwrap(), b"one");
    server.stop();
    // What is cached is still there; what is not, is an error and not a missing file.
    assert_eq!(fs::read(data("one")).unwrap(), b"one");
    let error = fs::read(data("two")).unwrap_err().raw_os_error();
    assert!(matches!(error, Some(libc::EIO | libc::ETIMEDOUT)), "{error:?}");
    assert_eq!(fs::read_dir(&keyspace).unwrap().count(), 2);
    server.restart();
    assert_eq!(fs::read(data("two")).unwrap(), b"two");
}

/// Programs that read at a time while credentials end.
const READERS: usize = 3;
/// How long each waits between two archives that nobody has read yet.
const PAUSE: Duration = Duration::from_millis(100);

/// Reads for `time` from a mount whose credentials hold for two seconds, as a role gives them,
/// while the store is away for a third of it and its bucket then goes to another region: no read
/// fails. The mount's worker may run no program and write no file: another process asks for the
/// credentials.
fn no_read_fails(test: &str, time: Duration) {
    if !skip::fuse_or_skip(test) {
        return;
    }
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    let contents: Vec<Vec<u8>> = (0..8).map(|number| vec![number; 9]).collect();
    let archives: Vec<_> = contents.iter().map(|data| encrypt(&gzip(&sstable(Tar::new(), 1, data).end()))).collect();
    let table = |number: usize| format!("t{number:04}");
    let tables = READERS * (time.as_millis() / PAUSE.as_millis()) as usize;
    for number in 0..tables {
        bucket.add_object(TAG, "ks", &table(number), &archives[number % archives.len()]);
    }
    let key_file = bucket.key_file();
    let root = root_with(&bucket, "backups");
    let mut server = S3Server::start(root.path());
    let habits = ServiceHabits { lifetime: Duration::from_secs(2), ..ServiceHabits::default() };
    let services = AwsServices::start(&server, habits);
    let home = tempfile::tempdir().unwrap();
    let [config, credentials] = ["config", "credentials"].map(|name| home.path().join(name));
    fs::write(&config, "[profile night]\nrole_arn = arn:aws:iam::1:role/night\nsource_profile = base\n").unwrap();
    fs::write(&credentials, static_profile("base")).unwrap();
    let mut environment = services.environment();
    for (name, value) in [
        ("AWS_CONFIG_FILE", config.display().to_string()),
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.display().to_string()),
        ("AWS_PROFILE", "night".to_owned()),
        ("AWS_ENDPOINT_URL_S3", server.endpoint()),
    ] {
        environment.push((name.to_owned(), value));
    }
    let mount = Mounted::start_with("s3://backups", &["--key-file", &key_file], &environment).unwrap();
    let keyspace = mount.path(HOST).join("restore-points").join(TAG).join("ks");
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (keyspace, contents) = (&keyspace, &contents);
            scope.spawn(move || {
                for number in (reader..tables).step_by(READERS) {
                    let data = keyspace.join(table(number)).join("nb-1-big-Data.db");
                    assert_eq!(fs::read(data).unwrap(), contents[number % contents.len()]);
                    std::thread::sleep(PAUSE);
                }
            });
        }
        std::thread::sleep(time / 3);
        server.stop();
        std::thread::sleep(time / 3);
        server.restart();
        std::thread::sleep(time / 3);
        server.set_faults(Faults { region: Some("eu-west-3"), ..Faults::default() });
    });
    let asked = services.seen().len();
    assert!(asked as u64 >= time.as_secs() / 2, "the credentials were renewed: {asked}");
    assert!(mount.log().contains("eu-west-3"), "{}", mount.log());
}

#[test]
fn a_role_that_holds_for_two_seconds_a_restart_and_another_region_fail_no_read() {
    let test = "a_role_that_holds_for_two_seconds_a_restart_and_another_region_fail_no_read";
    no_read_fails(test, Duration::from_secs(6));
}

/// A minute of it: some thirty lives of the credentials.
#[test]
#[ignore = "takes a minute and a half: docs/testing.md"]
fn for_a_minute_no_read_fails_whatever_becomes_of_credentials_and_store() {
    let test = "for_a_minute_no_read_fails_whatever_becomes_of_credentials_and_store";
    no_read_fails(test, Duration::from_mins(1));
}

#[test]
fn refused_credentials_and_missing_buckets_are_said_at_once() {
    if !skip::fuse_or_skip("refused_credentials_and_missing_buckets_are_said_at_once") {
        return;
    }
    let root = root_with(&Bucket::sample(), "backups");
    let server = S3Server::start(root.path());
    let mut wrong = server.environment();
    for (name, value) in &mut wrong {
        if name == "AWS_SECRET_ACCESS_KEY" {
            "not the secret".clone_into(value);
        }
    }
    for (source, environment, status) in [("s3://backups", wrong, 4), ("s3://no-such-bucket", server.environment(), 1)]
    {
        let Err(output) = Mounted::start_with(source, &[], &environment) else { panic!("{source} is mounted") };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(source), "{said}");
        assert!(!said.contains("not the secret") && !said.contains(s3::SECRET_KEY), "{said}");
    }
}

#[test]
fn a_prefix_is_the_root_of_the_backups() {
    if !skip::fuse_or_skip("a_prefix_is_the_root_of_the_backups") {
        return;
    }
    let root = root_with(&Bucket::sample(), "elsewhere");
    let prefixed = root.path().join("backups/team/cassandra");
    fs::create_dir_all(prefixed.parent().unwrap()).unwrap();
    fs::rename(root.path().join("elsewhere"), &prefixed).unwrap();
    let server = S3Server::start(root.path());
    let mount = mount(&server, "s3://backups/team/cassandra", &sample_keys());
    let mut hosts: Vec<_> = fs::read_dir(&mount.mountpoint).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    hosts.sort();
    assert_eq!(hosts, ["cass-a", "cass-b"]);
}
