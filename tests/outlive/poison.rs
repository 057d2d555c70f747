//! A request that every worker dies of fails alone; everything else goes on.

use super::load::Load;
use super::scene::{Backup, NO_CACHE, PATIENCE, Victim};
use super::{assert_fine, assert_unmounts, can_outlive};
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

/// One page, so that it is one request, always the same.
fn read_a_page(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    fadvise(&file, 0, None, Advice::Random)?;
    file.read_exact_at(&mut [0; 4096], 0)
}

#[test]
fn a_deadly_request_fails_alone() {
    const TEST: &str = "a_deadly_request_fails_alone";
    let Some(_alone) = can_outlive(TEST) else { return };
    let backup = Backup::new();
    let deadly = Backup::table("big").join("nb-1-big-Data.db");
    let victim = backup.mount(&[&NO_CACHE[..], &["--crash-on", deadly.to_str().unwrap()]].concat());
    let mut others = backup.expected.clone();
    others.files.remove(&deadly).unwrap();
    let load = Load::readers(&victim.mounted.mountpoint, &others);
    Victim::settle(&load);

    let path = victim.mounted.path(&deadly);
    let start = Instant::now();
    assert_eq!(read_a_page(&path).unwrap_err().raw_os_error(), Some(libc::EIO));
    let (took, deaths) = (start.elapsed(), victim.status()["restarts"].as_u64().unwrap());
    eprintln!("{TEST}: answered after {deaths} deaths and {took:?}");
    assert!(took < PATIENCE && deaths >= 4, "{deaths} deaths, {took:?}");
    // It is known now, and nobody dies of it any more: nor does a worker that starts after this.
    assert_eq!(read_a_page(&path).unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(victim.status()["restarts"], deaths);
    assert!(victim.kill());
    victim.wait_for_worker();
    assert_eq!(read_a_page(&path).unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(victim.status()["restarts"], deaths + 1);

    Victim::settle(&load);
    assert_fine(&load.finish());
    let told = victim.mounted.log();
    let request = format!("read /{}, 4096 bytes at 0, for thread ", deadly.display());
    for what in
        ["in flight: ", "answered with EIO: ", "answered with EIO, because every process that tried it died of it: "]
    {
        assert!(told.contains(&format!("{what}{request}")), "no `{what}{request}` in\n{told}");
    }
    assert!(told.contains("asked to crash on") && told.contains("src/fs/aftermath.rs"), "{told}");
    assert_unmounts(&victim);
}
