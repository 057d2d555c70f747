//! Whether an SSTable has all that Cassandra needs to open it.

use crate::cassandra::Format;

/// The components that are missing from `present`: those that its TOC.txt lists, and those without which no SSTable of the format opens.
///
/// Filter.db, Summary.db, Digest.crc32 and TOC.txt itself can be missing: Cassandra does without or makes them anew.
pub fn missing_components(format: Format, present: &[&str], toc: Option<&[String]>) -> Vec<String> {
    let has = |component: &str| present.contains(&component);
    let needed: &[&str] = match format {
        Format::Big => &["Data.db", "Statistics.db", "Index.db"],
        Format::Bti => &["Data.db", "Statistics.db", "Partitions.db", "Rows.db"],
    };
    let mut missing: Vec<String> = needed.iter().filter(|name| !has(name)).map(ToString::to_string).collect();
    // One says how to cut a compressed file, the other holds the checksums of a plain one.
    if !has("CompressionInfo.db") && !has("CRC.db") {
        missing.push("CompressionInfo.db or CRC.db".into());
    }
    let listed = toc.unwrap_or_default().iter().map(|name| name.trim());
    for name in listed.filter(|name| !name.is_empty() && !has(name)) {
        if !missing.iter().any(|m| m == name) {
            missing.push(name.into());
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed() {
        let toc = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let big = ["Data.db", "Statistics.db", "Index.db", "CompressionInfo.db"];
        assert!(missing_components(Format::Big, &big, None).is_empty());
        assert!(missing_components(Format::Big, &big, Some(&toc(&["Data.db", "", "Index.db\r"]))).is_empty());
        assert_eq!(missing_components(Format::Big, &big, Some(&toc(&["Filter.db", "Data.db"]))), ["Filter.db"]);
        assert_eq!(missing_components(Format::Big, &big[..3], None), ["CompressionInfo.db or CRC.db"]);
        assert_eq!(missing_components(Format::Big, &[], None).len(), 4);
        let bti = ["Data.db", "Statistics.db", "Partitions.db", "CRC.db"];
        assert_eq!(missing_components(Format::Bti, &bti, None), ["Rows.db"]);
    }
}
