# Shared by the scripts: what the machine must have, and how it gets there. Sourced, not run.

say() { printf '%s\n' "$*" >&2; }

# need COMMAND PACKAGE: installs the Debian package when COMMAND is missing and we may; else remembers it in $missing.
missing=""
need() {
  command -v "$1" >/dev/null 2>&1 && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    if [ -z "${apt_updated:-}" ]; then say "apt-get update …"; apt-get update -qq >/dev/null 2>&1 || say "apt-get update failed: trying with the old lists"; apt_updated=1; fi
    say "installing $2 (for $1) …"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null 2>&1 && command -v "$1" >/dev/null 2>&1 && return 0
  fi
  missing="$missing $2"
  return 1
}

# Ends the script when something that it cannot do without is missing.
require() {
  need "$1" "$2" && return 0
  say "missing: $1. Install it with: apt-get install $2"
  exit 1
}

# A Rust toolchain is assumed; say how to get one rather than fail obscurely.
require_rust() {
  [ -x "$HOME/.cargo/bin/cargo" ] && PATH="$HOME/.cargo/bin:$PATH"
  if ! command -v cargo >/dev/null 2>&1; then
    say "missing: a Rust toolchain (cargo). Install it with rustup, version $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer."
    exit 1
  fi
}
