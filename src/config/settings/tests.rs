use super::*;
use std::fs;

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

    fn resolve(&self, flags: Flags, variables: &[(&str, &str)]) -> Result<Settings> {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::resolve_with(flags, environment, &self.path())
    }
}

#[test]
fn a_node_needs_no_flag() {
    let node = Node::new(NODE);
    let settings = node.resolve(Flags::default(), &[]).unwrap();
    assert_eq!(settings.source().unwrap(), Source::parse("s3://node-bucket").unwrap());
    let options = settings.store_options();
    assert_eq!((options.throttle, options.timeout), (Some(50 << 20), DEFAULT_TIMEOUT));
    let keys = settings.key_sources().load().unwrap().ring;
    assert_eq!(keys.keys()[0].passphrase.expose(), b"hunter2");
    assert_eq!(settings.cassandra_data_dir.unwrap().origin, Origin::Config(node.path()));
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let node = Node::new(NODE);
    let variables = [("CASSMOUNT_KEY_FILE", "/k1:/k2"), ("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_PROFILE", "env")];
    let settings = node.resolve(Flags::default(), &variables).unwrap();
    assert_eq!(settings.key_files.value, [Path::new("/k1"), Path::new("/k2")]);
    assert_eq!(settings.key_files.origin, Origin::Environment("CASSMOUNT_KEY_FILE"));
    assert_eq!(settings.region, Some(Setting::new("eu-west-1".into(), Origin::Environment("AWS_DEFAULT_REGION"))));
    assert_eq!(settings.store_options().profile, None, "the store knows the environment's");

    let flags = Flags {
        source: Some("s3://flag".into()),
        region: Some("us-east-2".into()),
        profile: Some("flag".into()),
        throttle: Some(1),
        key_files: vec!["/k3".into()],
        timeout: Some(Duration::from_secs(5)),
        ..Flags::default()
    };
    let settings = node.resolve(flags, &variables).unwrap();
    assert_eq!(settings.source, Some(Setting::new("s3://flag".into(), Origin::Flag)));
    let options = settings.store_options();
    assert_eq!((options.region.as_deref(), options.profile.as_deref()), (Some("us-east-2"), Some("flag")));
    assert_eq!((options.throttle, options.timeout), (Some(1), Duration::from_secs(5)));
    assert_eq!(settings.key_files.value, [Path::new("/k3")]);
}

#[test]
fn secrets_are_never_shown() {
    let node = Node::new(NODE);
    let flags = Flags { key_command: Some("vault --token=t0ken".into()), ..Flags::default() };
    let settings = node.resolve(flags, &[("AWS_SECRET_ACCESS_KEY", "s3cret")]).unwrap();
    let lines = settings.show().into_iter().map(|line| format!("{}={} ({})", line.name, line.value, line.origin));
    let shown = lines.collect::<Vec<_>>().join(
        "
",
    );
    assert!(shown.contains("encryption-key=***") && shown.contains("source=s3://node-bucket"), "{shown}");
    let debugged = format!("{:?} {:?}", settings.store_options(), settings.environment);
    for secret in ["hunter2", "t0ken", "s3cret"] {
        assert!(!shown.contains(secret) && !debugged.contains(secret), "{shown} {debugged}");
    }
}

#[test]
fn a_named_config_must_be_good_a_found_one_only_warns() {
    let node = Node::new("{");
    let settings = node.resolve(Flags::default(), &[]).unwrap();
    assert!(settings.warnings[0].contains("line 1, column 1"), "{:?}", settings.warnings);
    let error = settings.source().unwrap_err().to_string();
    assert!(error.contains("no SOURCE was given") && error.contains("line 1"), "{error}");
    let named = Flags { config: Some(node.path()), ..Flags::default() };
    assert_eq!(node.resolve(named, &[]).unwrap_err().kind(), Kind::Invalid);
    let missing = node.resolve(Flags::default(), &[("CASSMOUNT_CONFIG", "/no/such")]);
    assert_eq!(missing.unwrap_err().kind(), Kind::NotFound);

    let nowhere = Settings::resolve_with(Flags::default(), Environment::default(), Path::new("/no/such")).unwrap();
    assert!(nowhere.source().is_err() && nowhere.key_sources().load().unwrap().ring.is_empty());
}
