//! The `cassmount` command. What it does is in the library; what it says, and how it is asked, is
//! in `cli`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
