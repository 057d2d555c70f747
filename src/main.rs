//! The `cassmount` command; everything is in the library.

fn main() -> std::process::ExitCode {
    cassmount::cli::main()
}
