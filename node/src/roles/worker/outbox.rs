//! Results on their way to the leader: kept on disk until it has them.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use protocol::{
    codec::{decode, encode},
    wire::receipt::{ResultRequest, ResultResponse},
};
use tokio::sync::mpsc;

use crate::{
    blobs::BlobError,
    roles::{Context, leader::Leader},
};

/// Deliveries that are under way at a time.
const DELIVERIES_MAX: usize = 4;
/// Names that wait in memory. When full, whoever hands results over waits: work stops before the disk fills.
const WAITING_MAX: usize = 4_096;
/// The first delay before a delivery is tried again; it doubles up to [`DELAY_MAX`].
const DELAY: Duration = Duration::from_millis(250);
/// The longest delay before a delivery is tried again.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// Results could not be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// A file could not be written or read.
    #[error("`{}` could not be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Outputs could not be kept.
    #[error("outputs could not be kept")]
    Outputs(#[source] BlobError),
}

/// Results that no leader has taken yet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    next: AtomicU64,
    added: mpsc::Sender<u64>,
    waiting: tokio::sync::Mutex<Option<mpsc::Receiver<u64>>>,
    found: Vec<u64>,
}

impl Outbox {
    /// Opens or creates an outbox in a directory. What it holds is delivered first.
    ///
    /// # Errors
    ///
    /// If the directory cannot be used.
    pub fn open(dir: &Path) -> Result<Self, OutboxError> {
        let failed = |source| OutboxError::File { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            found.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        let next = found.last().map_or(0, |last| last.saturating_add(1));
        let (added, waiting) = mpsc::channel(WAITING_MAX);
        let inner = Inner {
            dir: dir.to_owned(),
            next: AtomicU64::new(next),
            added,
            waiting: tokio::sync::Mutex::new(Some(waiting)),
            found: found.into_iter().collect(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Keeps results until they are delivered.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub async fn put(&self, results: &ResultRequest) -> Result<(), OutboxError> {
        let name = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path(name);
        let temporary = path.with_extension("tmp");
        let written =
            fs::write(&temporary, encode(results)).and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|source| OutboxError::File { path, source })?;
        let _stopped = self.inner.added.send(name).await;
        Ok(())
    }

    fn path(&self, name: u64) -> PathBuf {
        self.inner.dir.join(name.to_string())
    }

    fn read(&self, name: u64) -> Option<ResultRequest> {
        let path = self.path(name);
        let read = fs::read(&path).map_err(|error| error.to_string());
        match read.and_then(|bytes| decode(&bytes).map_err(|error| error.to_string())) {
            Ok(results) => Some(results),
            Err(error) => {
                tracing::warn!(path = %path.display(), error, "kept results cannot be read and are dropped");
                self.remove(name);
                None
            }
        }
    }

    fn remove(&self, name: u64) {
        let path = self.path(name);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "delivered results could not be removed");
        }
    }
}

/// Delivers until the node stops.
pub(super) async fn deliver(context: Context, outbox: Outbox, leader: Leader) {
    let Some(mut added) = outbox.inner.waiting.lock().await.take() else { return };
    let permits = Arc::new(tokio::sync::Semaphore::new(DELIVERIES_MAX));
    let mut found = outbox.inner.found.clone().into_iter();
    loop {
        let next = match found.next() {
            Some(name) => Some(name),
            None => tokio::select! {
                biased;
                () = context.stop.cancelled() => None,
                name = added.recv() => name,
            },
        };
        let Some(name) = next else { return };
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let (outbox, leader) = (outbox.clone(), leader.clone());
        context.spawn(async move {
            deliver_one(&outbox, &leader, name).await;
            drop(permit);
        });
    }
}

async fn deliver_one(outbox: &Outbox, leader: &Leader, name: u64) {
    let mut delay = DELAY;
    let mut changed = leader.watch();
    while let Some(results) = outbox.read(name) {
        match leader.result(results).await {
            Ok(ResultResponse::Taken) => return outbox.remove(name),
            Ok(ResultResponse::Refused(reason)) => {
                tracing::debug!(%reason, "results are not wanted");
                return outbox.remove(name);
            }
            Ok(ResultResponse::Retry(reason)) => {
                tracing::debug!(%reason, "results are not taken yet")
            }
            Err(error) => tracing::debug!(%error, "results could not be delivered"),
        }
        let _either = tokio::time::timeout(delay, changed.changed()).await;
        delay = delay.saturating_mul(2).min(DELAY_MAX);
    }
}
