//! Arguments that may hold secrets: everybody can read a process's command line in /proc, so they
//! go into its environment, which only its own user can read.

use super::mount_helper;
use cassmount::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The flag, and the variable that stands for it.
const SECRET: (&str, &str) = ("--key-command", "CASSMOUNT_KEY_COMMAND");

/// Goes on as the same process with a command line that holds no secret, if it holds any now.
///
/// # Errors
/// Only where the program cannot be started again.
pub(super) fn hide() -> Result<()> {
    let (arguments, secret) = split(mount_helper::expand(std::env::args_os().collect()));
    let Some(secret) = secret else { return Ok(()) };
    // The program's own file, also if another one has been installed in its place since.
    let mut program = Command::new("/proc/self/exe");
    // Not as `mount.cassmount`: its options have been rewritten by now.
    program.arg0(env!("CARGO_PKG_NAME")).args(arguments.into_iter().skip(1)).env(SECRET.1, secret);
    Err(Error::io("take the key command out of the command line", program.exec()))
}

/// The arguments without the secret, and the secret. Where it is given twice, or without a value,
/// all stay: that is an error which the command line's own parser tells.
fn split(arguments: Vec<OsString>) -> (Vec<OsString>, Option<OsString>) {
    let mut rest = Vec::with_capacity(arguments.len());
    let mut secrets = Vec::new();
    let mut is_whole = true;
    let mut left = arguments.iter();
    while let Some(argument) = left.next() {
        if argument == SECRET.0 {
            match left.next() {
                Some(value) => secrets.push(value.clone()),
                None => is_whole = false,
            }
        } else if let Some(value) =
            argument.as_bytes().strip_prefix(SECRET.0.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
        {
            secrets.push(OsString::from_vec(value.to_vec()));
        } else {
            rest.push(argument.clone());
            if argument == OsStr::new("--") {
                rest.extend(left.by_ref().cloned());
            }
        }
    }
    match secrets.pop() {
        Some(secret) if is_whole && secrets.is_empty() => (rest, Some(secret)),
        _ => (arguments, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(arguments: &[&str]) -> (Vec<String>, Option<String>) {
        let (rest, secret) = split(arguments.iter().map(OsString::from).collect());
        let text = |text: OsString| text.into_string().unwrap();
        (rest.into_iter().map(text).collect(), secret.map(text))
    }

    #[test]
    fn the_key_command_leaves_the_command_line() {
        let expected =
            (vec!["cassmount".to_owned(), "list".to_owned(), "s3://b".to_owned()], Some("vault x".to_owned()));
        assert_eq!(parts(&["cassmount", "list", "--key-command", "vault x", "s3://b"]), expected);
        assert_eq!(parts(&["cassmount", "list", "--key-command=vault x", "s3://b"]), expected);
    }

    #[test]
    fn what_is_wrong_or_no_option_stays() {
        for arguments in [
            &["c", "list", "--key-command"][..],
            &["c", "list", "--key-command", "a", "--key-command=b"],
            &["c", "list", "--", "--key-command", "a"],
            &["c", "list", "--key-commander=a"],
        ] {
            let (rest, secret) = parts(arguments);
            assert_eq!((&rest[..], secret), (&arguments.iter().map(ToString::to_string).collect::<Vec<_>>()[..], None));
        }
    }
}
