//! mount(8)'s way of giving options: `mount.cassmount SOURCE MOUNTPOINT -o a,b=c`, from fstab or by
//! hand.

use std::ffi::{OsStr, OsString};

/// Options of mount(8) and fstab(5) that are about mounting as such and say nothing to us.
const GENERIC: &[&str] = &[
    "defaults",
    "rw",
    "auto",
    "noauto",
    "nofail",
    "_netdev",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "async",
    "sync",
    "atime",
    "noatime",
    "relatime",
    "norelatime",
    "nodiratime",
    "lazytime",
];

/// Rewrites the arguments so that `-o a,b=c` becomes `--a --b=c`, and a program name of
/// `mount.cassmount` the `mount` command.
///
/// `ro` becomes `--read-only`; underscores may stand for dashes; `x-…` and generic options are
/// dropped, as is `-n`/`-s`/`-v` of mount(8).
pub(super) fn expand(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_else(|| "cassmount".into());
    let is_helper = std::path::Path::new(&program).file_name() == Some(OsStr::new("mount.cassmount"));
    let mut expanded = vec![program];
    if is_helper {
        expanded.push("mount".into());
    }
    let is_mount = |so_far: &[OsString]| so_far.get(1).is_some_and(|command| command == "mount");
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if !is_mount(&expanded) {
            expanded.push(argument);
        } else if text == "-o" {
            let options = arguments.next().unwrap_or_default();
            expanded.extend(options.to_string_lossy().split(',').filter_map(long_flag));
        } else if let Some(options) = text.strip_prefix("-o").filter(|rest| !rest.is_empty()) {
            expanded.extend(options.split(',').filter_map(long_flag));
        } else if is_helper && matches!(&*text, "-n" | "-s" | "-v") {
            // mount(8) passes these on to every helper.
        } else {
            expanded.push(argument);
        }
    }
    expanded
}

fn long_flag(option: &str) -> Option<OsString> {
    let option = option.trim();
    let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
    if name.is_empty() || name.starts_with("x-") || GENERIC.contains(&name) {
        return None;
    }
    let name = if name == "ro" { "read-only".to_owned() } else { name.replace('_', "-") };
    Some(match value {
        Some(value) => format!("--{name}={value}").into(),
        None => format!("--{name}").into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(arguments: &[&str]) -> Vec<String> {
        expand(arguments.iter().map(OsString::from).collect()).into_iter().map(|a| a.into_string().unwrap()).collect()
    }

    #[test]
    fn an_fstab_line_becomes_long_flags() {
        let line = [
            "/sbin/mount.cassmount",
            "s3://b",
            "/mnt",
            "-n",
            "-o",
            "ro,_netdev,x-systemd.requires=a,allow_other,cache-size=1G",
        ];
        assert_eq!(
            expanded(&line),
            ["/sbin/mount.cassmount", "mount", "s3://b", "/mnt", "--read-only", "--allow-other", "--cache-size=1G"]
        );
    }

    #[test]
    fn other_commands_keep_their_arguments() {
        assert_eq!(expanded(&["cassmount", "list", "-o", "x"]), ["cassmount", "list", "-o", "x"]);
        assert_eq!(
            expanded(&["cassmount", "mount", "-oro", "a", "b"]),
            ["cassmount", "mount", "--read-only", "a", "b"]
        );
    }
}
