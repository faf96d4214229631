//! The store itself.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use protocol::{
    ids::{Hash, JobId},
    time::UnixMillis,
    wire::manifest::BlobRef,
};

use super::{
    BlobError, BlobWriter,
    index::{Entry, Index},
};

/// Content up to this size lies in the database, in bytes.
pub(super) const SMALL_MAX: usize = 64 * 1024;
/// Contents looked at in one go when room is made.
const EVICT_STEP: usize = 256;

/// The node's content. Cheap to clone.
///
/// All calls are blocking and quick for small content; call those that may touch large content off the async
/// threads.
#[derive(Debug, Clone)]
pub struct BlobStore {
    inner: Arc<Inner>,
}

struct Inner {
    index: Index,
    dir: PathBuf,
    quota: u64,
    used: AtomicU64,
    temporary: AtomicU64,
    clock: Box<dyn Fn() -> UnixMillis + Send + Sync>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("dir", &self.dir)
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

/// Why content is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// For whom.
    pub job: JobId,
    /// For how long from now.
    pub keep: Duration,
}

/// Content to read.
#[derive(Debug)]
pub enum Content {
    /// In memory, checked.
    Small(Vec<u8>),
    /// In a file. Not checked yet: whoever reads it all checks it.
    Large(File, u64),
}

impl Content {
    /// Its length, in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Small(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Large(_, len) => *len,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl BlobStore {
    /// Opens or creates the store in a directory.
    ///
    /// # Errors
    ///
    /// If the directory or its database cannot be used.
    pub fn open(
        dir: &Path,
        quota: u64,
        clock: impl Fn() -> UnixMillis + Send + Sync + 'static,
    ) -> Result<Self, BlobError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| BlobError::File { path, source }
        };
        let temporary = dir.join("tmp");
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(failed(&temporary))?;
        }
        for path in [dir, &temporary, &dir.join("large")] {
            fs::create_dir_all(path).map_err(failed(path))?;
        }
        let index = Index::open(&dir.join("small"))?;
        let used = AtomicU64::new(index.total()?);
        let inner = Inner {
            index,
            dir: dir.to_owned(),
            quota,
            used,
            temporary: AtomicU64::new(0),
            clock: Box::new(clock),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.inner.used.load(Ordering::Relaxed)
    }

    /// Whether some content is here.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn has(&self, hash: &Hash) -> Result<bool, BlobError> {
        Ok(*hash == Hash::of(&[]) || self.inner.index.entry(hash)?.is_some())
    }

    /// Stores one content.
    ///
    /// # Errors
    ///
    /// If there is no room, or the disk fails.
    pub fn put(&self, content: &[u8]) -> Result<BlobRef, BlobError> {
        self.put_all(&[content], false)?;
        Ok(BlobRef::to(content))
    }

    /// Stores contents; with `sync`, they are durable when this returns.
    ///
    /// # Errors
    ///
    /// If there is no room, or the disk fails.
    pub fn put_all(&self, contents: &[&[u8]], sync: bool) -> Result<(), BlobError> {
        let minute = self.minute();
        let mut small: Vec<(Hash, Entry, Option<&[u8]>)> = Vec::new();
        for content in contents.iter().filter(|content| !content.is_empty()) {
            let blob = BlobRef::to(content);
            if self.inner.index.entry(&blob.hash)?.is_some()
                || small.iter().any(|(hash, ..)| *hash == blob.hash)
            {
                continue;
            }
            if content.len() > SMALL_MAX {
                let mut writer = self.writer()?;
                writer.write(content)?;
                writer.finish(sync)?;
                continue;
            }
            self.make_room(blob.len)?;
            small.push((blob.hash, Entry { len: blob.len, minute, small: true }, Some(content)));
        }
        if small.is_empty() && !sync {
            return Ok(());
        }
        let added = small.iter().fold(0_u64, |sum, (_, entry, _)| sum.saturating_add(entry.len));
        self.inner.index.insert(&small, sync)?;
        self.inner.used.fetch_add(added, Ordering::Relaxed);
        Ok(())
    }

    /// Stores content as it comes, whatever its length.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn writer(&self) -> Result<BlobWriter, BlobError> {
        let number = self.inner.temporary.fetch_add(1, Ordering::Relaxed);
        BlobWriter::create(self.clone(), self.inner.dir.join("tmp").join(number.to_string()))
    }

    /// Content to read; `None` if it is not here.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn open_content(&self, hash: &Hash) -> Result<Option<Content>, BlobError> {
        if *hash == Hash::of(&[]) {
            return Ok(Some(Content::Small(Vec::new())));
        }
        let Some(entry) = self.inner.index.entry(hash)? else { return Ok(None) };
        let minute = self.minute();
        if entry.minute != minute {
            self.inner.index.touch(hash, &entry, minute)?;
        }
        if entry.small {
            let content =
                self.inner.index.small(hash)?.filter(|content| Hash::of(content) == *hash);
            if content.is_none() {
                self.drop_damaged(hash, &entry)?;
            }
            return Ok(content.map(Content::Small));
        }
        let path = self.file(hash);
        match File::open(&path) {
            Ok(file) => Ok(Some(Content::Large(file, entry.len))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.drop_damaged(hash, &entry)?;
                Ok(None)
            }
            Err(source) => Err(BlobError::File { path, source }),
        }
    }

    /// All of some content, checked; `None` if it is not here.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn get(&self, hash: &Hash) -> Result<Option<Vec<u8>>, BlobError> {
        match self.open_content(hash)? {
            None => Ok(None),
            Some(Content::Small(content)) => Ok(Some(content)),
            Some(Content::Large(mut file, len)) => {
                let mut content = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
                let path = self.file(hash);
                file.read_to_end(&mut content)
                    .map_err(|source| BlobError::File { path, source })?;
                if Hash::of(&content) == *hash {
                    return Ok(Some(content));
                }
                if let Some(entry) = self.inner.index.entry(hash)? {
                    self.drop_damaged(hash, &entry)?;
                }
                Ok(None)
            }
        }
    }

    /// The file that holds large content, for whoever wants to map it; `None` if it is small or not here.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn path_of(&self, hash: &Hash) -> Result<Option<PathBuf>, BlobError> {
        Ok(self.inner.index.entry(hash)?.filter(|entry| !entry.small).map(|_| self.file(hash)))
    }

    /// Keeps contents for a job, whether they are here yet or not.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn pin(&self, hashes: impl IntoIterator<Item = Hash>, pin: Pin) -> Result<(), BlobError> {
        let until = (self.inner.clock)().saturating_add(pin.keep);
        let pins: Vec<_> = hashes.into_iter().map(|hash| (hash, pin.job.0)).collect();
        if pins.is_empty() { Ok(()) } else { self.inner.index.pin(&pins, until.0) }
    }

    /// Takes over a finished file.
    pub(super) fn adopt(&self, temporary: &Path, blob: BlobRef) -> Result<(), BlobError> {
        if self.inner.index.entry(&blob.hash)?.is_some() {
            let _left_behind = fs::remove_file(temporary);
            return Ok(());
        }
        self.make_room(blob.len)?;
        let path = self.file(&blob.hash);
        let failed = |source| BlobError::File { path: path.clone(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::rename(temporary, &path).map_err(failed)?;
        let entry = Entry { len: blob.len, minute: self.minute(), small: false };
        self.inner.index.insert(&[(blob.hash, entry, None)], false)?;
        self.inner.used.fetch_add(blob.len, Ordering::Relaxed);
        Ok(())
    }

    fn make_room(&self, len: u64) -> Result<(), BlobError> {
        let now = (self.inner.clock)().0;
        let quota = self.inner.quota;
        while self.used().saturating_add(len) > quota {
            let mut freed = false;
            for hash in self.inner.index.oldest(EVICT_STEP)? {
                if self.used().saturating_add(len) <= quota {
                    return Ok(());
                }
                let Some(entry) = self.inner.index.entry(&hash)? else { continue };
                if self.inner.index.is_pinned(&hash, now)? {
                    // To the end of the order, so that the next look finds others.
                    self.inner.index.touch(&hash, &entry, self.minute())?;
                    continue;
                }
                self.forget(&hash, &entry)?;
                freed = true;
            }
            if !freed {
                return Err(BlobError::Full { used: self.used(), quota });
            }
        }
        Ok(())
    }

    fn drop_damaged(&self, hash: &Hash, entry: &Entry) -> Result<(), BlobError> {
        tracing::warn!(%hash, "content was changed on disk and is dropped");
        self.forget(hash, entry)
    }

    fn forget(&self, hash: &Hash, entry: &Entry) -> Result<(), BlobError> {
        self.inner.index.remove(hash, entry)?;
        self.inner.used.fetch_sub(entry.len.min(self.used()), Ordering::Relaxed);
        if !entry.small {
            let path = self.file(hash);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(BlobError::File { path, source: error });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&self, hash: &Hash) -> PathBuf {
        let name = hash.to_string();
        self.inner.dir.join("large").join(name.get(..2).unwrap_or_default()).join(&name)
    }

    fn minute(&self) -> u64 {
        (self.inner.clock)().0.checked_div(60_000).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &Path, quota: u64) -> BlobStore {
        BlobStore::open(dir, quota, || UnixMillis(1_000_000)).unwrap()
    }

    #[test]
    fn what_is_stored_is_found_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (small, large) = (vec![1; 100], vec![2; SMALL_MAX + 1]);
        {
            let store = store(dir.path(), 1 << 30);
            store.put_all(&[&small, &large, &small], true).unwrap();
            assert_eq!(store.used(), 100 + SMALL_MAX as u64 + 1);
        }
        let store = store(dir.path(), 1 << 30);
        assert_eq!(store.used(), 100 + SMALL_MAX as u64 + 1);
        for content in [small, large, vec![]] {
            assert_eq!(store.get(&Hash::of(&content)).unwrap(), Some(content));
        }
        assert_eq!(store.get(&Hash([9; 32])).unwrap(), None);
    }

    #[test]
    fn damage_on_disk_counts_as_missing() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 1 << 30);
        let large = vec![2; SMALL_MAX + 1];
        let hash = store.put(&large).unwrap().hash;
        fs::write(store.path_of(&hash).unwrap().unwrap(), vec![3; SMALL_MAX + 1]).unwrap();
        assert_eq!(store.get(&hash).unwrap(), None);
        assert!(!store.has(&hash).unwrap());
        store.put(&large).unwrap();
        assert_eq!(store.get(&hash).unwrap(), Some(large));
    }

    #[test]
    fn the_quota_drops_what_nobody_needs_and_keeps_what_is_pinned() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 250);
        let pin = Pin { job: JobId([1; 16]), keep: Duration::from_secs(60) };
        let pinned = store.put(&[1; 100]).unwrap().hash;
        store.pin([pinned], pin).unwrap();
        let loose = store.put(&[2; 100]).unwrap().hash;
        let newer = store.put(&[3; 100]).unwrap().hash;
        assert!(
            store.has(&pinned).unwrap()
                && !store.has(&loose).unwrap()
                && store.has(&newer).unwrap()
        );
        store.pin([newer], pin).unwrap();
        assert!(matches!(store.put(&[4; 100]), Err(BlobError::Full { used: 200, quota: 250 })));
    }

    #[test]
    fn a_pin_ends() {
        let dir = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicU64::new(0));
        let clock = now.clone();
        let store =
            BlobStore::open(dir.path(), 150, move || UnixMillis(clock.load(Ordering::Relaxed)))
                .unwrap();
        let pinned = store.put(&[1; 100]).unwrap().hash;
        store.pin([pinned], Pin { job: JobId([1; 16]), keep: Duration::from_secs(60) }).unwrap();
        assert!(store.put(&[2; 100]).is_err());
        now.store(60_001, Ordering::Relaxed);
        store.put(&[2; 100]).unwrap();
        assert!(!store.has(&pinned).unwrap());
    }
}
