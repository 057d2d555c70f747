//! The FUSE adapter: one function per operation, and the one place where errors become errnos.
