//! Whole commands and a mount against servers of other people.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;
use testkit::azurite::Azurite;
use testkit::bucket::{Bucket, sample_keys};
use testkit::command::{Mounted, cassmount};
use testkit::fake_gcs::FakeGcs;
use testkit::http_stub::HttpStub;
use testkit::real_s3::RealS3;
use testkit::skip;
use testkit::unpacked::files_below;

fn run(server: &RealS3, cache: &Path, arguments: &[&str]) -> Output {
    let mut command = cassmount();
    command.envs(server.environment()).args(arguments).args(sample_keys()).arg("--cache-dir").arg(cache);
    command.output().unwrap()
}

/// BLAKE3 of all files below a directory.
fn hashes(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            // The journal of an extract knows objects by what their store calls them.
            if path.ends_with(".cassmount-extract") {
                continue;
            }
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().display().to_string();
                found.insert(name, blake3::hash(&fs::read(&path).unwrap()).to_string());
            }
        }
    }
    found
}

fn assert_alike(seen: &BTreeMap<String, String>, expected: &BTreeMap<String, String>) {
    for (name, hash) in expected {
        assert_eq!(seen.get(name), Some(hash), "{name}");
    }
    assert_eq!(seen.len(), expected.len());
}

/// The objects of [`HOST`].
fn of_host(bucket: &Bucket) -> impl Iterator<Item = (String, Vec<u8>)> {
    let files = files_below(&bucket.path().join(HOST));
    files.into_iter().map(|(name, content, _)| (format!("{HOST}/{name}"), content))
}

const POINT: &str = "restore-points/2026-11-21-02-48";
const HOST: &str = "cass-a";

#[test]
fn the_sample_is_good_and_mounted_from_a_real_server() {
    let test = "the_sample_is_good_and_mounted_from_a_real_server";
    let Some(mut server) = RealS3::versity_or_skip(test) else { return };
    let bucket = Bucket::sample();
    server.create_bucket("backups", false);
    server.put_directory("backups", &bucket.path());
    let cache = tempfile::tempdir().unwrap();
    let verified = run(&server, cache.path(), &["verify", "s3://backups", "--deep"]);
    let mut local = cassmount();
    local.args(["verify", &bucket.source(), "--deep"]).args(sample_keys()).arg("--cache-dir").arg(cache.path());
    let local = local.output().unwrap();
    assert_eq!(verified.status.code(), local.status.code(), "{verified:?}");
    if !skip::fuse_or_skip(test) {
        return;
    }
    let expected = Mounted::start(&bucket.source(), &sample_keys());
    let expected = hashes(&expected.path(HOST).join(POINT));
    let mounted = Mounted::start_with("s3://backups", &sample_keys(), &server.environment()).unwrap();
    // The server is away for a while, and comes back, under the mount.
    server.stop();
    let reader = std::thread::spawn({
        let point = mounted.path(HOST).join(POINT);
        move || hashes(&point)
    });
    std::thread::sleep(Duration::from_secs(1));
    server.restart();
    assert_alike(&reader.join().unwrap(), &expected);
}

#[test]
fn what_was_deleted_and_overwritten_is_mounted_and_extracted_as_of_a_time() {
    let test = "what_was_deleted_and_overwritten_is_mounted_and_extracted_as_of_a_time";
    let Some(server) = RealS3::moto_or_skip(test) else { return };
    let bucket = Bucket::sample();
    server.create_bucket("backups", true);
    let keys = server.put_directory("backups", &bucket.path());
    std::thread::sleep(Duration::from_millis(1100));
    let then = jiff::Timestamp::now().to_string();
    std::thread::sleep(Duration::from_millis(1100));
    // An archive is overwritten, and then everything is deleted.
    let archive = keys.iter().find(|key| key.ends_with("shop/users.tar.gz.enc") && key.starts_with(HOST)).unwrap();
    server.put("backups", [(archive.clone(), b"not what it was".to_vec())]);
    server.delete("backups", &keys);

    let work = tempfile::tempdir().unwrap();
    let now = run(&server, work.path(), &["list", "s3://backups"]);
    assert_ne!(now.status.code(), Some(0), "nothing is there now: {now:?}");
    let listed = run(&server, work.path(), &["list", "s3://backups", "--as-of", &then]);
    assert!(listed.status.success() && String::from_utf8_lossy(&listed.stdout).contains(HOST), "{listed:?}");
    let extract = |name: &str, source: &str, more: &[&str]| {
        let target = work.path().join(name);
        let target_text = target.to_str().unwrap();
        let arguments = [&["extract", source, HOST, "2026-11-21-02-48", target_text, "-k", "shop"], more].concat();
        let output = run(&server, work.path(), &arguments);
        assert!(output.status.success(), "{output:?}");
        hashes(&target)
    };
    let expected = extract("local", &bucket.source(), &[]);
    assert!(expected.len() > 10, "{expected:?}");
    assert_alike(&extract("then", "s3://backups", &["--as-of", &then]), &expected);
    if !skip::fuse_or_skip(test) {
        return;
    }
    let local = Mounted::start(&bucket.source(), &sample_keys());
    let expected = hashes(&local.path(HOST).join(POINT).join("shop"));
    let options = [&sample_keys()[..], &["--as-of", &then]].concat();
    let mounted = Mounted::start_with("s3://backups", &options, &server.environment()).unwrap();
    assert_alike(&hashes(&mounted.path(HOST).join(POINT).join("shop")), &expected);
}

#[test]
fn what_a_point_needs_is_thawed_and_nothing_else() {
    let Some(server) = RealS3::moto_or_skip("what_a_point_needs_is_thawed_and_nothing_else") else { return };
    let bucket = Bucket::sample();
    server.create_bucket("backups", false);
    server.put_directory("backups", &bucket.path());
    let cold = |key: &str| (key.to_owned(), fs::read(bucket.path().join(key)).unwrap());
    let archives = ["cass-a/2026-11-21-02-48/shop/users.tar.gz.enc", "cass-a/2026-11-21-02-49/shop/users.tar.gz.enc"];
    server.put_cold("backups", archives.map(cold));
    let work = tempfile::tempdir().unwrap();
    // Who asks for a point hears how much of it is archived, whatever the command.
    let target = work.path().join("target").display().to_string();
    let point = ["s3://backups", HOST, "2026-11-21-02-48"];
    let archived = |arguments: &[&[&str]], says: &str| {
        let output = run(&server, work.path(), &arguments.concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains(says), "{arguments:?}: {output:?}");
        said
    };
    archived(&[&["list"], &point[..2]], "INCOMPLETE, 1 archived (");
    archived(&[&["chain"], &point], "archived: 1 object, ");
    archived(&[&["verify"], &point], "archived: 1 object, ");
    archived(&[&["extract"], &point, &[&target, "--dry-run"]], "archived: 1 object, ");
    let report = archived(&[&["chain"], &point, &["--summary", "--json"]], "\"archived\"");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let size = fs::metadata(bucket.path().join(archives[0])).unwrap().len();
    assert_eq!(report["archived"], serde_json::json!({"objects": 1, "bytes": size}));
    let thaw = |more: &[&str]| {
        let output = run(&server, work.path(), &[&["thaw", "s3://backups", HOST, "2026-11-21-02-48"], more].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(thaw(&["--dry-run"]).starts_with("archived objects: 1, "), "{}", thaw(&["--dry-run"]));
    assert!(thaw(&["-t", "shop.events"]).starts_with("nothing of it is archived"));
    if skip::fuse_or_skip("what_a_point_needs_is_thawed_and_nothing_else") {
        let mounted = Mounted::start_with("s3://backups", &sample_keys(), &server.environment()).unwrap();
        let shown = mounted.path(HOST).join(POINT);
        let said = fs::read_to_string(shown.join("INCOMPLETE.txt")).unwrap();
        assert!(said.contains(&format!("archived objects of all tables: 1 {size} bytes\n")), "{said}");
        let mut shop = fs::read_dir(shown.join("shop")).unwrap().map(|entry| entry.unwrap().path());
        let users = shop.find(|path| path.to_str().unwrap().contains("/users-")).unwrap();
        let error = fs::read_dir(users).and_then(Iterator::collect::<Result<Vec<_>, _>>).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEDIUM), "{error}");
    }
    let said = thaw(&["--wait", "--tier", "bulk"]);
    assert!(said.contains("1 asked for now, 0 under way before, 1 can be read"), "{said}");
    assert!(thaw(&[]).contains("0 asked for now, 0 under way before, 1 can be read"), "it may be run again");
}

#[test]
fn a_host_is_read_from_azure_and_archived_blobs_are_known() {
    let test = "a_host_is_read_from_azure_and_archived_blobs_are_known";
    let Some(server) = Azurite::start_or_skip(test) else { return };
    let bucket = Bucket::sample();
    let cold = "cass-a/2026-11-21-02-49/shop/users.tar.gz.enc";
    let tier = |key: &str| if key == cold { "Archive" } else { "Hot" };
    server.create_container("backups");
    server.put_tiers("backups", of_host(&bucket).map(|(key, content)| (key.clone(), tier(&key), content)));
    let cache = tempfile::tempdir().unwrap();
    let command = |arguments: &[&str]| {
        let mut command = cassmount();
        command.envs(server.environment()).args(arguments).arg("--cache-dir").arg(cache.path());
        command.output().unwrap()
    };
    let listed = command(&["list", "az://backups", HOST]);
    let said = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(said.contains("2026-11-21-02-48") && said.contains("INCOMPLETE, 1 archived ("), "{listed:?}");
    let target = cache.path().join("target").display().to_string();
    let of_cold = ["extract", "az://backups", HOST, "2026-11-21-02-49", &target, "-t", "shop.users"];
    let refused = command(&[&of_cold[..], &sample_keys()].concat());
    assert!(!refused.status.success() && format!("{refused:?}").contains("archived"), "{refused:?}");
    let shown = command(&["list", "az://backups", "--show-config"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("for the account devstoreaccount1") && !shown.contains("Eby8"), "{shown}");
    if !skip::fuse_or_skip(test) {
        return;
    }
    let local = Mounted::start(&bucket.source(), &sample_keys());
    let expected = hashes(&local.path(HOST).join(POINT).join("shop"));
    let mounted = Mounted::start_with("az://backups", &sample_keys(), &server.environment()).unwrap();
    assert_alike(&hashes(&mounted.path(HOST).join(POINT).join("shop")), &expected);
}

#[test]
fn a_host_is_read_from_google_with_tokens_that_are_exchanged() {
    let test = "a_host_is_read_from_google_with_tokens_that_are_exchanged";
    let Some(server) = FakeGcs::start_or_skip(test) else { return };
    let bucket = Bucket::sample();
    server.create_bucket("backups");
    server.put("backups", of_host(&bucket));
    // A workload's token is exchanged for Google's, which hold for a moment.
    let tokens = HttpStub::start(|_| (200, "{\"access_token\":\"exchanged\",\"expires_in\":2}".to_owned()));
    let work = tempfile::tempdir().unwrap();
    let (file, subject) = (work.path().join("identity.json"), work.path().join("subject"));
    fs::write(&subject, "of the workload").unwrap();
    let identity = serde_json::json!({
        "type": "external_account", "audience": "//iam.googleapis.com/pool", "subject_token_type": "urn:jwt",
        "token_url": format!("{}/token", tokens.url()), "credential_source": {"file": &subject},
    });
    fs::write(&file, identity.to_string()).unwrap();
    let environment = [("GOOGLE_APPLICATION_CREDENTIALS".to_owned(), file.display().to_string())];
    let endpoint = server.endpoint();
    let reached = [&["--endpoint-url", endpoint.as_str()][..], &sample_keys()].concat();
    let command = |arguments: &[&str]| {
        let mut command = cassmount();
        command.envs(environment.clone()).args(arguments).args(&reached);
        command.arg("--cache-dir").arg(work.path().join("cache")).output().unwrap()
    };
    let listed = command(&["list", "gs://backups", HOST]);
    assert!(listed.status.success() && String::from_utf8_lossy(&listed.stdout).contains("2026-11-21-02-48"));
    let verified = command(&["verify", "gs://backups", "--deep"]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success() && said.contains("everything is good"), "{verified:?}");
    let target = work.path().join("target");
    let extracted =
        command(&["extract", "gs://backups", HOST, "2026-11-21-02-48", target.to_str().unwrap(), "-k", "shop"]);
    assert!(extracted.status.success(), "{extracted:?}");
    let shown = command(&["list", "gs://backups", "--show-config"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(file.to_str().unwrap()) && !shown.contains("of the workload"), "{shown}");
    if !skip::fuse_or_skip(test) {
        return;
    }
    let local = Mounted::start(&bucket.source(), &sample_keys());
    let expected = hashes(&local.path(HOST).join(POINT).join("shop"));
    let before = tokens.seen().len();
    let mounted = Mounted::start_with("gs://backups", &reached, &environment).unwrap();
    let shop = mounted.path(HOST).join(POINT).join("shop");
    assert_alike(&hashes(&shop), &expected);
    let extracted = hashes(&target.join("shop"));
    for (name, hash) in &expected {
        assert_eq!(extracted.get(name), Some(hash), "{name}");
    }
    // An archive that is replaced under the mount has changed; it is not missing, and nothing else.
    let replaced = "cass-a/2026-11-21-02-49/shop/events.tar.gz.enc";
    let length = fs::metadata(bucket.path().join(replaced)).unwrap().len();
    std::thread::sleep(Duration::from_secs(2));
    let later = mounted.path(HOST).join("restore-points/2026-11-21-02-49/shop");
    let events: Vec<_> = fs::read_dir(&later).unwrap().map(|entry| entry.unwrap().path()).collect();
    let events = events.into_iter().filter(|path| path.to_str().unwrap().contains("/events-"));
    server.put("backups", [(replaced.to_owned(), vec![7; length as usize])]);
    let errors = events.filter_map(|table| fs::read_dir(table).and_then(Iterator::collect::<Result<Vec<_>, _>>).err());
    let errors: Vec<_> = errors.map(|error| error.raw_os_error()).collect();
    assert_eq!(errors, [Some(libc::ESTALE)]);
    assert!(tokens.seen().len() >= before + 2, "the token was renewed");
}
