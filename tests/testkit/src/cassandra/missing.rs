//! Saying loudly that a test did not run.

/// Something a test needs and this machine lacks.
#[derive(Debug, Clone)]
pub struct Missing {
    what: String,
    install: String,
}

impl Missing {
    /// `what` is missing; `install` tells how to get it, as a command where there is one.
    pub fn new(what: impl Into<String>, install: impl Into<String>) -> Self {
        Self { what: what.into(), install: install.into() }
    }

    /// Says that `test` was skipped, what is missing and how to install it.
    pub fn skip(&self, test: &str) {
        crate::skip::skip(test, &self.to_string());
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is missing ({})", self.what, self.install)
    }
}
