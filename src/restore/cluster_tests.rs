//! Which way a cluster comes back, for hosts and machines that are made up.

use super::cluster::*;

fn host(name: &str, rack: &str) -> ClusterHost {
    ClusterHost {
        host: name.to_owned(),
        point: Some(format!("point-{name}")),
        time: Some("2026-11-21T02:48:00Z".to_owned()),
        datacenter: Some("dc1".to_owned()),
        rack: Some(rack.to_owned()),
        address: Some(format!("10.0.0.{}", name.len())),
        tokens: 4,
        tables: 7,
        bytes: 1000,
        unread_bytes: 500,
        lacks: Vec::new(),
    }
}

fn request(machines: Option<&str>, factor: &str) -> ClusterRequest {
    let options = [("class", "NetworkTopologyStrategy"), ("dc1", factor)];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    ClusterRequest {
        source: "s3://b".to_owned(),
        options: " --layout medusa --key-file K".to_owned(),
        at: "yesterday".to_owned(),
        hosts: vec![host("a", "r1"), host("bb", "r2")],
        machines: machines.map(|text| parse_machines(text).unwrap()),
        replication: [("shop".to_owned(), options.into())].into(),
        has_tokens: true,
        rate: 100,
    }
}

fn commands(plan: &ClusterPlan, of: &str) -> Vec<String> {
    let of = |step: &&ClusterStep| step.commands.iter().any(|command| command.contains(of));
    let shown =
        |step: &ClusterStep| format!("{}: {}", step.machine.as_deref().unwrap_or("each"), step.commands.join("; "));
    plan.steps.iter().filter(of).map(shown).collect()
}

#[test]
fn the_same_topology_comes_back_node_by_node() {
    let plan = plan_cluster(&request(None, "2"));
    assert_eq!(plan.way, Way::SameTopology);
    let mount = commands(&plan, "cassmount mount");
    assert_eq!(mount, ["each: cassmount mount s3://b /mnt/backups --layout medusa --key-file K --allow-other"]);
    let node = commands(&plan, "restore node --cold-start");
    assert_eq!(
        node[1],
        "the new machine of bb: cassmount restore node --cold-start --source-host bb --at point-bb --write-config"
    );
    // Another order, other addresses but one, and the second is the seed.
    let machines = r#"[{"address": "x", "datacenter": "dc1", "rack": "r1"},
        {"address": "10.0.0.2", "datacenter": "dc1", "rack": "r2", "num_tokens": 4, "seed": true}]"#;
    let plan = plan_cluster(&request(Some(machines), "2"));
    assert_eq!(plan.way, Way::SameTopology);
    let node = commands(&plan, "restore node --cold-start");
    assert!(node[0].starts_with("10.0.0.2: ") && node[0].contains("--source-host bb"), "{node:?}");
    assert!(node[1].starts_with("x: ") && node[1].contains("--source-host a "), "{node:?}");
    assert!(commands(&plan, "systemctl start")[0].starts_with("10.0.0.2: "));
}

#[test]
fn other_machines_get_every_row_or_what_is_theirs() {
    let machines = r#"[{"address": "x", "datacenter": "dc1"}, {"address": "y", "datacenter": "dc1"}]"#;
    let plan = plan_cluster(&request(Some(machines), "2"));
    assert_eq!(plan.way, Way::EveryRow);
    let instant = commands(&plan, "restore instant");
    assert!(instant.len() == 2 && instant[0].contains("--source-host a --source-host bb"), "{instant:?}");
    assert!(commands(&plan, "| cqlsh x").len() == 1);
    let plan = plan_cluster(&request(Some(machines), "1"));
    assert_eq!(plan.way, Way::Load);
    assert!(commands(&plan, "restore load --all --create-schema --node x --at").len() == 1, "{plan:?}");
    assert!(plan.why.contains("1 in dc1/r1, 1 in dc1/r2, the machines 2 in dc1/rack1"), "{}", plan.why);
    assert!(plan.notes.iter().any(|note| note.contains("roles")));
    // What a bucket's keys say is no command.
    let hostile = ClusterRequest { at: "$(id)".to_owned(), ..request(Some(machines), "1") };
    assert!(
        commands(&plan_cluster(&hostile), "restore load")[0].ends_with("--at '$(id)'; cassmount unmount /mnt/backups")
    );
    let other = machines.replace(r#""dc1"}"#, r#""dc1", "rack": "r1", "num_tokens": 16}"#).replacen("r1", "r2", 1);
    let plan = plan_cluster(&request(Some(&other), "1"));
    assert!(plan.why.contains("has num_tokens 4"), "{}", plan.why);
}

#[test]
fn a_host_without_a_restore_point_is_not_passed_over() {
    let mut request = request(None, "1");
    request.hosts[1].point = None;
    let plan = plan_cluster(&request);
    assert_eq!(plan.way, Way::Load);
    assert!(commands(&plan, "restore load")[0].contains("--node NODE --source-host a --at"), "{plan:?}");
    assert!(plan.why.contains("bb has no restore point") && plan.notes.iter().any(|note| note.contains("(shop) lose")));
}

#[test]
fn a_list_of_machines_is_one() {
    for text in ["{}", "[]", r#"[{"address": "x"}]"#, r#"[{"address": "x", "datacenter": "d", "racks": "r"}]"#] {
        assert!(parse_machines(text).is_err(), "{text}");
    }
    for address in ["", "10.0.1.1; rm -rf /", "10.0.1.1\\n", "10.0.1.1 "] {
        let text = format!(r#"[{{"address": "{address}", "datacenter": "d"}}]"#);
        assert!(parse_machines(&text).unwrap_err().to_string().contains("no address"), "{text}");
    }
    let marked = "\u{feff}[{\"address\": \"2001:db8::1\", \"datacenter\": \"d\"}]";
    assert_eq!(parse_machines(marked).unwrap().len(), 1);
    let twice = r#"[{"address": "x", "datacenter": "d"}, {"address": "x", "datacenter": "d"}]"#;
    assert!(parse_machines(twice).unwrap_err().to_string().contains("twice"));
}

/// Two datacenters: two hosts in one, one in the other.
fn two_datacenters(machines: &[(&str, &str)], factors: [&str; 2]) -> ClusterPlan {
    let of = |(address, datacenter): &(&str, &str)| {
        let seed = *address != "y";
        format!(r#"{{"address": "{address}", "datacenter": "{datacenter}", "rack": "r1", "seed": {seed}}}"#)
    };
    let machines: Vec<String> = machines.iter().map(of).collect();
    let mut request = request(Some(&format!("[{}]", machines.join(","))), "1");
    request.hosts = vec![host("a", "r1"), host("bb", "r1"), host("ccc", "r1")];
    request.hosts[2].datacenter = Some("dc2".to_owned());
    let shop = request.replication.get_mut("shop").unwrap();
    for (name, factor) in ["dc1", "dc2"].into_iter().zip(factors) {
        shop.insert(name.to_owned(), factor.to_owned());
    }
    plan_cluster(&request)
}

#[test]
fn datacenters_are_not_mixed() {
    // The hosts of a datacenter go onto its machines; its seeds are started before the others.
    let plan = two_datacenters(&[("z", "dc2"), ("x", "dc1"), ("y", "dc1")], ["2", "1"]);
    assert_eq!(plan.way, Way::SameTopology);
    let node = commands(&plan, "restore node --cold-start");
    let ccc = node.iter().find(|line| line.contains("--source-host ccc ")).unwrap();
    assert!(ccc.starts_with("z: ") && node.len() == 3, "{node:?}");
    assert!(commands(&plan, "systemctl start")[2].starts_with("y: "), "{plan:?}");
    // As many machines, but one in the wrong datacenter.
    let plan = two_datacenters(&[("z", "dc2"), ("x", "dc1"), ("y", "dc2")], ["2", "1"]);
    assert_eq!(plan.way, Way::Load);
    assert!(plan.why.contains("2 in dc1/r1, 1 in dc2/r1, the machines 1 in dc1/r1, 2 in dc2/r1"), "{}", plan.why);
    // Each datacenter has every row: both have to.
    let two = [("x", "dc1"), ("z", "dc2")];
    assert_eq!(two_datacenters(&two, ["1", "1"]).way, Way::EveryRow);
    assert_eq!(two_datacenters(&two, ["2", "0"]).way, Way::Load);
    let told = |plan: &ClusterPlan, of: &str| plan.notes.iter().any(|note| note.contains(of));
    assert!(!told(&two_datacenters(&two, ["2", "0"]), "datacenters of the machines"));
    let elsewhere = two_datacenters(&[("x", "east"), ("z", "west")], ["2", "1"]);
    assert!(told(&elsewhere, "datacenters of the machines (east, west): shop. Create them by hand"), "{elsewhere:?}");
    assert!(told(&two_datacenters(&[("x", "dc1")], ["0", "0"]), "of the machines (dc1): shop."));
}
