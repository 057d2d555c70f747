//! No test skips in a way that nobody sees.

use std::fs;
use std::path::Path;

/// The word that a skip's line begins with, put together so that this file has no skip itself.
const WORD: &str = concat!("SKIP", "PED");

fn sources(directory: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn only_the_test_kit_skips() {
    let mut files = Vec::new();
    sources(&testkit::project().join("tests"), &mut files);
    assert!(files.len() > 80, "{files:?}");
    let skipping: Vec<_> = files
        .iter()
        .filter(|file| !file.ends_with("testkit/src/skip.rs"))
        .filter(|file| fs::read_to_string(file).unwrap().contains(&format!("\"{WORD}")))
        .collect();
    assert_eq!(skipping, Vec::<&std::path::PathBuf>::new(), "use testkit::skip::skip");
}
