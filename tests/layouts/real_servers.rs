//! Each layout on servers of other people: all of it is found and read there as in a directory.

use crate::case::LayoutCase;
use crate::command::{Mounted, cassmount};
use crate::history::{Set, Table, history};
use crate::skip;
use crate::unpacked::files_below;
use crate::walk::{Seen, walk_path};
use crate::{data_dir, esop, medusa, mesos, node_archives, rsync, scripts};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use testkit::azurite::Azurite;
use testkit::fake_gcs::FakeGcs;
use testkit::real_s3::RealS3;

const HOST: &str = "cass-b";
const POINT: &str = "restore-points/2026-11-21-02-45";
type Objects = Vec<(String, Vec<u8>)>;

/// A layout as it was written, and what is known of it from the directory that it was written to.
struct Written {
    prefix: String,
    objects: Objects,
    arguments: Vec<String>,
    /// How many bytes there are to verify.
    bytes: u64,
    directory: tempfile::TempDir,
}

/// A server with a bucket `layouts`.
struct Server<'a> {
    source: &'static str,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    put: Box<dyn Fn(Objects) + 'a>,
}

/// How many bytes `verify --deep` read, with nothing found.
fn verified(source: &str, arguments: &[String], environment: &[(String, String)]) -> u64 {
    let cache = tempfile::tempdir().unwrap();
    let mut command = cassmount();
    command.args(["verify", source, "--deep", "--json"]).args(arguments).arg("--cache-dir").arg(cache.path());
    let output = command.envs(environment.iter().cloned()).output().unwrap();
    assert!(output.status.success(), "{source}: {output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["findings"], Value::Array(Vec::new()), "{source}: {said:#}");
    said["checked"]["bytes"].as_u64().unwrap()
}

impl Written {
    /// A full and an incremental of a keyspace of users' tables, and of what describes it.
    fn new<L: LayoutCase>(number: usize) -> Self {
        let is_empty = |table: &Table| !files_below(&table.files).iter().any(|(name, ..)| name.ends_with("-Data.db"));
        let is_kept = |table: &Table| match &*table.keyspace {
            "system_schema" => !is_empty(table),
            keyspace => keyspace == "shop",
        };
        let directory = tempfile::tempdir().unwrap();
        let is_early = |set: &Set| set.host == HOST && *set.tag < *"2026-11-21-02-48";
        L::write(&history().some(is_early, is_kept), directory.path());
        let prefix = format!("{}-{number}", L::NAME);
        let files = files_below(directory.path());
        let objects = files.into_iter().map(|(key, content, _)| (format!("{prefix}/{key}"), content)).collect();
        // An option and its value each. Hosts are called what they are.
        let arguments = L::arguments();
        let pairs = arguments.chunks(2).filter(|pair| pair[0] != "--rename-host");
        let arguments = pairs.flatten().cloned().collect::<Vec<_>>();
        let bytes = verified(directory.path().to_str().unwrap(), &arguments, &[]);
        assert!(bytes > 100_000, "{bytes}");
        Self { prefix, objects, arguments, bytes, directory }
    }
}

fn written() -> &'static [Written] {
    static WRITTEN: OnceLock<Vec<Written>> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        vec![
            Written::new::<data_dir::DataDirs>(0),
            Written::new::<esop::Backups>(1),
            Written::new::<medusa::Full>(2),
            Written::new::<medusa::Differential>(3),
            Written::new::<mesos::Executors>(4),
            Written::new::<node_archives::ByDate>(5),
            Written::new::<rsync::Collected>(6),
            Written::new::<scripts::ByHost>(7),
        ]
    })
}

fn hold(test: &str, server: &Server<'_>) {
    for written in written() {
        (server.put)(written.objects.clone());
        let source = format!("{}/{}", server.source, written.prefix);
        let arguments = [&written.arguments[..], &server.arguments].concat();
        assert_eq!(verified(&source, &arguments, &server.environment), written.bytes, "{source}");
    }
    if !skip::fuse_or_skip(test) {
        return;
    }
    // Times are those of the upload.
    let shown = |mounted: &Mounted| -> BTreeMap<String, String> {
        let shown = walk_path(&mounted.path(format!("{HOST}/{POINT}")));
        let files = shown.into_iter().filter_map(|(path, seen)| match seen {
            Seen::File(_, hash, _) => Some((path, hash)),
            Seen::Directory | Seen::Link(_) => None,
        });
        files.collect()
    };
    let of_nodes = &written()[0];
    let expected = shown(&Mounted::start(of_nodes.directory.path().to_str().unwrap(), &[]));
    assert!(expected.len() > 20, "{expected:?}");
    let arguments: Vec<&str> = server.arguments.iter().map(String::as_str).collect();
    let source = format!("{}/{}", server.source, of_nodes.prefix);
    let mounted = Mounted::start_with(&source, &arguments, &server.environment).unwrap();
    assert_eq!(shown(&mounted), expected);
}

#[test]
fn every_layout_is_read_from_an_s3_server_as_from_a_directory() {
    let test = "every_layout_is_read_from_an_s3_server_as_from_a_directory";
    let Some(server) = RealS3::versity_or_skip(test) else { return };
    server.create_bucket("layouts", false);
    let put = Box::new(|objects| server.put("layouts", objects));
    let environment = server.environment();
    hold(test, &Server { source: "s3://layouts", environment, arguments: Vec::new(), put });
}

#[test]
fn every_layout_is_read_from_azure_as_from_a_directory() {
    let test = "every_layout_is_read_from_azure_as_from_a_directory";
    let Some(server) = Azurite::start_or_skip(test) else { return };
    server.create_container("layouts");
    let put = Box::new(|objects| server.put("layouts", objects));
    let environment = server.environment();
    hold(test, &Server { source: "az://layouts", environment, arguments: Vec::new(), put });
}

#[test]
fn every_layout_is_read_from_google_as_from_a_directory() {
    let test = "every_layout_is_read_from_google_as_from_a_directory";
    let Some(server) = FakeGcs::start_or_skip(test) else { return };
    server.create_bucket("layouts");
    let put = Box::new(|objects| server.put("layouts", objects));
    let arguments = vec!["--endpoint-url".into(), server.endpoint(), "--no-sign-request".into()];
    hold(test, &Server { source: "gs://layouts", environment: Vec::new(), arguments, put });
}
