//! Mounts for tests: in a directory of their own, always unmounted, also when the test fails.

use cassmount::fs::{MountOptions, Mounted};
use cassmount::scratch::{Overlay, ScratchOptions};
use cassmount::view::View;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Whether the machine can mount at all; says loudly which test is left out if not.
pub fn can_mount(test: &str) -> bool {
    crate::skip::fuse_or_skip(test)
}

/// `mount_test!(name, |fixture| …)` would hide too much: tests begin with this line instead.
#[macro_export]
macro_rules! needs_fuse {
    ($test:expr) => {
        if !$crate::mount::can_mount($test) {
            return;
        }
    };
}

/// A mounted overlay of a view, its runtime and its directories.
pub struct TestMount<V: View> {
    pub overlay: Arc<Overlay<V>>,
    pub mounted: Option<Mounted>,
    pub path: PathBuf,
    pub scratch: ScratchOptions,
    pub runtime: Runtime,
    _directories: tempfile::TempDir,
}

impl<V: View> TestMount<V> {
    pub fn new(view: V) -> Self {
        Self::with(view, MountOptions::default(), |_| {})
    }

    pub fn with(view: V, options: MountOptions, adjust: impl FnOnce(&mut ScratchOptions)) -> Self {
        let directories = tempfile::tempdir().unwrap();
        let path = directories.path().join("mount");
        std::fs::create_dir(&path).unwrap();
        let mut scratch = ScratchOptions::new(directories.path().join("scratch"));
        adjust(&mut scratch);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        let overlay =
            Arc::new(if options.read_only { Overlay::read_only(view) } else { Overlay::new(view, &scratch).unwrap() });
        let mounted = {
            let _runtime = runtime.enter();
            cassmount::fs::mount(overlay.clone(), &path, options).unwrap()
        };
        Self { overlay, mounted: Some(mounted), path, scratch, runtime, _directories: directories }
    }

    /// A path in the mount.
    pub fn at(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    /// Unmounts and insists that it works. Closes are reported late, so a moment of being busy is
    /// none.
    pub fn unmount(&mut self) {
        let Some(mounted) = self.mounted.take() else { return };
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Err(error) = self.runtime.block_on(mounted.unmount()) {
            assert!(Instant::now() < deadline, "cannot unmount: {error}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl<V: View> Drop for TestMount<V> {
    fn drop(&mut self) {
        // `Mounted` unmounts when dropped, by detaching if it must; the temporary directory goes
        // only after that.
        drop(self.mounted.take());
    }
}
