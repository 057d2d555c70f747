//! A profile's `credential_process`.

use super::given::{Given, Trouble, of_process};
use std::process::Stdio;
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

/// Bytes of a process's output.
const LONGEST_OUTPUT: u64 = 64 << 10;

/// Runs the command and reads what it prints.
pub(super) async fn run(command: &str) -> Result<Given, Trouble> {
    let output = output_of(command).await.map_err(Trouble::Refused);
    let what = "the credential_process of the AWS profile";
    output.and_then(|output| of_process(&output)).map_err(|trouble| trouble.of(what))
}

async fn output_of(command: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut shell = tokio::process::Command::new("/bin/sh");
    // Its errors may repeat secrets, and the log is no place for these.
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = shell.kill_on_drop(true).spawn().map_err(|error| format!("it cannot be run: {error}"))?;
    let mut output = Zeroizing::new(Vec::new());
    if let Some(stdout) = child.stdout.take() {
        let read = stdout.take(LONGEST_OUTPUT).read_to_end(&mut output).await;
        read.map_err(|error| format!("its output cannot be read: {error}"))?;
    }
    let status = child.wait().await.map_err(|error| format!("it cannot be waited for: {error}"))?;
    if !status.success() {
        return Err(format!("it failed ({status}); run it by hand to see why"));
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(version: u32) -> String {
        format!("{{\"Version\":{version},\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"secret\",\"SessionToken\":\"T\"}}")
    }

    #[tokio::test]
    async fn a_process_that_fails_is_said_so_without_its_secrets() {
        let newer = format!("echo '{}'", output(2));
        for (command, says) in [
            ("exit 3", "exit status: 3"),
            ("echo '{\"Version\":1,\"SecretAccessKey\":\"secret\"}'", "not what it should be"),
            ("echo secret", "not what it should be"),
            (newer.as_str(), "version 2"),
        ] {
            let Err(Trouble::Refused(why)) = run(command).await else { panic!("{command}") };
            assert!(why.contains(says) && !why.contains("secret"), "{command}: {why}");
        }
        let given = run(&format!("echo '{}'", output(1))).await.ok().unwrap();
        assert_eq!((&*given.credential.key_id, given.credential.token.as_deref()), ("A", Some("T")));
    }
}
