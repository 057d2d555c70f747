//! Credentials as people have them, from AWS's services on loopback.

use cassmount::store::{ObjectMeta, Source, Store, StoreOptions};
use cassmount::{Error, Kind};
use futures::TryStreamExt;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testkit::aws_services::{AwsServices, ServiceHabits, static_profile};
use testkit::s3::{ACCESS_KEY, S3Server, SECRET_KEY};

/// A bucket, the services, and a home with `~/.aws`.
struct Scene {
    server: S3Server,
    services: AwsServices,
    work: tempfile::TempDir,
}

impl Scene {
    fn new(config: &str, habits: ServiceHabits) -> Self {
        let work = tempfile::tempdir().unwrap();
        fs::create_dir_all(work.path().join("root/bucket")).unwrap();
        fs::create_dir_all(work.path().join(".aws/sso/cache")).unwrap();
        fs::write(work.path().join("root/bucket/x"), "content").unwrap();
        fs::write(work.path().join(".aws/config"), config).unwrap();
        fs::write(work.path().join(".aws/credentials"), static_profile("base")).unwrap();
        let server = S3Server::start(&work.path().join("root"));
        let services = AwsServices::start(&server, habits);
        Self { server, services, work }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.work.path().join(below)
    }

    fn options(&self, profile: Option<&str>, variables: &[(&str, &str)]) -> StoreOptions {
        let mut environment = self.services.environment();
        environment.push(("HOME".into(), self.work.path().display().to_string()));
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        StoreOptions {
            profile: profile.map(str::to_owned),
            endpoint_url: Some(self.server.endpoint()),
            environment,
            timeout: Duration::from_secs(20),
            ..StoreOptions::default()
        }
    }

    fn open(&self, profile: &str) -> Store {
        open(&self.options(Some(profile), &[]))
    }
}

fn open(options: &StoreOptions) -> Store {
    Store::open(&Source::parse("s3://bucket").unwrap(), options).unwrap()
}

async fn keys(store: &Store) -> Result<usize, Error> {
    store.list("").try_collect::<Vec<ObjectMeta>>().await.map(|objects| objects.len())
}

const CHAIN: &str = "\
[profile first]
role_arn = arn:aws:iam::1:role/first
source_profile = base
external_id = agreed
[profile second]
role_arn = arn:aws:iam::2:role/second
source_profile = first
role_session_name = night
duration_seconds = 900
";

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_roles_is_assumed_one_after_the_other() {
    let scene = Scene::new(CHAIN, ServiceHabits::default());
    let store = scene.open("second");
    assert_eq!(keys(&store).await.unwrap(), 1);
    store.head("x").await.unwrap();
    let seen = scene.services.seen();
    assert_eq!(seen.len(), 2, "asked once each: {seen:?}");
    let has = |text: &String, parts: &[&str]| parts.iter().all(|part| text.contains(part));
    let first =
        ["Action=AssumeRole&", "role%2Ffirst", "ExternalId=agreed", "RoleSessionName=cassmount", "/us-east-1/sts/"];
    assert!(has(&seen[0], &first) && seen[0].contains("Credential=AKIACASSMOUNT/"), "{seen:?}");
    let second =
        ["role%2Fsecond", "RoleSessionName=night", "DurationSeconds=900", "Credential=ASIA1/", "security-token=ttt"];
    assert!(has(&seen[1], &second), "{seen:?}");
    // Keys of the source that are rotated under it are taken the next time.
    scene.services.set(ServiceHabits { refuses: Some(403), ..ServiceHabits::default() });
    let error = scene.open("first").check().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    let said = error.to_string();
    assert!(said.contains("\"first\"") && said.contains("role/first") && said.contains("AccessDenied"), "{said}");
    assert!(!said.contains(SECRET_KEY), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_hold_for_two_seconds_fail_no_read() {
    let habits = ServiceHabits { lifetime: Duration::from_secs(2), ..ServiceHabits::default() };
    let scene = Scene::new(CHAIN, habits);
    let store = scene.open("first");
    let object = store.head("x").await.unwrap();
    let started = Instant::now();
    let reader = |store: Store, object: ObjectMeta| async move {
        let mut reads = 0;
        while started.elapsed() < Duration::from_secs(7) {
            store.get_range(&object, 0..7).await?;
            reads += 1;
        }
        Ok::<_, Error>(reads)
    };
    let reads = (0..4).map(|_| tokio::spawn(reader(store.clone(), object.clone())));
    for read in reads.collect::<Vec<_>>() {
        assert!(read.await.unwrap().unwrap() > 0);
    }
    let asked = scene.services.seen().len();
    assert!((4..40).contains(&asked), "renewed at half of their time, not at each read: {asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_service_is_no_refusal_once_there_were_credentials() {
    let short = ServiceHabits { lifetime: Duration::from_secs(1), ..ServiceHabits::default() };
    let scene = Scene::new(CHAIN, short.clone());
    let store = scene.open("first");
    let object = store.head("x").await.unwrap();
    scene.services.set(ServiceHabits { refuses: Some(503), ..short.clone() });
    let reading = tokio::spawn({
        let store = store.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            store.get_range(&object, 0..7).await
        }
    });
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!reading.is_finished(), "it waits for the service");
    scene.services.set(ServiceHabits::default());
    assert_eq!(reading.await.unwrap().unwrap(), "content");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_sso_is_exchanged_and_renewed() {
    let config = "\
[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://corp.example/start
[profile sso]
sso_session = corp
sso_account_id = 42
sso_role_name = reader
";
    let scene = Scene::new(config, ServiceHabits::default());
    let error = scene.open("sso").check().await.unwrap_err();
    assert!(error.to_string().contains("log in with `aws sso login`"), "{error}");
    // SHA-1 of «corp», as `aws sso login` names the file.
    let cache = scene.path(".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json");
    assert!(error.to_string().contains(&cache.display().to_string()), "{error}");
    let token = |expires: &str, more: &str| {
        fs::write(&cache, format!("{{\"accessToken\":\"logged-in\",\"expiresAt\":\"{expires}\",\"kept\":1{more}}}"))
            .unwrap();
    };
    token("2999-01-01T00:00:00Z", "");
    assert_eq!(keys(&scene.open("sso")).await.unwrap(), 1);
    let seen = scene.services.seen().pop().unwrap();
    assert!(seen.contains("role_name=reader&account_id=42") && seen.contains("token=logged-in"), "{seen}");
    // One that has expired is renewed, and the AWS tools find the new one.
    token("2001-01-01T00:00:00Z", ",\"clientId\":\"id\",\"clientSecret\":\"s\",\"refreshToken\":\"once\"");
    assert_eq!(keys(&scene.open("sso")).await.unwrap(), 1);
    let kept = fs::read_to_string(&cache).unwrap();
    for part in ["\"renewed\"", "\"next\"", "\"kept\":1", "\"id\""] {
        assert!(kept.contains(part), "{kept}");
    }
    let seen = scene.services.seen();
    assert!(
        seen[seen.len() - 2].contains("\"refreshToken\":\"once\"") && seen.last().unwrap().contains("token=renewed")
    );
    token("2001-01-01T00:00:00Z", "");
    let error = scene.open("sso").check().await.unwrap_err();
    assert!(error.kind() == Kind::Denied && error.to_string().contains("has expired"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn web_identities_and_the_services_of_containers_and_instances_give_credentials() {
    let scene =
        Scene::new("[profile web]\nrole_arn = arn:w\nweb_identity_token_file = TOKEN\n", ServiceHabits::default());
    let token = scene.path("token");
    fs::write(&token, "first\n").unwrap();
    let config = fs::read_to_string(scene.path(".aws/config")).unwrap();
    fs::write(scene.path(".aws/config"), config.replace("TOKEN", &token.display().to_string())).unwrap();
    assert_eq!(keys(&scene.open("web")).await.unwrap(), 1);
    let by_environment = [("AWS_ROLE_ARN", "arn:e"), ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap())];
    fs::write(&token, "second").unwrap();
    assert_eq!(keys(&open(&scene.options(None, &by_environment))).await.unwrap(), 1);
    let container = format!("{}/container", scene.services.url());
    let of_container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
    ];
    assert_eq!(keys(&open(&scene.options(None, &of_container))).await.unwrap(), 1);
    // Without a token, as by helpers on the machine.
    assert_eq!(keys(&open(&scene.options(None, &of_container[..1]))).await.unwrap(), 1);
    let url = scene.services.url();
    assert_eq!(keys(&open(&scene.options(None, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)]))).await.unwrap(), 1);
    let seen = scene.services.seen();
    for (number, part) in [
        (0, "WebIdentityToken=first"),
        (1, "WebIdentityToken=second"),
        (2, "GET /container  authorization=second"),
        (3, "GET /container "),
        (4, "PUT /latest/api/token"),
        (6, "backup-reader  x-aws-ec2-metadata-token=session"),
    ] {
        assert!(seen[number].contains(part), "{part}: {seen:?}");
    }
    assert!(!seen[0].contains("authorization"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_refuse_or_hang_are_named_within_seconds() {
    let scene = Scene::new("", ServiceHabits { silent: true, ..ServiceHabits::default() });
    let url = scene.services.url();
    let container = format!("{url}/container");
    let started = Instant::now();
    for (variable, value, service) in [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url, "the instance's metadata service: "),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container, "the container's service: "),
    ] {
        for (habits, why) in [
            (ServiceHabits { refuses: Some(403), ..ServiceHabits::default() }, "HTTP status 403"),
            (ServiceHabits { silent: true, ..ServiceHabits::default() }, "no answer within 5 s"),
        ] {
            scene.services.set(habits);
            let error = open(&scene.options(None, &[(variable, value)])).check().await.unwrap_err();
            let said = error.to_string();
            assert_eq!(error.kind(), Kind::Denied, "{said}");
            assert!(said.contains("no credentials for s3://bucket") && said.contains(service), "{said}");
            assert!(said.contains(why) && said.contains(".aws/credentials"), "{said}");
        }
    }
    // Nor is a token sent to a far host in plain HTTP.
    let far = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://198.51.100.1/x")];
    let error = open(&scene.options(None, &far)).check().await.unwrap_err();
    assert!(error.to_string().contains("has to be https://"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_by_half_or_hangs_is_named() {
    let config = "\
[profile slow]
credential_process = sleep 9
[profile ecs]
role_arn = arn:e
credential_source = EcsContainer
";
    let scene = Scene::new(config, ServiceHabits::default());
    let login = format!(
        "[profile login]\ncredential_process = echo run >>{}; sleep 1; echo '{{\"Version\":1,\"AccessKeyId\":\"{ACCESS_KEY}\",\
         \"SecretAccessKey\":\"{SECRET_KEY}\"}}'\n",
        scene.path("runs").display()
    );
    fs::write(scene.path(".aws/config"), config.to_owned() + &login).unwrap();
    for (set, lacks) in
        [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")]
    {
        let source = Source::parse("s3://bucket").unwrap();
        let error = Store::open(&source, &scene.options(None, &[(set, "x")])).unwrap_err();
        assert!(error.to_string().contains(&format!("{set} is set, and {lacks} is not")), "{error}");
    }
    // A process that takes longer than an attempt is not begun anew by the next one.
    let timeout = Duration::from_secs(2);
    let store = open(&StoreOptions { timeout, ..scene.options(Some("login"), &[]) });
    store.check().await.unwrap();
    assert_eq!(fs::read_to_string(scene.path("runs")).unwrap(), "run\n");
    for (profile, says) in [("slow", "credential_process of the AWS profile: it did not end"), ("ecs", "neither AWS_C")]
    {
        let timeout = Duration::from_secs(1);
        let error = open(&StoreOptions { timeout, ..scene.options(Some(profile), &[]) }).check().await.unwrap_err();
        assert!(error.kind() == Kind::Denied && error.to_string().contains(says), "{error}");
    }
}
