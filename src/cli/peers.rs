//! Words of other backup tools: what somebody is told who types them here.

use super::terminal::say;
use clap::error::{ContextKind, ContextValue};

/// Commands and options of restic, rclone, mountpoint-s3 and cassandra-medusa, and what they are
/// called here. None is taken as it is: units and meanings differ.
const WORDS: [(&str, &str); 17] = [
    ("snapshots", "cassmount list"),
    ("list-backups", "cassmount list"),
    ("report-last-backup", "cassmount list"),
    ("get-last-complete-cluster-backup", "cassmount list --cluster"),
    ("check", "cassmount verify"),
    ("dump", "cassmount cat"),
    ("stats", "cassmount list --table '*.*'"),
    ("download", "cassmount extract"),
    ("restore-node", "cassmount restore node"),
    ("restore-cluster", "cassmount restore load"),
    ("fetch-tokenmap", "cassmount restore node --dry-run"),
    ("--password-file", "--key-file"),
    ("--password-command", "--key-command"),
    ("--bwlimit", "--throttle, in bytes a second: 10M"),
    ("--limit-download", "--throttle, in bytes a second: 10M"),
    ("--cache", "--cache-dir"),
    ("--max-cache-size", "--cache-size, with a unit: 10G"),
];

/// Says what a word of another tool is called here, where that is what is wrong.
pub(super) fn tell(error: &clap::Error) {
    if let Some((word, own)) = meant(error) {
        say!("cassmount: `{word}` of other tools is here: {own}");
    }
}

fn meant(error: &clap::Error) -> Option<(&'static str, &'static str)> {
    let typed = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg].into_iter().find_map(|kind| error.get(kind));
    let Some(ContextValue::String(typed)) = typed else { return None };
    WORDS.into_iter().find(|(word, _)| word == typed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::Cli;

    #[test]
    fn words_of_other_tools_are_not_taken_and_are_told() {
        let told = |line: &str| {
            let arguments = line.split_whitespace().map(Into::into).collect();
            meant(&Cli::read(arguments).err()?)
        };
        for (word, own) in WORDS {
            let line = if word.starts_with('-') {
                format!("cassmount mount {word}=1 s3://b /mnt")
            } else {
                format!("cassmount {word}")
            };
            assert_eq!(told(&line), Some((word, own)), "{line}");
        }
        assert_eq!(told("cassmount nosuch"), None);
        // What is named here is there.
        for (_, own) in WORDS.into_iter().filter(|(_, own)| own.starts_with("cassmount")) {
            let command = own.split_whitespace().take_while(|word| !word.starts_with('-'));
            let help = command.chain(["--help"]).map(Into::into).collect();
            let answer = Cli::read(help).map(drop).unwrap_err();
            assert_eq!(answer.kind(), clap::error::ErrorKind::DisplayHelp, "{own}");
        }
    }
}
