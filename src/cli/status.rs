//! `cassmount status`, `scratch`, `cache`: what running mounts do, asked over their control
//! sockets.

use super::control::{self, Request};
use super::options::{self, CacheDirArgs, OutputArgs};
use super::places::{absolute, not_mounted};
use super::runtime_state::RunningMount;
use super::table::bytes;
use super::{output, session, terminal, waits, words};
use cassmount::Result;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args, Debug)]
pub(super) struct StatusArgs {
    /// Only this mount
    mountpoint: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    /// Show it anew every second until interrupted
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

#[derive(clap::Args, Debug)]
pub(super) struct CacheCommandArgs {
    #[command(subcommand)]
    action: CacheAction,
}

#[derive(clap::Subcommand, Debug)]
enum CacheAction {
    /// How much it holds, and how often it helped
    Status(CacheStatusArgs),
    /// Remove everything that nobody has in use, also while mounted; seek indexes and the catalog
    /// stay
    Clear(CacheStatusArgs),
}

#[derive(clap::Args, Debug)]
struct CacheStatusArgs {
    #[command(flatten)]
    cache: CacheDirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(clap::Args, Debug)]
pub(super) struct ScratchCommandArgs {
    #[command(subcommand)]
    action: ScratchAction,
}

#[derive(clap::Subcommand, Debug)]
enum ScratchAction {
    /// How much programs wrote into the mount
    Status(ScratchPlaceArgs),
    /// Forget everything that was written, renamed or removed in the mount: it shows the backup
    /// again
    Reset(ScratchPlaceArgs),
}

#[derive(clap::Args, Debug)]
struct ScratchPlaceArgs {
    mountpoint: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &StatusArgs) -> Result<()> {
    let only = args.mountpoint.as_deref().map(absolute).transpose()?;
    loop {
        let mounts: Vec<RunningMount> = RunningMount::all()?
            .into_iter()
            .filter(|mount| only.as_ref().is_none_or(|only| *only == mount.mountpoint))
            .collect();
        if let (Some(only), true) = (&only, mounts.is_empty()) {
            return Err(not_mounted(only));
        }
        let statuses: Vec<Value> = mounts.iter().map(ask).collect();
        if args.output.json {
            return output::json(&json!({ "mounts": statuses }));
        }
        if args.watch {
            // Clears the terminal; --watch is for one.
            print!("\x1b[H\x1b[2J");
        }
        if statuses.is_empty() {
            println!("nothing is mounted by this user (mounts of others are shown to root and to them)");
        }
        for status in &statuses {
            let text = text(status);
            print!("{}", terminal::width().map_or_else(|| text.clone(), |width| fitted(&text, width)));
        }
        if !args.watch {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Where values begin.
const VALUES: usize = 12;

/// A text whose long values go on below their beginnings.
fn fitted(text: &str, width: usize) -> String {
    let line = |line: &str| match line.split_at_checked(VALUES) {
        Some((name, value)) if line.starts_with("  ") => {
            let value = words::wrapped(value, width.saturating_sub(VALUES)).join(&format!("\n{}", " ".repeat(VALUES)));
            format!("{name}{value}\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// What the mount says; of one that does not answer, what was announced and why there is no more.
fn ask(mount: &RunningMount) -> Value {
    let asked = RunningMount::socket(&mount.mountpoint).and_then(|socket| control::ask(&socket, Request::Status));
    asked.unwrap_or_else(|error| {
        json!({ "mountpoint": mount.mountpoint, "source": mount.source, "pid": mount.pid, "warnings": [error.to_string()] })
    })
}

fn text(status: &Value) -> String {
    let at = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64);
    let word = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
    let moment = |pointer: &str| match word(pointer).split_once('.') {
        Some((second, _)) => format!("{second}Z"),
        None => word(pointer),
    };
    let mut text = format!(
        "{}\n  source    {}  (version {}, pid {}, since {})\n",
        word("/mountpoint"),
        word("/source"),
        word("/version"),
        at("/pid").unwrap_or(0),
        moment("/since")
    );
    if let Some(restarts) = at("/restarts").filter(|restarts| *restarts > 0) {
        let _ = writeln!(
            text,
            "  restarts  {restarts}; the process before this one {}, at {}",
            word("/last_death/reason"),
            moment("/last_death/at")
        );
    }
    if let Some(upgrades) = at("/upgrades").filter(|upgrades| *upgrades > 0) {
        let _ = writeln!(text, "  upgrades  {upgrades}");
    }
    if let Some(reason) = status.pointer("/failed_upgrade").and_then(Value::as_str) {
        let _ = writeln!(text, "  upgrades  the last one failed, because the other version {reason}");
    }
    if let (Some(used), Some(limit)) = (at("/cache/used_bytes"), at("/cache/limit_bytes")) {
        let (hits, misses) = (at("/reader/file_hits").unwrap_or(0), at("/reader/file_misses").unwrap_or(0));
        let _ = writeln!(
            text,
            "  cache     {} of {}, {} entries; {hits} files opened from it, {misses} not",
            bytes(used),
            bytes(limit),
            at("/cache/entries").unwrap_or(0)
        );
        let is_on = status.pointer("/passthrough").and_then(Value::as_bool);
        if let Some(is_on) = is_on {
            let who = if is_on { "read by the kernel itself" } else { "read through this mount's process" };
            let _ =
                writeln!(text, "            files in it are {who} (passthrough {})", if is_on { "on" } else { "off" });
        }
    }
    if let (Some(used), Some(limit)) = (at("/scratch/bytes"), at("/scratch/limit_bytes")) {
        let _ = writeln!(
            text,
            "  scratch   {} of {}, {} names",
            bytes(used),
            bytes(limit),
            at("/scratch/names").unwrap_or(0)
        );
    }
    if let Some(fetched) = at("/reader/bytes_fetched") {
        let _ = writeln!(
            text,
            "  fetched   {} in {} requests, {} in flight; {} archives read whole, {} just now",
            bytes(fetched),
            at("/reader/requests").unwrap_or(0),
            at("/reader/requests_in_flight").unwrap_or(0),
            at("/reader/passes").unwrap_or(0),
            at("/reader/passes_running").unwrap_or(0)
        );
    }
    let kinds = [
        ("corrupt", "damaged"),
        ("no_key", "no key"),
        ("changed", "changed under the mount"),
        ("timed_out", "timed out"),
        ("unreachable", "unreachable"),
        ("other_errors", "other"),
    ];
    let errors: Vec<String> = kinds
        .iter()
        .filter_map(|(field, word)| {
            at(&format!("/reader/{field}")).filter(|count| *count > 0).map(|count| format!("{count} {word}"))
        })
        .collect();
    if !errors.is_empty() {
        let _ = writeln!(text, "  errors    {} (see {})", errors.join(", "), word("/log"));
    }
    for line in waits::lines(status) {
        let _ = writeln!(text, "  waiting   {line}");
    }
    for warning in status.pointer("/warnings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        let _ = writeln!(text, "  warning   {warning}");
    }
    text
}

pub(super) fn scratch(args: &ScratchCommandArgs) -> Result<()> {
    let (place, request) = match &args.action {
        ScratchAction::Status(place) => (place, Request::Status),
        ScratchAction::Reset(place) => (place, Request::ScratchReset),
    };
    let mountpoint = absolute(&place.mountpoint)?;
    let mount = RunningMount::find(&mountpoint).ok_or_else(|| not_mounted(&mountpoint))?;
    let resets = request == Request::ScratchReset;
    let answer = control::ask(&RunningMount::socket(&mount.mountpoint)?, request)?;
    let usage = answer.get("scratch").unwrap_or(&answer);
    if place.output.json {
        return output::json(usage);
    }
    let number = |field: &str| usage.get(field).and_then(Value::as_u64).unwrap_or(0);
    let done = if resets { "empty again: " } else { "" };
    println!("{done}{} of {} in {} names", bytes(number("bytes")), bytes(number("limit_bytes")), number("names"));
    Ok(())
}

pub(super) fn cache(args: &CacheCommandArgs) -> Result<()> {
    let (args, clear): (&CacheStatusArgs, bool) = match &args.action {
        CacheAction::Status(args) => (args, false),
        CacheAction::Clear(args) => (args, true),
    };
    let directory = session::cache_dir(&options::resolve(&args.cache.command_line())?.cache)?;
    // Entries in use are locked by whoever uses them, so this is safe beside running mounts.
    let cache = session::whole_cache(&directory)?;
    let freed = if clear { cache.clear()? } else { 0 };
    let status = cache.status();
    if args.output.json {
        return output::json(
            &json!({ "directory": directory.path(), "freed_bytes": freed, "used_bytes": status.used_bytes, "entries": status.entries }),
        );
    }
    if clear {
        println!("{} freed", bytes(freed));
    }
    println!("{}: {} in {} entries", directory.path().display(), bytes(status.used_bytes), status.entries);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_warnings_go_on_below_their_beginning() {
        let warning =
            "cass-a: 2026-11-21-02-52 is incomplete: 2026-11-21-02-48 lacks shop.users: it is listed in the manifest";
        let shown = text(&json!({ "mountpoint": "/m", "source": "s3://b", "pid": 1, "warnings": [warning] }));
        let narrow = fitted(&shown, 80);
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        let (_, told) = narrow.split_once("  warning   ").unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.len() > 1 && lines[1..].iter().all(|line| line.starts_with("            ")), "{narrow}");
        assert_eq!(lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "), warning);
        assert_eq!(fitted(&shown, 1000), shown);
    }

    /// UPDATE_GOLDEN=1 writes them anew.
    #[test]
    fn a_status_fits_the_terminal() {
        let status = json!({
            "mountpoint": "/mnt/backups", "source": "s3://cass-backups/production/eu-west-1", "version": "0.1.0",
            "pid": 4711, "since": "2026-11-21T02:52:05.830905Z", "restarts": 1,
            "last_death": { "reason": "was killed by signal 9", "at": "2026-11-21T03:15:00Z" }, "upgrades": 2,
            "cache": { "used_bytes": 1_500_000, "limit_bytes": 10_000_000_000_u64, "entries": 166 },
            "scratch": { "bytes": 4096, "limit_bytes": 1_000_000_000, "names": 3 }, "passthrough": false,
            "reader": {
                "file_hits": 12, "file_misses": 3, "bytes_fetched": 4_200_000, "requests": 180, "requests_in_flight": 2,
                "passes": 17, "passes_running": 1, "corrupt": 1, "timed_out": 4
            },
            "log": "/var/log/cassmount/mnt-backups.log",
            "warnings": ["cass-a: 2026-11-21-02-52 is incomplete: 2026-11-21-02-48 lacks shop.users: it is listed in the \
                          manifest"]
        });
        for width in [80, 140] {
            let shown = fitted(&text(&status), width);
            let path = format!("{}/tests/golden/reports/status-{width}.txt", env!("CARGO_MANIFEST_DIR"));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&path, &shown).unwrap();
            }
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{shown}");
            assert_eq!(shown, std::fs::read_to_string(&path).unwrap_or_default(), "{width}");
        }
    }
}
