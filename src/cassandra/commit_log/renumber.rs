//! Another number for a log: those of two hosts may be alike, and Cassandra takes only one of each.

use super::{CRC, MARKER, header, header_crc, marker_crc, sections};

/// Gives a whole log another id, in its header and in the checksums that depend on it.
///
/// # Errors
/// What is damaged.
pub fn renumber(bytes: &mut [u8], id: u64) -> Result<(), String> {
    let (old, parameters, end) = header(bytes).ok_or("it ends in its header")?;
    let sections = sections(bytes, old, end)?;
    let id = id.to_be_bytes();
    let crc = header_crc(&bytes[..4], &id, parameters).to_be_bytes();
    bytes[4..12].copy_from_slice(&id);
    bytes[end - CRC..end].copy_from_slice(&crc);
    for section in sections {
        let at = section.start;
        bytes[at + CRC..at + MARKER].copy_from_slice(&marker_crc(&id, at).to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::damage;
    use super::super::tests::{ID, log_of};
    use super::*;

    #[test]
    fn a_log_is_whole_under_another_number() {
        let mut log = log_of("{}", &[&[5; 100], &[6; 30]]);
        let before = log.clone();
        renumber(&mut log, 7).unwrap();
        assert_eq!(damage("CommitLog-7-7.log", &log, log.len() as u64), None);
        renumber(&mut log, ID).unwrap();
        assert_eq!(log, before);
        log[25] ^= 1;
        assert!(renumber(&mut log, 7).is_err());
    }
}
