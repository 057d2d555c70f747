//! sstablemetadata and sstabledump say of every SSTable on a mount what they say of the extracted
//! files.

use std::path::{Path, PathBuf};

use super::mount::Mount;
use super::node;
use super::support::Version;
use super::support::sample;

#[test]
fn sstablemetadata_and_sstabledump_see_the_same_sstables_as_on_extracted_files() {
    let test = "sstablemetadata_and_sstabledump_see_the_same_sstables_as_on_extracted_files";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(mount) = Mount::of_sample(test) else { return };
    let directory = tempfile::tempdir().unwrap();
    let extracted = sample::extract(directory.path());

    let names = |files: &std::collections::BTreeMap<String, PathBuf>| files.keys().cloned().collect::<Vec<_>>();
    let (here, there) = (mount.tree().data_files(), extracted.data_files());
    assert_eq!(names(&here), names(&there), "the SSTables of the sample");
    assert!(here.len() > 100, "{} SSTables", here.len());

    let metadata = |files: Vec<PathBuf>, root: &Path| {
        let printed = node.sstablemetadata(&files).expect_success();
        printed.replace(&root.display().to_string(), "")
    };
    let of_mount = metadata(here.values().cloned().collect(), &mount.root());
    let of_extracted = metadata(there.values().cloned().collect(), extracted.root());
    assert_eq!(of_mount.matches("SSTable: ").count(), here.len());
    assert_lines(&of_mount, &of_extracted);

    let dumps = |files: Vec<PathBuf>| {
        let list = tempfile::NamedTempFile::new().unwrap();
        let lines: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
        std::fs::write(list.path(), lines.join("\n")).unwrap();
        let printed = node.sstabledumps(list.path()).expect_success();
        names_of(&printed, &lines)
    };
    let of_mount = dumps(here.values().cloned().collect());
    let of_extracted = dumps(there.values().cloned().collect());
    assert_eq!(of_mount.len(), here.len());
    for ((of_mount, of_extracted), name) in of_mount.iter().zip(&of_extracted).zip(here.keys()) {
        // Those of secondary indexes it cannot dump, wherever they are.
        let readable = !name.contains("/.");
        assert_eq!(of_extracted.starts_with("0 "), readable, "{name} extracted: {of_extracted}");
        assert_eq!(of_mount, of_extracted, "{name}");
    }

    // And once as it is run by hand.
    let (one, other) = (here.values().next().unwrap(), there.values().next().unwrap());
    assert_eq!(node.sstabledump(one).expect_success(), node.sstabledump(other).expect_success());
    mount.unmount();
}

fn names_of(printed: &str, files: &[String]) -> Vec<String> {
    let lines: Vec<_> = printed.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), files.len(), "one line for each file:\n{printed}");
    lines
}

/// Compares line by line, so that a failure shows the line and not two megabytes.
#[track_caller]
fn assert_lines(one: &str, other: &str) {
    for (number, (one, other)) in one.lines().zip(other.lines()).enumerate() {
        assert_eq!(one, other, "line {}", number + 1);
    }
    assert_eq!(one.lines().count(), other.lines().count());
}
