//! The Debian package in a fresh Debian 12: it installs, mounts as mount(8) and fstab would, and
//! purging it leaves nothing behind.

use testkit::skip;

use skip::{fuse_or_skip, skip};
use std::path::Path;
use std::process::{Command, Output};

const NAME: &str = "the_package_installs_mounts_and_leaves_nothing_behind";

/// What a user of the package does, and what is to be seen. `/sample` is the sample bucket with its
/// keys.
const SESSION: &str = r#"
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
echo 'PRUNEFS = "NFS afs"' > /etc/updatedb.conf
apt-get install -y -qq --no-install-recommends /tmp/cassmount.deb >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }
eval "$(grep '^ *sed -i .*updatedb.conf$' /tmp/apt.log)"
grep -qx 'PRUNEFS = "fuse.cassmount NFS afs"' /etc/updatedb.conf
rm /etc/updatedb.conf
cassmount --version
test -e /usr/share/man/man1/cassmount.1.gz
test -e /usr/share/man/man1/cassmount-mount.1.gz
bash -n /usr/share/bash-completion/completions/cassmount
cassmount list /sample/bucket
mkdir /mnt/backups
echo '/sample/bucket /mnt/backups cassmount key-file=/sample/key-2026-a.txt,key-file=/sample/key-2026-b.txt,_netdev,nofail 0 0' >> /etc/fstab
mount /mnt/backups
ls /mnt/backups/cass-a/restore-points/latest/shop
cat /mnt/backups/cass-a/restore-points/latest/shop/users-*/*-Digest.crc32
cassmount status
umount /mnt/backups
rmdir /mnt/backups
rm /etc/fstab
apt-get purge -y -qq cassmount >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }
apt-get autoremove --purge -y -qq >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }
test ! -e /usr/bin/cassmount
echo left behind:
find / -xdev \( -name '*cassmount*' -o -path '*/cassmount/*' \) -not -path '/proc*' -not -path '/tmp/cassmount.deb' -not -path '/sample/*'
"#;

/// A Debian 12 of its own in a directory, unmounted and removed when dropped.
struct FreshDebian(tempfile::TempDir);

impl FreshDebian {
    /// `None`: said why it cannot be had.
    fn install() -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().to_str().unwrap();
        let made = Command::new("debootstrap").args(["--variant=minbase", "bookworm", path]).output();
        match made {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout);
                skip(NAME, &format!("debootstrap failed: {}", said.lines().last().unwrap_or_default()));
                return None;
            }
            Err(_) => {
                skip(NAME, "debootstrap is not installed (apt-get install debootstrap)");
                return None;
            }
        }
        let debian = Self(root);
        for (options, to) in [(["-t", "proc", "proc"], "proc"), (["--bind", "--", "/dev"], "dev")] {
            let mounted = Command::new("mount").args(options).arg(debian.path().join(to)).status();
            assert!(mounted.unwrap().success(), "mount {to}");
        }
        Some(debian)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, script: &str) -> Output {
        Command::new("chroot").arg(self.path()).args(["/bin/bash", "-c", script]).env("HOME", "/root").output().unwrap()
    }
}

impl Drop for FreshDebian {
    fn drop(&mut self) {
        for below in ["mnt/backups", "dev", "proc"] {
            let _ = Command::new("umount").arg("--lazy").arg(self.path().join(below)).output();
        }
    }
}

#[test]
fn the_package_installs_mounts_and_leaves_nothing_behind() {
    if !fuse_or_skip(NAME) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return skip(NAME, "a Debian of its own takes root to set up");
    }
    if !Command::new("cargo").args(["deb", "--version"]).output().is_ok_and(|output| output.status.success()) {
        return skip(NAME, "cargo-deb is not installed (scripts/package installs it)");
    }
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packaged = Command::new(project.join("scripts/package")).args(["--profile", "dev"]).output().unwrap();
    assert!(packaged.status.success(), "{packaged:?}");
    let packaged = String::from_utf8(packaged.stdout).unwrap();
    let package = packaged.split_whitespace().last().expect("the line that ls wrote");

    let Some(debian) = FreshDebian::install() else { return };
    std::fs::copy(project.join(package), debian.path().join("tmp/cassmount.deb")).unwrap();
    let sample = debian.path().join("sample");
    assert!(Command::new("cp").arg("-r").arg(project.join("sample")).arg(&sample).status().unwrap().success());

    let output = debian.run(SESSION);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("cass-a") && said.contains("users-"), "{said}");
    let (_, left) = said.split_once("left behind:\n").expect("the end of the session");
    assert_eq!(left, "", "purged, and yet there");
}
