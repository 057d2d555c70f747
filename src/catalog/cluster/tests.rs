use super::*;
use crate::catalog::testing::{TestSet, host_sets_of};
use crate::catalog::{Cause, SetKind, Subject};
use std::collections::BTreeMap;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// 2026-11-01T00:00:00Z.
const NOVEMBER: i64 = 1_793_491_200;

/// Four sets a day for 28 days, a full on the 1st, 8th, 15th and 22nd; `minute` is the host's own.
fn month(minute: i64) -> Vec<TestSet> {
    let set = |index: i64| TestSet {
        start: NOVEMBER + index * 6 * HOUR + 2 * HOUR + minute * 60,
        length: 60,
        kind: Some(if index % 28 == 0 { SetKind::Full } else { SetKind::Incremental }),
        cluster: (index % 28 == 0).then_some("prod"),
        ..TestSet::default()
    };
    (0..112).map(set).collect()
}

/// Twelve hosts of which some have a fault each.
fn fleet() -> Vec<Arc<HostSets>> {
    let host = |number: i64| {
        let mut sets = month(number % 5);
        match number {
            3 => sets.truncate(100),
            5 => sets[40].listed = Some(vec!["t", "gone"]),
            7 => drop(sets.drain(52..60)),
            9 => drop(sets.remove(56)),
            _ => {}
        }
        Arc::new(host_sets_of(&format!("cass-{number:02}"), &sets))
    };
    (1..=12).map(host).collect()
}

fn end() -> Timestamp {
    Timestamp::from_secs(NOVEMBER + 28 * DAY)
}

fn only_view(hosts: &[Arc<HostSets>]) -> ClusterView {
    let mut views = clusters(hosts, end());
    assert_eq!(views.len(), 1);
    views.remove(0)
}

#[test]
fn each_fault_of_a_fleet_is_found_and_no_other() {
    let view = only_view(&fleet());
    assert_eq!((view.name.as_deref(), view.hosts.len(), &view.faults), (Some("prod"), 12, &Vec::new()));
    let tag = Tag::new;
    for host in &view.hosts {
        let expected = match &*host.sets.host.0 {
            "cass-03" => vec![HostFault::Stopped { last: tag("2026-11-25-20-03"), seconds: 3 * DAY + 60 }],
            "cass-07" => vec![
                HostFault::Pause { after: tag("2026-11-13-20-02"), before: tag("2026-11-16-02-02"), seconds: 2 * DAY },
                HostFault::FullMissed { after: tag("2026-11-08-02-02"), day: "2026-11-15".into(), chain: 48 },
            ],
            "cass-09" => {
                // The set that it lacks is the full.
                let after = tag("2026-11-08-02-04");
                vec![
                    HostFault::Pause {
                        after: tag("2026-11-14-20-04"),
                        before: tag("2026-11-15-08-04"),
                        seconds: 6 * HOUR,
                    },
                    HostFault::FullMissed { after, day: "2026-11-15".into(), chain: 55 },
                ]
            }
            _ => Vec::new(),
        };
        assert_eq!(host.faults, expected, "{}", host.sets.host);
        assert_eq!(
            host.lacking > 0,
            ["cass-05", "cass-07", "cass-09"].contains(&&*host.sets.host.0),
            "{}",
            host.sets.host
        );
    }
    // A table that a manifest lists.
    let lack = view.hosts[4].sets.completeness.lacks().next().unwrap();
    assert_eq!((&lack.cause, lack.set.0.as_ref()), (&Cause::ManifestList, "2026-11-11-02-00"));
    assert!(matches!(&lack.subject, Subject::Table { table } if &*table.table == "gone"));
}

#[test]
fn fulls_that_are_minutes_apart_are_all_there() {
    let full = |start| TestSet { start: NOVEMBER + start, length: 10, kind: Some(SetKind::Full), ..TestSet::default() };
    let hosts = [("a", [0, 360]), ("b", [60, 420])];
    let hosts = hosts.map(|(name, starts)| Arc::new(host_sets_of(name, &starts.map(full))));
    for host in only_view(&hosts).hosts {
        assert!(!host.faults.iter().any(|fault| matches!(fault, HostFault::FullMissed { .. })), "{:?}", host.faults);
    }
}

#[test]
fn all_hosts_go_back_to_the_last_set_of_the_one_that_stopped() {
    let view = only_view(&fleet());
    assert_eq!(view.points.len(), 112, "tags that differ by minutes are of one run");
    let newest = view.newest().unwrap();
    assert_eq!((&*newest.tag.0, newest.whole(), newest.expected), ("2026-11-28-20-04", 11, 12));
    assert_eq!(newest.absences, [(Host::new("cass-03"), Absence::NoSet)]);
    let all = view.newest_of_all().unwrap();
    assert_eq!((&*all.tag.0, all.whole(), all.kind), ("2026-11-25-20-04", 12, SetKind::Incremental));
    assert_eq!((all.last.0 - all.first.0) / 60_000_000, 4);
    // Within the pauses nobody is restored whole who has them behind them.
    let within = view.points.iter().find(|point| &*point.tag.0 == "2026-11-17-08-04").unwrap();
    let names: Vec<&str> = within.absences.iter().map(|(host, _)| &*host.0).collect();
    assert_eq!(names, ["cass-07", "cass-09"]);
    assert_eq!(view.points.iter().filter(|point| point.kind == SetKind::Full).count(), 4);
}

#[test]
fn fulls_of_neighbouring_minutes_are_one_run_however_often_sets_are_made() {
    let host = |name: &str, full: i64| {
        let set = |minute: i64| TestSet {
            start: NOVEMBER + minute * 60,
            length: 10,
            kind: Some(if [0, full].contains(&minute) { SetKind::Full } else { SetKind::Incremental }),
            ..TestSet::default()
        };
        Arc::new(host_sets_of(name, &[0, 2, 3, 4, full, 7].map(set)))
    };
    let view = only_view(&[host("a", 5), host("b", 6)]);
    let runs: Vec<(&str, usize, SetKind)> =
        view.points.iter().map(|point| (&*point.tag.0, point.whole(), point.kind)).collect();
    assert_eq!(runs.len(), 6, "{runs:?}");
    assert_eq!(runs[4], ("2026-11-01-00-06", 2, SetKind::Full));
    // A host that made no set then does not take part with its next.
    let mut sets =
        [0, 2, 3, 4, 6, 7].map(|minute| TestSet { start: NOVEMBER + minute * 60, length: 10, ..month(0)[1].clone() });
    sets[0].kind = Some(SetKind::Full);
    let view = only_view(&[host("a", 5), Arc::new(host_sets_of("b", &sets))]);
    assert_eq!(view.points.len(), 7, "{:?}", view.points);
}

#[test]
fn a_host_that_is_a_minute_behind_lacks_no_run() {
    let host = |name: &str, late: i64| {
        let set = |minute: i64| TestSet {
            start: NOVEMBER + (minute + late) * 60,
            length: 10,
            kind: Some(if minute == 0 { SetKind::Full } else { SetKind::Incremental }),
            cluster: (minute == 0).then_some("prod"),
            ..TestSet::default()
        };
        Arc::new(host_sets_of(name, &[0, 2, 3, 4, 6, 7].map(set)))
    };
    let view = only_view(&[host("a", 0), host("b", 1)]);
    let absences: Vec<_> = view.points.iter().filter(|point| !point.absences.is_empty()).collect();
    assert!(absences.is_empty(), "{absences:?}");
    assert!(view.hosts.iter().all(|host| host.lacking == 0 && host.faults.is_empty()));
}

/// A host that made fulls these seconds after the beginning.
fn fulls(name: &str, starts: impl IntoIterator<Item = i64>) -> Arc<HostSets> {
    let full = |start| TestSet { start: NOVEMBER + start, length: 10, kind: Some(SetKind::Full), ..TestSet::default() };
    let sets: Vec<TestSet> = starts.into_iter().map(full).collect();
    Arc::new(host_sets_of(name, &sets))
}

#[test]
fn no_host_is_restored_to_a_set_that_it_lacks_however_near_its_last_one_is() {
    let view = only_view(&[fulls("a", [0, 300, 600]), fulls("b", [0, 300])]);
    assert_eq!(view.newest().unwrap().absences, [(Host::new("b"), Absence::NoSet)]);
    assert_eq!(&*view.newest_of_all().unwrap().tag.0, "2026-11-01-00-05");
}

#[test]
fn a_host_of_few_sets_is_late_by_its_own_rhythm() {
    let faults = |days: i64, weekly: [i64; 3]| {
        let daily = |name: &str| fulls(name, (0..=days).map(|day| day * DAY));
        let view = only_view(&[daily("a"), daily("b"), fulls("w", weekly.map(|day| day * DAY))]);
        assert!(view.hosts[..2].iter().all(|host| host.faults.is_empty()));
        view.hosts[2].faults.clone()
    };
    let weekly = [0, 7, 14];
    let last = || Tag::new("2026-11-15-00-00");
    assert_eq!(faults(21, weekly), []);
    assert_eq!(faults(22, weekly), [HostFault::Overdue { last: last(), pause: 7 * DAY, seconds: 8 * DAY }]);
    assert_eq!(faults(25, weekly), [HostFault::Stopped { last: last(), seconds: 11 * DAY }]);
    // By no rhythm nothing is due.
    assert!(!faults(22, [0, 4, 14]).iter().any(|fault| matches!(fault, HostFault::Overdue { .. })));
}

#[test]
fn days_have_their_sets() {
    let view = only_view(&fleet());
    let first = NOVEMBER / DAY;
    let strip = |number: usize| -> String {
        let sign = |day: &Day| match day {
            Day { lacking: true, .. } => '!',
            Day { fulls: 1.., .. } => 'F',
            Day { incrementals: 0, .. } => '.',
            Day { incrementals, .. } => char::from_digit(*incrementals, 10).unwrap(),
        };
        days(&view.hosts[number - 1].sets, first, 28).iter().map(sign).collect()
    };
    assert_eq!(strip(2), "F444444F444444F444444F444444");
    assert_eq!(strip(3), "F444444F444444F444444F444...");
    assert_eq!(strip(5), "F444444F44!444F444444F444444");
    assert_eq!(strip(7), "F444444F44444..444444F444444");
    assert_eq!(strip(9), "F444444F4444443444444F444444");
    assert_eq!(first_and_last_day(&view.hosts[2].sets), Some((first, first + 24)));
}

#[test]
fn a_cluster_that_stopped_or_paused_as_a_whole_is_told() {
    let mut sets = month(0);
    sets.drain(20..28);
    let host = |name: &str| Arc::new(host_sets_of(name, &sets));
    let hosts = [host("a"), host("b")];
    let view = clusters(&hosts, Timestamp::from_secs(NOVEMBER + 31 * DAY)).remove(0);
    assert!(view.hosts.iter().all(|host| host.faults.is_empty()), "{:?}", view.hosts[0].faults);
    let [ClusterFault::Pause { seconds, .. }, ClusterFault::Silent { seconds: silence, .. }] = &view.faults[..] else {
        panic!("{:?}", view.faults)
    };
    assert_eq!((*seconds, *silence), (2 * DAY, 3 * DAY + 4 * HOUR));
}

/// One of ten years later, made by a wrong clock.
#[test]
fn a_set_of_the_future_hides_neither_that_a_host_stopped_nor_its_days() {
    let mut sets = month(3);
    sets.truncate(100);
    let to_come = TestSet { start: sets[99].start + 3650 * DAY, listed_at: end().secs(), ..sets[99].clone() };
    sets.push(to_come);
    let mut hosts = fleet();
    hosts[2] = Arc::new(host_sets_of("cass-03", &sets));
    let view = only_view(&hosts);
    let host = &view.hosts[2];
    let stopped = HostFault::Stopped { last: Tag::new("2026-11-25-20-03"), seconds: 3 * DAY + 60 };
    assert_eq!(host.faults, [stopped]);
    assert_eq!(host.last().unwrap().tag.to_string(), "2026-11-25-20-03");
    let first = NOVEMBER / DAY;
    assert_eq!(first_and_last_day(&host.sets), Some((first, first + 24)));
    assert_eq!(host.of_future().count(), 1);
    // Nothing of the time until then is missing, and all other hosts are as they were.
    let causes: Vec<&str> = host.sets.completeness.lacks().map(|lack| lack.cause.name()).collect();
    assert_eq!(causes, ["future"]);
    assert_eq!(&*view.newest().unwrap().tag.0, "2026-11-28-20-04");
    let mixed = view.mixed_runs("latest").unwrap().unwrap();
    assert_eq!(mixed.older[0].set, Tag::new("2026-11-25-20-03"));
}

#[test]
fn hosts_spread_over_the_whole_pause_are_not_accused() {
    // Each six hours, one host every half hour.
    let host = |number: i64| Arc::new(host_sets_of(&format!("h{number:02}"), &month(number * 30)));
    let hosts: Vec<_> = (0..12).map(host).collect();
    let view = only_view(&hosts);
    assert!(view.hosts.iter().all(|host| host.faults.is_empty()), "{:?}", view.hosts);
    assert!(view.newest_of_all().is_some());
}

#[test]
fn other_clusters_and_new_hosts_do_not_count() {
    let daily: Vec<TestSet> = (0..28)
        .map(|day| TestSet {
            start: NOVEMBER + day * DAY,
            kind: Some(SetKind::Full),
            cluster: Some("test"),
            ..TestSet::default()
        })
        .collect();
    let mut hosts = fleet();
    hosts.push(Arc::new(host_sets_of("t1", &daily[..20])));
    let views = clusters(&hosts, end());
    assert_eq!(views.iter().map(|view| view.name.as_deref()).collect::<Vec<_>>(), [Some("prod"), Some("test")]);
    assert_eq!(views[1].hosts[0].faults, []);

    // A host that joined on the 15th.
    let joined = Arc::new(host_sets_of("new", &month(0)[56..]));
    let others: Vec<_> = (1..=3).map(|n| Arc::new(host_sets_of(&format!("h{n}"), &month(n)))).collect();
    let view = only_view(&[&others[..], &[joined]].concat());
    assert_eq!((view.points[0].expected, view.points[0].absences.len()), (3, 0));
    assert_eq!((view.newest().unwrap().expected, view.newest().unwrap().whole()), (4, 4));

    assert!(clusters(&[], end()).is_empty());
    let empty = Arc::new(host_sets_of("empty", &[]));
    assert_eq!(clusters(&[empty], end())[0].hosts[0].faults, [HostFault::Nothing]);
}

/// What `at` means on the hosts, as the host of that name knows them.
fn mixed(hosts: &[Arc<HostSets>], host: &str, at: &str, meant: Meant) -> String {
    let view = only_view(hosts);
    let own = view.hosts.iter().find(|of| &*of.sets.host.0 == host).unwrap();
    own.sets.mixed_runs(at, meant).unwrap().map(|mixed| mixed.to_string()).unwrap_or_default()
}

#[test]
fn a_time_that_means_several_runs_is_told() {
    let fleet = fleet();
    let stopped = "hosts of cluster prod are not of one run: 11 of 12 have 2026-11-28-20-04 or a set of that run, \
                   cass-03 has 2026-11-25-20-03 (3 days older)";
    // Whichever host is asked, the stopped one too.
    for host in ["cass-01", "cass-03"] {
        assert_eq!(mixed(&fleet, host, "latest", Meant::Host), stopped, "{host}");
    }
    let before = "2026-11-25";
    assert_eq!(mixed(&fleet, "cass-01", before, Meant::Cluster), "");
    // Within the pause of one, and where another made no full.
    let paused = mixed(&fleet, "cass-01", "2026-11-15-12", Meant::Cluster);
    assert!(paused.contains("11 of 12") && paused.contains("cass-07 has 2026-11-13-20-02 (1 day older)"), "{paused}");
    // A moment while the hosts back up means two runs; so does a set's name, where it is a time for
    // all.
    let moment = mixed(&fleet, "cass-01", "2026-11-20T08:03:30Z", Meant::Cluster);
    assert!(moment.contains("5 hours older"), "{moment}");
    assert!(mixed(&fleet, "cass-01", "2026-11-20-08-01", Meant::Cluster).contains("5 hours older"));
    assert_eq!(mixed(&fleet, "cass-01", "2026-11-20-08-01", Meant::Host), "", "the others have a set of that run");
    assert!(mixed(&fleet, "cass-01", "2026-11-28-20-01", Meant::Host).contains("cass-03 has 2026-11-25-20-03"));
    let early = mixed(&fleet, "cass-01", "2026-11-01-02-01", Meant::Cluster);
    assert!(early.contains("has none so early") && early.contains("more have none so early"), "{early}");
    assert!(only_view(&fleet).hosts[0].sets.mixed_runs("someday", Meant::Host).is_err());
}

#[test]
fn what_is_wrong_with_newest_restore_points_is_told() {
    let made = |name: &str, change: fn(&mut TestSet)| {
        let mut sets = month(1);
        sets.last_mut().into_iter().for_each(change);
        Arc::new(host_sets_of(name, &sets))
    };
    let mut hosts = fleet();
    hosts.push(made("lacks", |newest| newest.listed = Some(vec!["t", "gone"])));
    hosts.push(made("never", |newest| newest.kind = None));
    hosts.push(Arc::new(host_sets_of("none", &[])));
    let view = only_view(&hosts);
    let told = |at: Option<&str>, hours: i64| -> Vec<String> {
        let now = Timestamp::from_secs(end().secs() + hours * HOUR);
        view.newest_faults(at, now).unwrap().iter().map(ToString::to_string).collect()
    };
    let stopped = "cass-03: it stopped: its last set 2026-11-25-20-03 is 3 days older than the newest of its cluster";
    let lacks = "lacks: 2026-11-28-20-01 is incomplete: `latest` is 2026-11-28-14-01";
    // The newest set of the one may still be on its way.
    assert_eq!(told(None, 0), [stopped, lacks, "none: it has no finished set"]);
    let never = "never: 2026-11-28-20-01 was started 7 hours ago and has not finished";
    assert_eq!(told(None, 4), [stopped, lacks, never, "none: it has no finished set"]);
    // As of a time, what came later does not count.
    let before = "cass-05: 2026-11-11-08-00 is incomplete: `latest` is 2026-11-10-20-00";
    assert_eq!(told(Some("2026-11-11-12"), 4), [before]);

    // What `latest` passes over is not taken for what a host has.
    let mixed = view.mixed_runs("latest").unwrap().unwrap().to_string();
    for older in ["cass-03 has 2026-11-25-20-03", "lacks has 2026-11-28-14-01", "never has 2026-11-28-14-01"] {
        assert!(mixed.contains(older), "{mixed}");
    }
    let mixed = view.mixed_runs("2026-11-11-12").unwrap().unwrap().to_string();
    assert!(mixed.contains("13 of 14") && mixed.contains("cass-05 has 2026-11-10-20-00 (12 hours older)"), "{mixed}");
    assert_eq!(view.mixed_runs("2026-11-10").unwrap(), None);
    assert!(view.mixed_runs("someday").is_err());
}

#[test]
fn hosts_that_take_turns_are_of_one_run() {
    let sets: BTreeMap<i64, Vec<TestSet>> = (0..12).map(|number| (number, month(number * 30))).collect();
    // As of each hour of a day, some have made the newest run already and some have not.
    for hour in 0..24 {
        let until = NOVEMBER + 20 * DAY + hour * HOUR;
        let host = |(number, sets): (&i64, &Vec<TestSet>)| {
            let made: Vec<TestSet> = sets.iter().filter(|set| set.start <= until).cloned().collect();
            Arc::new(host_sets_of(&format!("h{number:02}"), &made))
        };
        let hosts: Vec<_> = sets.iter().map(host).collect();
        assert_eq!(mixed(&hosts, "h00", "latest", Meant::Host), "", "{hour}");
    }
    let alone = [Arc::new(host_sets_of("h00", &sets[&0]))];
    assert_eq!(mixed(&alone, "h00", "latest", Meant::Host), "");
}
