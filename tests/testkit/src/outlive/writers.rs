//! Programs that write into a mount's scratch layer: what they made, changed, renamed and removed
//! is what they find.

use super::load::{Scene, failed};
use super::random::Random;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

/// One life of a file: made, written in pieces, read, changed, renamed, linked, read by a
/// descriptor when it has no name any more.
pub fn write_own(scene: &Scene, random: &mut Random) -> Result<(), String> {
    let directory = scene.own_directory(random);
    let name = format!("own-{:?}-{}", std::thread::current().id(), random.next());
    let (path, moved, link) =
        (directory.join(&name), directory.join(format!("{name}-moved")), directory.join(format!("{name}-link")));

    let length = 1 + random.below(200_000);
    let mut content = random.bytes(length);
    let mut file =
        OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(failed("create", &path))?;
    for piece in content.chunks(30_000) {
        file.write_all(piece).map_err(failed("write", &path))?;
    }
    if fs::read(&path).map_err(failed("read", &path))? != content {
        return Err(format!("{} is not what was written", path.display()));
    }

    let at = random.below(content.len());
    let length = 1 + random.below(5000);
    let patch = random.bytes(length);
    file.seek(SeekFrom::Start(at as u64)).map_err(failed("seek", &path))?;
    file.write_all(&patch).map_err(failed("change", &path))?;
    content.resize(content.len().max(at + patch.len()), 0);
    content[at..at + patch.len()].copy_from_slice(&patch);
    content.truncate(content.len() / 2 + 1);
    file.set_len(content.len() as u64).map_err(failed("truncate", &path))?;

    fs::rename(&path, &moved).map_err(failed("rename", &path))?;
    fs::hard_link(&moved, &link).map_err(failed("link", &moved))?;
    if path.exists() {
        return Err(format!("{} is still there", path.display()));
    }
    let read = fs::read(&link).map_err(failed("read", &link))?;
    if read != content {
        let at = read.iter().zip(&content).position(|(read, content)| read != content);
        let lengths = (read.len(), content.len());
        return Err(format!(
            "{} is not what was renamed and linked, from {at:?} on, {lengths:?} bytes",
            link.display()
        ));
    }
    fs::remove_file(&moved).map_err(failed("remove", &moved))?;
    fs::remove_file(&link).map_err(failed("remove", &link))?;
    let mut read = vec![0; content.len()];
    file.read_exact_at(&mut read, 0).map_err(failed("read without a name", &path))?;
    if read != content || link.exists() {
        return Err(format!("{} is not what it was before it lost its name", path.display()));
    }
    make_directory(&directory.join(format!("{name}-dir")))
}

fn make_directory(path: &std::path::Path) -> Result<(), String> {
    fs::create_dir(path).map_err(failed("make", path))?;
    let inside = path.join("x");
    File::create_new(&inside).map_err(failed("create", &inside))?;
    match fs::remove_dir(path) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTEMPTY) => {}
        other => return Err(format!("a directory with a file in it: {other:?}")),
    }
    fs::remove_file(&inside).map_err(failed("remove", &inside))?;
    fs::remove_dir(path).map_err(failed("remove", path))
}
