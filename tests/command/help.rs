//! What the command line says of itself: help, completions, manual pages. UPDATE_GOLDEN=1 writes the help texts anew.

use testkit::command;

use command::cassmount;
use std::fs;
use std::path::Path;

const COMMANDS: &[&str] = &[
    "",
    "mount",
    "unmount",
    "upgrade",
    "list",
    "chain",
    "ls",
    "cat",
    "find",
    "diff",
    "report",
    "schema",
    "index",
    "verify",
    "thaw",
    "extract",
    "restore",
    "restore instant",
    "restore load",
    "restore hydrate",
    "restore status",
    "restore abort",
    "restore guard",
    "restore repair",
    "node",
    "node start",
    "node list",
    "node stop",
    "status",
    "cache",
    "scratch",
    "completions",
];

fn output(arguments: &[&str]) -> String {
    let output = cassmount().args(arguments).env_remove("COLUMNS").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_is_as_agreed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (command, flag) in COMMANDS.iter().flat_map(|command| [(command, "-h"), (command, "--help")]) {
        let name = if command.is_empty() { "cassmount".to_owned() } else { command.replace(' ', "-") };
        let name = if flag == "-h" { format!("short/{name}") } else { name };
        let arguments: Vec<&str> = command.split_whitespace().chain([flag]).collect();
        let (path, help) = (directory.join(format!("{name}.txt")), output(&arguments));
        if update {
            fs::create_dir_all(directory.join("short")).unwrap();
            fs::write(&path, &help).unwrap();
        }
        let agreed = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(help, agreed, "{name}: if that is meant, run UPDATE_GOLDEN=1 cargo test --test cli_help");
    }
    let overview = output(&["--help"]);
    let listed = overview.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    // A description that is too long goes on in the next line, further in.
    for line in listed.lines().filter(|line| !line.starts_with("   ")) {
        let command = line.split_whitespace().next().unwrap();
        assert!(command == "help" || COMMANDS.contains(&command), "no golden help of {command}");
    }
}

/// Variables must not change what a usage line shows.
#[test]
fn the_environment_changes_no_usage_line() {
    let usage = |value: &str| {
        let refused = cassmount().args(["schema", "s3://b"]).env("CASSMOUNT_CACHE_DIR", value).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        String::from_utf8(refused.stderr).unwrap()
    };
    assert!(usage("/c").contains("Usage: cassmount schema <SOURCE> <HOST> <POINT>"), "{}", usage("/c"));
    assert_eq!(usage("/c"), usage(""));
}

#[test]
fn every_option_variable_and_field_is_documented() {
    let documented = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")).unwrap();
    let mut names: Vec<String> = Vec::new();
    for command in COMMANDS {
        let help = output(&command.split_whitespace().chain(["--help"]).collect::<Vec<_>>());
        let first = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let flags =
            first.flat_map(|line| line.split([' ', ',']).take_while(|word| word.starts_with('-') || word.is_empty()));
        names.extend(
            flags.filter(|word| word.starts_with("--") && !["--help", "--version"].contains(word)).map(str::to_owned),
        );
    }
    assert!(names.iter().any(|name| name == "--key-file"), "{names:?}");
    for row in cassmount::config::table::all() {
        names.push(format!("--{}", row.name));
        names.extend(row.environment.iter().map(|name| (*name).to_owned()));
    }
    names.extend(cassmount::config::fields_read().map(str::to_owned));
    names.push(cassmount::config::ENCRYPTION_KEY.to_owned());
    for name in names {
        let is_named = |end: &str| documented.contains(&format!("`{name}{end}"));
        assert!(is_named("`") || is_named(" "), "docs/configuration.md does not have {name}");
    }
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let completions = output(&["completions", shell]);
        for command in &COMMANDS[1..] {
            assert!(command.split(' ').all(|word| completions.contains(word)), "{shell}: {command}");
        }
        assert!(completions.contains("source-host"), "{shell}");
    }
    let directory = tempfile::tempdir().unwrap();
    output(&["man", directory.path().to_str().unwrap()]);
    for command in &COMMANDS[1..] {
        let page =
            fs::read_to_string(directory.path().join(format!("cassmount-{}.1", command.replace(' ', "-")))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{command}");
    }
    let page = fs::read_to_string(directory.path().join("cassmount-mount.1")).unwrap();
    assert!(page.contains("source\\-host") && page.contains("MOUNTPOINT"), "{page}");
}
