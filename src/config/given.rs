//! A value that somebody gave, and where.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// A value and where it came from.
#[derive(Clone, Debug)]
pub struct Given {
    pub value: OsString,
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    /// The name of the variable.
    Environment(&'static str),
    Config(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("command line"),
            Self::Environment(name) => f.write_str(name),
            Self::Config(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Given {
    /// The value as text; most are.
    pub fn text(&self) -> Result<&str, String> {
        self.value.to_str().ok_or_else(|| "expected UTF-8".to_owned())
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.value)
    }

    /// The value as something else.
    pub fn parsed<T, E: fmt::Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, String> {
        parse(self.text()?).map_err(|error| error.to_string())
    }
}
