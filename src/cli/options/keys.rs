//! Where the passphrases are. A passphrase itself is never an argument.

use super::declared::{Declared, Group};
use cassmount::config::{Declaration, table};

#[derive(Debug)]
pub(in crate::cli) struct KeyGroup;

impl Group for KeyGroup {
    const HEADING: &'static str = "Keys";

    fn rows() -> &'static [Declaration] {
        table::KEYS
    }
}

pub(in crate::cli) type KeyArgs = Declared<KeyGroup>;
