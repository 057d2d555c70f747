//! `cassmount node list`.

use super::swept_room;
use crate::cli::options::OutputArgs;
use crate::cli::output::{Shown, print};
use crate::cli::table;
use cassmount::Result;
use cassmount::node::{Record, State};
use serde::Serialize;

#[derive(clap::Args, Debug)]
pub(super) struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
struct Nodes {
    nodes: Vec<ListedNode>,
}

#[derive(Serialize)]
struct ListedNode {
    state: State,
    #[serde(flatten)]
    record: Record,
}

pub(super) fn run(args: &ListArgs) -> Result<()> {
    let entries = swept_room()?.entries()?;
    let nodes = entries.into_iter().map(|entry| Ok(ListedNode { state: entry.record.state()?, record: entry.record }));
    print(args.output, &Nodes { nodes: nodes.collect::<Result<_>>()? })
}

impl Shown for Nodes {
    fn text(&self) -> String {
        if self.nodes.is_empty() {
            return "no node runs\n".to_owned();
        }
        let row = |node: &ListedNode| {
            let state = match node.state {
                State::Starting => "starting",
                State::Running => "running",
                State::Dead => "DEAD",
            };
            let record = &node.record;
            let endpoint = record.endpoint.to_string();
            vec![record.name.clone(), state.to_owned(), endpoint, record.at.clone(), record.source.clone()]
        };
        let rows: Vec<Vec<String>> = self.nodes.iter().map(row).collect();
        table::render(&["NODE", "STATE", "ADDRESS", "AT", "SOURCE"], &[], &rows)
    }
}
