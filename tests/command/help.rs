//! What the command line says of itself: help, completions, manual pages. UPDATE_GOLDEN=1 writes
//! the help texts anew.

use testkit::command;

use command::cassmount;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every command with its words, as the help texts list them; "" is the program itself.
fn commands() -> Vec<String> {
    let mut found = vec![String::new()];
    let mut next = 0;
    while let Some(command) = found.get(next).cloned() {
        next += 1;
        let help = output(&words(&command, "--help"));
        let Some(listed) = help.split("Commands:\n").nth(1) else { continue };
        let listed = listed.split("\n\n").next().unwrap();
        // A description that is too long goes on in the next line, further in.
        let names =
            listed.lines().filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
        found.extend(names.filter(|name| *name != "help").map(|name| format!("{command} {name}").trim().to_owned()));
    }
    found
}

fn words<'a>(command: &'a str, flag: &'a str) -> Vec<&'a str> {
    command.split_whitespace().chain([flag]).collect()
}

fn output(arguments: &[&str]) -> String {
    let output = cassmount().args(arguments).env_remove("COLUMNS").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_is_as_agreed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let commands = commands();
    assert!(["mount", "restore load", "node start"].iter().all(|name| commands.contains(&(*name).to_owned())));
    let mut agreed_on = BTreeSet::new();
    for (command, flag) in commands.iter().flat_map(|command| [(command, "-h"), (command, "--help")]) {
        let name = if command.is_empty() { "cassmount".to_owned() } else { command.replace(' ', "-") };
        let name = if flag == "-h" { format!("short/{name}") } else { name };
        let (path, help) = (directory.join(format!("{name}.txt")), output(&words(command, flag)));
        if update {
            fs::create_dir_all(directory.join("short")).unwrap();
            fs::write(&path, &help).unwrap();
        }
        let agreed = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(help, agreed, "{name}: if that is meant, run UPDATE_GOLDEN=1 cargo test --test command help");
        agreed_on.insert(path);
    }
    for directory in [&directory, &directory.join("short")] {
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let others: Vec<_> = files.filter(|path| path.is_file() && !agreed_on.contains(path)).collect();
        assert_eq!(others, Vec::<PathBuf>::new(), "help of commands that are not there");
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
    for command in commands() {
        let help = output(&words(&command, "--help"));
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
    let commands = commands();
    for shell in ["bash", "zsh", "fish"] {
        let completions = output(&["completions", shell]);
        for command in &commands[1..] {
            assert!(command.split(' ').all(|word| completions.contains(word)), "{shell}: {command}");
        }
        assert!(completions.contains("source-host"), "{shell}");
    }
    let directory = tempfile::tempdir().unwrap();
    output(&["man", directory.path().to_str().unwrap()]);
    for command in &commands[1..] {
        let page =
            fs::read_to_string(directory.path().join(format!("cassmount-{}.1", command.replace(' ', "-")))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{command}");
    }
    let page = fs::read_to_string(directory.path().join("cassmount-mount.1")).unwrap();
    assert!(page.contains("source\\-host") && page.contains("MOUNTPOINT"), "{page}");
}
