//! Verified bytes on disk: whole files and spans, bounded, kept across restarts and kill -9.
