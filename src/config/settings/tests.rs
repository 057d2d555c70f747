use super::*;
use crate::config::NODE_CONFIG;
use crate::store::StoreOptions;
use std::fs;
use std::time::Duration;

const NODE: &str = r#"{"s3_bucket_name": "node-bucket", "throttle_rate": "50M/s", "encryption_key": "hunter2",
    "cassandra_data_dir": "/var/lib/cassandra/data"}"#;

struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("config.json"), config).unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("config.json")
    }

    /// With the file as the one that `CASSMOUNT_CONFIG` names.
    fn resolve(&self, options: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Result<Settings> {
        let file = self.path();
        let config = [("CASSMOUNT_CONFIG", file.to_str().unwrap())];
        resolve(options, &[&config[..], variables].concat())
    }
}

fn resolve(options: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Result<Settings> {
    let mut given = CommandLine::default();
    for (name, value) in options {
        match *name {
            "source" => given.source = Some((*value).to_owned()),
            name => given.options.push((name, vec![value.into()])),
        }
    }
    let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Settings::resolve(&given, &environment)
}

fn shown(settings: &Settings) -> String {
    let shown = settings.shown();
    let lines = shown.iter().map(|line| format!("{}={} ({})\n", line.name, line.value, line.origin));
    lines.collect::<Vec<_>>().concat()
}

#[test]
fn a_node_needs_no_flag() {
    let node = Node::new(NODE);
    let settings = node.resolve(&[], &[]).unwrap();
    assert_eq!(settings.source().unwrap(), Source::parse("s3://node-bucket").unwrap());
    assert_eq!((settings.store.throttle, settings.store.timeout), (Some(50 << 20), Duration::from_mins(1)));
    let keys = settings.keys.load().unwrap().ring;
    assert_eq!(keys.keys()[0].passphrase.expose(), b"hunter2");
    assert!(shown(&settings).contains(&format!("live-data-dir=/var/lib/cassandra/data ({})", node.path().display())));
    assert_eq!(settings.live_data_dir().unwrap(), None, "nobody asked for live ids");
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let node = Node::new(NODE);
    let variables = [("CASSMOUNT_KEY_FILE", "/k1:/k2"), ("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_PROFILE", "env")];
    let settings = node.resolve(&[], &variables).unwrap();
    assert_eq!(settings.keys.files, [Path::new("/k1"), Path::new("/k2")]);
    let lines = shown(&settings);
    assert!(lines.contains("key-file=/k2 (CASSMOUNT_KEY_FILE)"), "{lines}");
    assert!(lines.contains("region=eu-west-1 (AWS_DEFAULT_REGION)"), "{lines}");
    assert_eq!(settings.store.profile, None, "the store knows the environment's");

    let flags = [
        ("source", "s3://flag"),
        ("region", "us-east-2"),
        ("profile", "flag"),
        ("throttle", "1"),
        ("key-file", "/k3"),
        ("timeout", "5s"),
    ];
    let settings = node.resolve(&flags, &variables).unwrap();
    assert!(shown(&settings).contains("source=s3://flag (command line)"));
    let store = &settings.store;
    assert_eq!((store.region.as_deref(), store.profile.as_deref()), (Some("us-east-2"), Some("flag")));
    assert_eq!((store.throttle, store.timeout), (Some(1), Duration::from_secs(5)));
    assert_eq!(settings.keys.files, [Path::new("/k3")]);
}

#[test]
fn an_empty_variable_is_not_set() {
    let settings = resolve(&[], &[("CASSMOUNT_CONFIG", ""), ("CASSMOUNT_CACHE_DIR", ""), ("CASSMOUNT_KEY_FILE", "")]);
    let settings = settings.unwrap();
    assert_eq!(settings.config, Path::new(NODE_CONFIG));
    assert!(settings.cache.directory.is_none() && settings.keys.files.is_empty());
}

#[test]
fn a_bad_value_is_told_with_where_it_came_from() {
    let node = Node::new(r#"{"throttle_rate": "fast"}"#);
    let error = node.resolve(&[], &[]).unwrap_err();
    let place = node.path();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().starts_with(&format!("throttle ({}): ", place.display())), "{error}");
}

#[test]
fn defaults_are_those_of_the_parts() {
    let settings = resolve(&[], &[("CASSMOUNT_CONFIG", "")]).unwrap();
    let store = StoreOptions::default();
    assert_eq!(settings.store.timeout, store.timeout);
    assert_eq!(settings.cache.memory_limit, crate::reader::ReaderOptions::default().memory_limit);
}

#[test]
fn live_ids_are_taken_where_somebody_wants_them() {
    let node = Node::new(NODE);
    let ids = |options: &[(&'static str, &str)]| node.resolve(options, &[]).unwrap().live_data_dir();
    assert_eq!(ids(&[("match-live-ids", "")]).unwrap(), Some("/var/lib/cassandra/data".into()));
    assert_eq!(ids(&[("live-data-dir", "/d")]).unwrap(), Some("/d".into()));
    let nowhere = Node::new("{}").resolve(&[("match-live-ids", "")], &[]).unwrap();
    assert_eq!(nowhere.live_data_dir().unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn secrets_are_never_shown() {
    let node = Node::new(NODE);
    let options = [("key-command", "vault --token=t0ken")];
    let settings = node.resolve(&options, &[("AWS_SECRET_ACCESS_KEY", "s3cret")]).unwrap();
    let shown = shown(&settings);
    assert!(shown.contains("encryption-key=***") && shown.contains("key-command=***"), "{shown}");
    let debugged = format!("{:?}", settings.store);
    for secret in ["hunter2", "t0ken", "s3cret"] {
        assert!(!shown.contains(secret) && !debugged.contains(secret), "{shown} {debugged}");
    }
}

#[test]
fn a_named_config_must_be_good_a_found_one_only_warns() {
    let node = Node::new("{");
    assert_eq!(node.resolve(&[], &[]).unwrap_err().kind(), Kind::Invalid);
    let missing = resolve(&[], &[("CASSMOUNT_CONFIG", "/no/such")]);
    assert_eq!(missing.unwrap_err().kind(), Kind::NotFound);

    let mut found = Settings::default();
    let given = |origin| Given { value: node.path().into(), origin };
    assert!(found.read_config(&given(Origin::Default)).unwrap().is_none());
    assert!(found.warnings[0].contains("line 1, column 1"), "{:?}", found.warnings);
    let error = found.source().unwrap_err().to_string();
    assert!(error.contains("no SOURCE was given") && error.contains("line 1"), "{error}");

    let nowhere = Given { value: "/no/such".into(), origin: Origin::Default };
    assert!(Settings::default().read_config(&nowhere).unwrap().is_none());
    assert!(Settings::default().source().is_err());
}

#[test]
fn a_password_in_a_url_is_not_shown() {
    for (url, shown) in [
        ("https://user:secret@host:9000/a", "https://user:***@host:9000/a"),
        ("https://token@host", "https://***@host"),
        ("s3://user:sec@ret@bucket/p@q", "s3://user:***@bucket/p@q"),
        ("https://host/a@b", "https://host/a@b"),
        ("a plain value", "a plain value"),
    ] {
        assert_eq!(super::without_password(url), shown);
    }
}
