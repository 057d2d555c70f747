//! One table, read row by row.

use super::columns::TableColumns;
use super::sample::TokenRange;
use crate::cassandra::TableName;
use crate::node::cql::Session;
use crate::node::stopper::Stopper;
use crate::time::Timestamp;
use crate::{Error, Result};

/// What was read, of a table or until it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Count {
    pub(super) rows: u64,
    pub(super) newest_write: Option<Timestamp>,
}

/// Reads a table whole, or these ranges of it. What was read before an error stays in `count`.
pub(super) fn read(
    session: &mut Session,
    table: &TableName,
    columns: &TableColumns,
    ranges: &[TokenRange],
    count: &mut Count,
    stopper: &Stopper,
    tell: &dyn Fn(u64),
) -> Result<()> {
    let whole = [None];
    let some: Vec<Option<TokenRange>> = ranges.iter().copied().map(Some).collect();
    for range in if ranges.is_empty() { &whole } else { &some[..] } {
        let statement = columns.statement(table, *range);
        let mut from = None;
        loop {
            stopper.check()?;
            let page = session.page(&statement, from.as_deref(), columns.rows_of_a_page())?;
            count.rows += page.rows.len() as u64;
            if columns.is_timed() {
                for cell in page.rows.iter().flatten().flatten() {
                    let bytes = <[u8; 8]>::try_from(&cell[..]);
                    let bytes = bytes.map_err(|_| Error::corrupt("Cassandra answers WRITETIME with no time"))?;
                    count.newest_write = count.newest_write.max(Some(Timestamp(i64::from_be_bytes(bytes))));
                }
            }
            tell(count.rows);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
    }
    Ok(())
}
