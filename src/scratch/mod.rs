//! The writable layer above the tree: private to one mount, bounded, gone at unmount.
