use super::*;
use std::path::Path;

#[test]
fn a_name_that_leads_elsewhere_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let names: Vec<PathBuf> = ["a", "b", "c"].map(|name| place.path().join(name)).into();
    std::fs::write(&names[0], "").unwrap();
    std::fs::create_dir(&names[1]).unwrap();
    let needs = Needs { read: names.clone(), ..Needs::default() };
    let watched = Watched::new(&needs);
    std::fs::write(&names[0], "written in place").unwrap();
    std::fs::write(names[1].join("x"), "").unwrap();
    assert_eq!(watched.replaced(), None);
    // Gone is not replaced.
    std::fs::remove_dir_all(&names[1]).unwrap();
    assert_eq!(watched.replaced(), None);
    std::fs::write(&names[2], "a first one").unwrap();
    assert_eq!(watched.replaced(), Some(Path::new(&names[2])));
    std::fs::write(place.path().join("new"), "").unwrap();
    std::fs::rename(place.path().join("new"), &names[0]).unwrap();
    assert_eq!(watched.replaced(), Some(Path::new(&names[0])));
}

#[test]
fn a_process_with_threads_is_refused() {
    // The thread of this test is not the only one.
    let error = enter(&Needs::default()).unwrap_err();
    assert!(error.to_string().contains("threads run already"), "{error}");
}
