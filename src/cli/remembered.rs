//! What is found damaged is kept, so that later commands with the same cache directory know it.

use super::words;
use cassmount::Result;
use cassmount::catalog::Host;
use cassmount::scratch::Overlay;
use cassmount::task::blocking;
use cassmount::tree::{BackupTree, Damage};
use cassmount::verify::{self, FoundDamage};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often it is looked whether a mount has found more.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps what archives of a host were found not to give out. `directory`: where verifications keep
/// what they find.
pub(super) async fn keep(directory: &Path, source: &str, host: &Host, damages: Vec<Damage>) -> Result<()> {
    let (directory, source, host) = (directory.to_owned(), source.to_owned(), host.clone());
    let found: Vec<FoundDamage> =
        damages.into_iter().map(|Damage { set, object, evidence }| (set, object, evidence)).collect();
    let now = words::now();
    blocking(move || {
        verify::remember(&directory, &source, &host, &found, now);
        Ok(())
    })
    .await
}

/// What a mount has found so far, and was kept.
pub(super) struct OfMount {
    overlay: Weak<Overlay<BackupTree>>,
    directory: PathBuf,
    source: String,
    kept: tokio::sync::Mutex<HashMap<Host, Vec<Damage>>>,
}

impl OfMount {
    /// Keeps what the mount finds, from now on, until it ends.
    pub(super) fn watch(overlay: &Arc<Overlay<BackupTree>>, directory: PathBuf, source: String) -> Arc<Self> {
        let overlay = Arc::downgrade(overlay);
        let this = Arc::new(Self { overlay, directory, source, kept: tokio::sync::Mutex::default() });
        let watching = Arc::clone(&this);
        tokio::spawn(async move {
            while watching.overlay.strong_count() > 0 {
                tokio::time::sleep(PAUSE).await;
                watching.keep_news().await;
            }
        });
        this
    }

    /// Keeps what was found since the last time.
    pub(super) async fn keep_news(&self) {
        let mut kept = self.kept.lock().await;
        let found = self.overlay.upgrade().map(|overlay| overlay.view().all_damages());
        for (host, damages) in found.unwrap_or_default() {
            if damages.is_empty() || kept.get(&host) == Some(&damages) {
                continue;
            }
            if let Err(error) = keep(&self.directory, &self.source, &host, damages.clone()).await {
                tracing::warn!("{error}: later commands will not know what was found of {host}");
            }
            kept.insert(host, damages);
        }
    }
}
