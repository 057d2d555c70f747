use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives something to another user. False, said loudly, where only root could.
fn give_away(path: &Path) -> bool {
    match std::os::unix::fs::lchown(path, Some(4321), Some(4321)) {
        Ok(()) => true,
        Err(error) => {
            assert!(!rustix::process::geteuid().is_root(), "{error}");
            // As the test kit says it, past what the test harness keeps back.
            let line = b"SKIPPED private::tests: takes root, to give files to another user\n";
            std::io::Write::write_all(&mut std::io::stderr(), line).unwrap();
            false
        }
    }
}

#[test]
fn a_directory_is_made_for_its_owner_alone_with_those_above_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a/b");
    assert!(!exists(&path).unwrap());
    directory(&path).unwrap();
    assert_eq!((mode(&path), mode(&place.path().join("a"))), (0o700, 0o700));
    set_mode(&path, 0o755);
    directory(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    assert!(exists(&path).unwrap());
}

#[test]
fn what_is_no_directory_of_ours_is_refused_and_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let (real, link) = (place.path().join("real"), place.path().join("link"));
    fs::create_dir(&real).unwrap();
    set_mode(&real, 0o755);
    symlink(&real, &link).unwrap();
    let error = directory(&link).unwrap_err();
    assert_eq!(error.kind(), Kind::NotDirectory);
    assert!(error.to_string().contains(&format!("leads to, {}", real.display())), "{error}");
    assert_eq!(mode(&real), 0o755);
    // On the way, a link of ours is as good as a name.
    directory(&link.join("below")).unwrap();
    assert!(real.join("below").is_dir());

    let file = place.path().join("file");
    fs::write(&file, "x").unwrap();
    assert_eq!(directory(&file).unwrap_err().kind(), Kind::NotDirectory);
    assert_eq!(directory(&file.join("below")).unwrap_err().kind(), Kind::NotDirectory);
    assert_eq!(exists(&file.join("below")).unwrap_err().kind(), Kind::NotDirectory);
}

#[test]
fn what_belongs_to_somebody_else_is_refused_with_their_number() {
    let place = tempfile::tempdir().unwrap();
    let theirs = place.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    set_mode(&theirs, 0o777);
    if !give_away(&theirs) {
        return;
    }
    for (path, whose) in [(theirs.clone(), "uid 4321, and"), (theirs.join("ours"), "uid 4321, who could exchange")] {
        for refused in [directory(&path).unwrap_err(), exists(&path).unwrap_err()] {
            assert_eq!(refused.kind(), Kind::NotPermitted);
            assert!(refused.to_string().contains(whose), "{refused}");
        }
    }
    assert!(!theirs.join("ours").exists());
    assert_eq!(mode(&theirs), 0o777);
    // Their link is not followed on the way either.
    let (link, ours) = (place.path().join("link"), place.path().join("ours"));
    fs::create_dir(&ours).unwrap();
    symlink(&ours, &link).unwrap();
    assert!(give_away(&link));
    assert_eq!(directory(&link.join("x")).unwrap_err().kind(), Kind::NotPermitted);
    assert!(!ours.join("x").exists());
}

#[test]
fn others_may_not_write_to_a_directory_on_the_way() {
    let place = tempfile::tempdir().unwrap();
    set_mode(place.path(), 0o777);
    let error = directory(&place.path().join("x")).unwrap_err();
    assert_eq!(error.kind(), Kind::NotPermitted);
    assert!(error.to_string().contains("chmod o-w"), "{error}");
    set_mode(place.path(), 0o1777);
    directory(&place.path().join("x")).unwrap();
}

#[test]
fn only_plain_files_of_ours_are_opened() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let refused = |name: &str| {
        for how in [Open::Read, Open::ReadWrite, Open::Create, Open::Append] {
            let error = open(&at(name), how).unwrap_err();
            assert!(matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory), "{error:?}");
        }
    };
    assert_eq!(open(&at("new"), Open::Read).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(open(&at("no/new"), Open::Create).unwrap_err().kind(), io::ErrorKind::NotFound);
    open(&at("new"), Open::Create).unwrap();
    assert_eq!(mode(&at("new")), 0o600);

    fs::write(at("secret"), "a secret").unwrap();
    symlink(at("secret"), at("link")).unwrap();
    refused("link");
    symlink(at("nothing"), at("dangling")).unwrap();
    refused("dangling");
    assert!(!at("nothing").exists());
    fs::hard_link(at("secret"), at("second")).unwrap();
    refused("second");
    fs::remove_file(at("second")).unwrap();
    assert_eq!(read(&at("secret"), 100).unwrap(), b"a secret");
    assert_eq!(read(&at("secret"), 3).unwrap_err().kind(), io::ErrorKind::InvalidData);
    fs::create_dir(at("directory")).unwrap();
    refused("directory");
    if rustix::process::geteuid().is_root() {
        chown(at("secret"), Some(4321), None).unwrap();
        refused("secret");
        assert!(open(&at("secret"), Open::Read).unwrap_err().to_string().contains("uid 4321"));
    }
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let place = tempfile::tempdir().unwrap();
    let pipe = place.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!(open(&pipe, Open::Read).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn what_is_below_a_directory_is_found_through_links_and_before_it_exists() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().canonicalize().unwrap();
    let (mount, outside) = (root.join("mount"), root.join("outside"));
    fs::create_dir(&mount).unwrap();
    symlink(&mount, &outside).unwrap();
    for (path, expected) in [
        (mount.clone(), true),
        (mount.join("cache/new"), true),
        (outside.join("cache/new"), true),
        (root.join("mounted"), false),
        (root.clone(), false),
    ] {
        assert_eq!(is_below(&path, &mount).unwrap(), expected, "{}", path.display());
    }
}
