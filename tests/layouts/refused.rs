//! A plain file that a mount refuses is a lack from then on, in the mount and for other commands.

use crate::case::LayoutCase;
use crate::command::{Mounted, cassmount};
use crate::data_dir::DataDirs;
use crate::history::{history, names};
use crate::skip;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

const HOST: &str = "cass-a";

#[test]
fn a_file_that_a_mount_refuses_is_a_lack_everywhere() {
    if !skip::fuse_or_skip("a_file_that_a_mount_refuses_is_a_lack_everywhere") {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    DataDirs::write(history(), source.path());
    let mounted = Mounted::start(source.path().to_str().unwrap(), &[]);
    let shop = source.path().join(HOST).join("shop");
    let table = |start: &str| names(&shop).into_iter().find(|name| name.starts_with(start)).unwrap();
    let snapshots = |table: &str| shop.join(table).join("snapshots");
    let point = names(&snapshots(&table("users-"))).remove(0);
    let shown = mounted.path(HOST).join("restore-points").join(&point);
    // Damages an SSTable in a way that the listing does not tell. Where it is shown, and its name.
    let damage = |start: &str| {
        let table = table(start);
        let snapshot = snapshots(&table).join(&point);
        let mut files = fs::read_dir(&snapshot).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let name = files.find(|name| name.ends_with("-Statistics.db")).unwrap();
        let file = snapshot.join(&name);
        let (mut bytes, time) = (fs::read(&file).unwrap(), fs::metadata(&file).unwrap().modified().unwrap());
        let at = bytes.len() / 2;
        bytes[at] ^= 4;
        fs::write(&file, bytes).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        (shown.join("shop").join(table).join(&name), name)
    };
    let refuses = |path: &Path| assert_eq!(fs::read(path).unwrap_err().raw_os_error(), Some(libc::EIO));
    let (file, name) = damage("users-");
    let told = shown.join("INCOMPLETE.txt");

    let chain = || -> Output {
        let mut command = cassmount();
        command.arg("chain").arg(source.path()).arg(HOST).arg(&point);
        command.arg("--cache-dir").arg(mounted.cache_dir()).output().unwrap()
    };
    assert_eq!((told.exists(), chain().status.code()), (false, Some(0)));
    refuses(&file);
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let sstable = name.trim_end_matches("-Statistics.db");
    let says = format!("SSTable {sstable}");
    until("INCOMPLETE.txt", &|| fs::read_to_string(&told).is_ok_and(|text| text.contains(&says)));
    until("chain", &|| chain().status.code() == Some(1));
    let said = String::from_utf8(chain().stdout).unwrap();
    assert!(said.contains(&says), "{said}");
    let status = mounted.status(Duration::from_secs(10));
    // Not of the newest point, of which warnings are.
    assert!(status["hosts"][0]["incomplete"].as_u64() > Some(0), "{status}");
    // Found in its last moment, too.
    refuses(&damage("events-").0);
    assert!(mounted.unmount().status.success());
    let said = String::from_utf8(chain().stdout).unwrap();
    assert!(said.contains("users:") && said.contains("events:"), "{said}");
}
