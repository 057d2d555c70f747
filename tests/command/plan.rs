//! `restore plan`: how the sample's cluster comes back.

use std::fs;
use std::process::Output;

use serde_json::Value;

use testkit::bucket::sample_keys;
use testkit::command::cassmount;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");

fn plan(source: &str, at: &str, more: &[&str]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let mut command = cassmount();
    command.args(["restore", "plan", source, "--at", at, "--json", "--cache-dir"]).arg(cache.path());
    command.args(more).args(sample_keys()).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn commands(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().unwrap().iter();
    steps.flat_map(|step| step["commands"].as_array().unwrap()).map(|of| of.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_cluster_comes_back_host_by_host_or_onto_other_machines() {
    let output = plan(SAMPLE, "2026-11-21-02-48", &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let same = json(&output);
    assert_eq!((&same["way"], &same["cluster"]), (&"same_topology".into(), &"prod".into()));
    let node = "cassmount restore node --cold-start --source-host cass-b --at 2026-11-21-02-48 --write-config";
    assert!(commands(&same).iter().any(|command| command == node), "{same}");
    let bytes = |plan: &Value| plan["hosts"][0]["bytes"].as_u64().unwrap();
    assert!(bytes(&same) > 100_000 && same["hosts"][1]["point"] == "2026-11-21-02-48", "{same}");

    let work = tempfile::tempdir().unwrap();
    let machines = work.path().join("nodes.json");
    let to = |text: &str| {
        fs::write(&machines, text).unwrap();
        plan(SAMPLE, "2026-11-21-02-48", &["--to", machines.to_str().unwrap()])
    };
    let three = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|of| format!(r#"{{"address":"{of}","datacenter":"dc1"}}"#));
    let load = json(&to(&format!("[{}]", three.join(","))));
    assert_eq!(load["way"], "load", "{load}");
    assert!(commands(&load).iter().any(|command| command.contains("restore load --all")), "{load}");
    let refused = to("[1]");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no list of machines"), "{refused:?}");
}

#[test]
fn what_cannot_be_had_is_said() {
    let early = plan(SAMPLE, "2026-11-20", &[]);
    assert!(!early.status.success() && String::from_utf8_lossy(&early.stderr).contains("as old as"), "{early:?}");

    // A host that has lost its only full, and an archive of the other.
    let work = tempfile::tempdir().unwrap();
    let copy = work.path().join("bucket");
    let copied = std::process::Command::new("cp").arg("-r").arg(SAMPLE).arg(&copy).status().unwrap();
    assert!(copied.success());
    fs::remove_file(copy.join("cass-a/2026-11-21-02-48/shop/users.tar.gz.enc")).unwrap();
    for set in ["2026-11-21-02-45", "2026-11-21-02-47", "2026-11-21-02-48"] {
        fs::remove_dir_all(copy.join("cass-b").join(set)).unwrap();
    }
    let output = plan(copy.to_str().unwrap(), "2026-11-21-02-48", &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let plan = json(&output);
    assert_eq!((&plan["way"], &plan["hosts"][1]["point"]), (&"load".into(), &Value::Null));
    assert!(plan["why"].as_str().unwrap().contains("cass-b has no restore point"), "{plan}");
    assert!(plan["hosts"][0]["lacks"].to_string().contains("shop.users"), "{plan}");
    assert!(plan["notes"].to_string().contains("as of their last repair"), "{plan}");
}
