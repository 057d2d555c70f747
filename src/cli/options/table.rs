//! Which tables.

use cassmount::cassandra::TableName;
use cassmount::{Error, Result};
use glob::Pattern;
use std::collections::BTreeSet;
use std::fmt;

/// Some tables only.
#[derive(clap::Args, Debug, Clone, Default)]
pub(in crate::cli) struct TableArgs {
    /// This table only. Repeatable
    #[arg(short, long = "table", value_name = "KS.TABLE", value_parser = parse_table)]
    pub(in crate::cli) tables: Vec<TableName>,
}

/// Some tables only, by name or by pattern.
#[derive(clap::Args, Debug, Clone, Default)]
pub(in crate::cli) struct TablePatternArgs {
    /// This table only; `*` and `?` stand for any letters: 'shop.*'. Repeatable
    #[arg(short = 't', long = "table", value_name = "KS.TABLE", value_parser = parse_pattern)]
    patterns: Vec<TablePattern>,
}

/// A table's name, or a pattern of names.
#[derive(Debug, Clone)]
pub(in crate::cli) enum TablePattern {
    Name(TableName),
    Any { keyspace: Pattern, table: Pattern },
}

impl TablePattern {
    pub(in crate::cli) fn matches(&self, name: &TableName) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Any { keyspace, table } => keyspace.matches(&name.keyspace) && table.matches(&name.table),
        }
    }

    /// Whether it may mean tables of that keyspace.
    pub(in crate::cli) fn matches_keyspace(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => &*own.keyspace == name,
            Self::Any { keyspace, .. } => keyspace.matches(name),
        }
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Any { keyspace, table } => write!(f, "{keyspace}.{table}"),
        }
    }
}

impl TablePatternArgs {
    /// Whether all tables are meant.
    pub(in crate::cli) fn is_all(&self) -> bool {
        self.patterns.is_empty()
    }

    pub(in crate::cli) fn patterns(&self) -> &[TablePattern] {
        &self.patterns
    }

    /// The names that are given, where no pattern is.
    pub(in crate::cli) fn names(&self) -> Option<Vec<TableName>> {
        let name = |pattern: &TablePattern| match pattern {
            TablePattern::Name(name) => Some(name.clone()),
            TablePattern::Any { .. } => None,
        };
        self.patterns.iter().map(name).collect()
    }

    /// The tables that are meant, of those that there are; none: all are. A table that is named
    /// without a pattern is meant though it is not among them: whoever looks for it says so.
    pub(in crate::cli) fn among(&self, tables: &BTreeSet<TableName>) -> Result<Vec<TableName>> {
        let mut meant = BTreeSet::new();
        for pattern in &self.patterns {
            if let TablePattern::Name(name) = pattern {
                meant.insert(name.clone());
                continue;
            }
            let found: Vec<TableName> = tables.iter().filter(|table| pattern.matches(table)).cloned().collect();
            if found.is_empty() {
                return Err(Error::not_found(format!("no table is called like {pattern} there")));
            }
            meant.extend(found);
        }
        Ok(meant.into_iter().collect())
    }
}

/// Some keyspaces only.
#[derive(clap::Args, Debug, Clone, Default)]
pub(in crate::cli) struct KeyspaceArgs {
    /// The tables of this keyspace only. Repeatable
    #[arg(short, long = "keyspace", value_name = "KS")]
    pub(in crate::cli) keyspaces: Vec<String>,
}

/// `ks.table` as Cassandra stores the names; quotes as in CQL do no harm.
fn parse_table(text: &str) -> Result<TableName, String> {
    let unquoted =
        |name: &str| name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name).to_owned();
    let (keyspace, table) = text.split_once('.').ok_or("expected KEYSPACE.TABLE")?;
    let (keyspace, table) = (unquoted(keyspace), unquoted(table));
    if TableName::is_valid_part(&keyspace) && TableName::is_valid_part(&table) {
        Ok(TableName::new(keyspace, table))
    } else {
        Err("keyspace and table names have only letters, digits and _".into())
    }
}

/// As [`parse_table`], or a pattern of such names.
fn parse_pattern(text: &str) -> Result<TablePattern, String> {
    if !text.contains(['*', '?', '[']) {
        return parse_table(text).map(TablePattern::Name);
    }
    let (keyspace, table) = text.split_once('.').ok_or("expected KEYSPACE.TABLE, such as 'shop.*'")?;
    let is_part =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_*?[]!-".contains(c));
    if !is_part(keyspace) || !is_part(table) {
        return Err("patterns have only letters, digits, _, * and ?".into());
    }
    let pattern = |part: &str| Pattern::new(part).map_err(|error| error.to_string());
    Ok(TablePattern::Any { keyspace: pattern(keyspace)?, table: pattern(table)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_the_tables_that_there_are() {
        let tables: BTreeSet<TableName> =
            [("shop", "users"), ("shop", "orders"), ("media", "users")].map(|(ks, t)| TableName::new(ks, t)).into();
        let meant = |patterns: &[&str]| {
            let patterns = patterns.iter().map(|text| parse_pattern(text).unwrap()).collect();
            let meant = TablePatternArgs { patterns }.among(&tables);
            meant.map(|tables| tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(meant(&["shop.*"]).unwrap(), "shop.orders shop.users");
        assert_eq!(meant(&["*.user?", "shop.users"]).unwrap(), "media.users shop.users");
        assert_eq!(meant(&["shop.nosuch"]).unwrap(), "shop.nosuch", "who looks for it says that it is not there");
        assert_eq!(meant(&[]).unwrap(), "");
        assert!(meant(&["shop.x*"]).unwrap_err().to_string().contains("shop.x*"));
        for wrong in ["*", "shop.", ".*", "shop.a/*", "shop.[a"] {
            assert!(parse_pattern(wrong).is_err(), "{wrong}");
        }
    }
}
