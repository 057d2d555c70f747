//! `cassmount list SOURCE --cluster`: times to which the hosts of a cluster can be restored
//! together.

use super::hosts::{Hosts, PointLine, absent, head, of_hosts};
use crate::cli::output::Shown;
use crate::cli::table::{self, Column, Table};
use crate::cli::{terminal, words};
use cassmount::catalog::cluster::{ClusterPoint, ClusterView};
use cassmount::time::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
pub(super) struct ClusterPoints {
    source: String,
    clusters: Vec<PointsOfCluster>,
    #[serde(skip)]
    views: Vec<ClusterView>,
    #[serde(skip)]
    now: Timestamp,
}

#[derive(Serialize)]
struct PointsOfCluster {
    cluster: Option<Arc<str>>,
    hosts: usize,
    /// By time.
    points: Vec<PointLine>,
}

impl ClusterPoints {
    pub(super) fn of(source: &str, hosts: Hosts) -> Self {
        let of_cluster = |view: &ClusterView| PointsOfCluster {
            cluster: view.name.clone(),
            hosts: view.hosts.len(),
            points: view.points.iter().map(PointLine::from).collect(),
        };
        let clusters = hosts.views.iter().map(of_cluster).collect();
        Self { source: source.to_owned(), clusters, views: hosts.views, now: words::now() }
    }

    fn row(&self, point: &ClusterPoint) -> Vec<String> {
        let whole = point.absences.is_empty();
        let hosts = of_hosts(point);
        let state = if whole { terminal::good("ok") } else { terminal::bad(&format!("not {}", absent(point))) };
        vec![
            point.tag.to_string(),
            super::kind(point.kind).to_owned(),
            hosts,
            words::age(self.now.secs() - point.last.secs()),
            words::span((point.last.secs() - point.first.secs()).max(0)),
            table::bytes(point.bytes),
            state,
        ]
    }
}

impl Shown for ClusterPoints {
    fn text(&self) -> String {
        let section = |view: &ClusterView| {
            let columns = vec![
                Column::new("POINT"),
                Column::new("KIND").dispensable(1),
                Column::new("COMPLETE ON"),
                Column::new("AGE").right(),
                Column::new("WITHIN").dispensable(3),
                Column::new("SIZE").right().dispensable(2),
                Column::new("STATE").wraps(),
            ];
            let rows = view.points.iter().map(|point| self.row(point)).collect();
            format!("{}\n{}", head(view), Table { columns, rows }.text())
        };
        self.views.iter().map(section).collect::<Vec<_>>().join("\n")
    }
}
