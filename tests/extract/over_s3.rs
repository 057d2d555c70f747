//! From a bucket on an S3 server.

use super::bucket::sample_keys;
use super::s3::{Faults, S3Server};
use super::user::{User, assert_success, shown_of_sample, text};
use super::walk::assert_same;
use super::walk::{Seen, Tree};
use cassmount::time::Timestamp;
use std::os::unix::fs::symlink;
use std::path::Path;

const POINT: &str = "2026-11-21-02-52";

/// With times to the second, as S3 has them, of what comes from objects' times.
fn to_seconds(tree: Tree) -> Tree {
    let rounded = |seen| match seen {
        Seen::File(size, hash, time) => Seen::File(size, hash, Timestamp::from_secs(time.secs())),
        other => other,
    };
    tree.into_iter().map(|(path, seen)| (path, rounded(seen))).collect()
}

#[tokio::test]
async fn the_same_over_s3_and_an_outage_is_no_end() {
    let root = tempfile::tempdir().unwrap();
    symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("sample/bucket"), root.path().join("backups")).unwrap();
    let mut server = S3Server::start(root.path());
    let expected = to_seconds(shown_of_sample("cass-b", POINT).await);
    let user = User::new();
    let run = |server: &S3Server, more: &[&str]| {
        let mut command = user.command("s3://backups", "cass-b", POINT, &[&sample_keys()[..], more].concat());
        command.envs(server.environment()).output().unwrap()
    };
    assert_success(&run(&server, &["--table", "shop.users"]));
    // A body that breaks off is asked for again from there.
    server.set_faults(Faults { cut: 3, body_bytes: 5_000, ..Faults::default() });
    assert_success(&run(&server, &["--table", "shop.orders"]));
    server.set_faults(Faults { silent: true, ..Faults::default() });
    let output = run(&server, &["--timeout", "2s"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    server.set_faults(Faults::default());
    server.restart();
    assert_success(&run(&server, &[]));
    assert_same(&to_seconds(user.extracted()), &expected);
    let written =
        server.requests().into_iter().find(|request| !request.starts_with("GET ") && !request.starts_with("HEAD "));
    assert_eq!(written, None);
    assert!(!text(&output.stderr).contains("secret/for"), "no secret in messages");
}
