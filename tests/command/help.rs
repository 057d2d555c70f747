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
    "schema",
    "index",
    "verify",
    "extract",
    "restore",
    "restore instant",
    "restore hydrate",
    "restore status",
    "restore abort",
    "restore repair",
    "restore guard",
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
    for command in COMMANDS {
        let name = if command.is_empty() { "cassmount".to_owned() } else { command.replace(' ', "-") };
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let (path, help) = (directory.join(format!("{name}.txt")), output(&arguments));
        if update {
            fs::create_dir_all(&directory).unwrap();
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
