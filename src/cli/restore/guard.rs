//! `cassmount restore guard`, and the drop-in for Cassandra's unit that runs it.

use super::mounts;
use crate::cli::options::CacheDirArgs;
use crate::cli::places::parse_absolute;
use crate::cli::terminal::say;
use cassmount::restore::{DROP_IN, GUARD_PATIENCE, Journals, drop_in, guard};
use cassmount::{Error, Kind, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Made for Cassandra's unit (ExecStartPre=). Takes well under a second; a mount that is there and
/// does not answer in time is no reason not to start.
#[derive(clap::Args, Debug)]
pub(super) struct GuardArgs {
    /// Look below this data directory of Cassandra. Repeatable [default: those of restored tables]
    #[arg(long, value_name = "DIR", value_parser = parse_absolute())]
    data_dir: Vec<PathBuf>,
    /// Print the drop-in for Cassandra's unit that runs this before each start, and do nothing else
    #[arg(long, conflicts_with = "write_config")]
    print_config: bool,
    #[command(flatten)]
    unit: UnitArgs,
    #[command(flatten)]
    journals: CacheDirArgs,
}

/// How Cassandra's unit is changed.
#[derive(clap::Args, Debug, Clone)]
pub(super) struct UnitArgs {
    /// Install a drop-in for Cassandra's unit that keeps it from starting without the mount
    #[arg(long)]
    pub(super) write_config: bool,
    /// Cassandra's unit
    #[arg(long, value_name = "UNIT", default_value = "cassandra.service")]
    pub(super) unit: String,
    /// Where units of this machine's administrator are
    #[arg(long, value_name = "DIR", default_value = "/etc/systemd/system", hide = true)]
    pub(super) unit_dir: PathBuf,
}

/// So many reasons are told one by one: each table may have one.
const REASONS: usize = 4;

/// Where systemd says that it runs this machine.
const SYSTEMD: &str = "/run/systemd/system";

pub(super) fn run(args: &GuardArgs) -> Result<()> {
    let journals = mounts::journals(&args.journals)?;
    if args.print_config {
        print!("{}", drop_in(&journals, &args.data_dir, &program()?)?);
        return Ok(());
    }
    if args.unit.write_config {
        println!("{}", install(&journals, &args.data_dir, &args.unit)?);
        return Ok(());
    }
    let report = guard(&journals, &args.data_dir, GUARD_PATIENCE)?;
    if report.unanswered > 0 {
        say!(
            "cassmount: warning: {} of {} links were not answered for in time; reads of them will wait for the store",
            report.unanswered,
            report.links
        );
    }
    match &report.reasons[..] {
        [] => Ok(()),
        reasons => Err(Error::new(Kind::Busy, format!("Cassandra must not start: {}", summary(reasons)))),
    }
}

/// The first reasons, a line each, and how many others there are.
fn summary(reasons: &[String]) -> String {
    let mut lines = reasons[..reasons.len().min(REASONS)].to_vec();
    if reasons.len() > REASONS {
        lines.push(format!("and {} more", reasons.len() - REASONS));
    }
    lines.join("\n  ")
}

/// Installs the drop-in, and says what was done.
pub(super) fn install(journals: &Journals, data_dirs: &[PathBuf], unit: &UnitArgs) -> Result<String> {
    let text = drop_in(journals, data_dirs, &program()?)?;
    if unit.unit.is_empty() || unit.unit.contains('/') {
        return Err(Error::invalid(format!("{:?} is no name of a unit", unit.unit)));
    }
    let directory = unit.unit_dir.join(format!("{}.d", unit.unit));
    let path = directory.join("cassmount.conf");
    let failed = |e| Error::io(format_args!("write {}", path.display()), e);
    match fs::read_to_string(&path) {
        Ok(there) if !there.starts_with(DROP_IN) => {
            return Err(Error::new(Kind::Exists, format!("{} is not ours: remove it first", path.display())));
        }
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    fs::create_dir_all(&directory).map_err(failed)?;
    let temporary = directory.join("cassmount.conf.new");
    fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &path)).map_err(failed)?;
    let reloaded = if Path::new(SYSTEMD).is_dir() { reload() } else { Err("systemd does not run here".to_owned()) };
    Ok(match reloaded {
        Ok(()) => format!("{} does not start without the mount from now on: {}", unit.unit, path.display()),
        Err(why) => format!("{} was written ({why}): systemctl daemon-reload", path.display()),
    })
}

fn reload() -> Result<(), String> {
    let status = Command::new("systemctl").arg("daemon-reload").status().map_err(|e| e.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("systemctl daemon-reload: {status}")) }
}

fn program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| Error::io("find this program's own file", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_reasons_are_told_briefly() {
        let reasons: Vec<String> = (1..=6).map(|number| number.to_string()).collect();
        assert_eq!(summary(&reasons[..1]), "1");
        assert_eq!(summary(&reasons[..4]), "1\n  2\n  3\n  4");
        assert_eq!(summary(&reasons), "1\n  2\n  3\n  4\n  and 2 more");
    }
}
