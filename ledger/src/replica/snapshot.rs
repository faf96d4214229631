//! Snapshots: all records as of one entry of the log, in one file.
//!
//! ```text
//! "weft snapshot 1\n"
//! frame*            length (u32, little-endian, not zero), BLAKE3 of the payload, payload
//! 0 (u32), digest   the hash chain over all frames: digest = BLAKE3(digest before ‖ hash of the frame)
//! ```
//!
//! The first payload is a [`Header`], each other one a [`Chunk`]. A file is complete or it does not get its name;
//! what was received is checked to its end before anything is replaced by it.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::{PoisonError, RwLock},
};

use protocol::{
    codec::{self, Canonical},
    ids::Hash,
};
use rocksdb::{Snapshot, WriteBatch};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    directory::sync_dir,
    disk::{self, Corrupt, LogIdRecord, StoredMembershipRecord},
    raft::{LogId, SnapshotMeta},
    store::{AFTER_ALL_KEYS, Database, Durability, META, StoreError, meta},
};
use crate::records::{Record, Table};

const MAGIC: &[u8; 16] = b"weft snapshot 1\n";
/// A chunk is closed when its keys and values reach this many bytes.
const CHUNK_BYTES: usize = 256 * 1024;
/// The name of the newest snapshot.
const CURRENT: &str = "current";
/// What the names of snapshots that are being written begin with.
pub(crate) const UNFINISHED: &str = "unfinished-";

/// A snapshot could not be written, read or installed.
#[derive(Debug, Error)]
pub(crate) enum SnapshotError {
    /// The file could not be written or read.
    #[error("the snapshot file could not be written or read")]
    File(#[from] io::Error),
    /// The database could not be.
    #[error("the records of the snapshot could not be written or read")]
    Store(#[from] StoreError),
    /// The file is not what was written.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// It holds something that cannot be.
    #[error("the snapshot is damaged")]
    Corrupt(#[from] Corrupt),
    /// A record is larger than a chunk may be.
    #[error("a record of `{0}` is too large for a snapshot")]
    TooLarge(&'static str),
}

/// Which state a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The last entry that it holds.
    applied: Option<LogIdRecord>,
    /// The group as of that entry.
    membership: Option<StoredMembershipRecord>,
}

impl Canonical for Header {
    const BYTES_MAX: usize = 32 + StoredMembershipRecord::BYTES_MAX;
}

impl From<&SnapshotMeta> for Header {
    fn from(meta: &SnapshotMeta) -> Self {
        Self {
            applied: meta.last_log_id.as_ref().map(LogIdRecord::from),
            membership: StoredMembershipRecord::of(&meta.last_membership),
        }
    }
}

impl TryFrom<Header> for SnapshotMeta {
    type Error = Corrupt;

    fn try_from(header: Header) -> Result<Self, Corrupt> {
        let last_membership =
            header.membership.map(TryInto::try_into).transpose()?.unwrap_or_default();
        Ok(Self { last_log_id: header.applied.map(LogId::from), last_membership })
    }
}

/// Some records of one table.
#[derive(Debug, Serialize, Deserialize)]
struct Chunk {
    table: String,
    records: Vec<Record>,
}

impl Canonical for Chunk {
    const BYTES_MAX: usize = 1024 * 1024;
}

/// A complete snapshot, open for reading. It stays readable when a newer one takes its name.
#[derive(Debug)]
pub(crate) struct SnapshotFile(File);

impl SnapshotFile {
    /// Takes a file that was received. What it holds is not checked yet.
    pub(crate) fn new(file: File) -> Self {
        Self(file)
    }

    /// The file itself. Its position is shared: whoever reads it first goes to where it wants to read.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    /// Reads all of it and checks each frame, the digest, and that it is the snapshot that `meta` says.
    pub(crate) fn verify(&self, meta: &SnapshotMeta) -> Result<(), SnapshotError> {
        let mut frames = Frames::open(&self.0)?;
        if frames.header()? != Header::from(meta) {
            return Err(SnapshotError::Damaged("it is of another entry than was said"));
        }
        while frames.next()?.is_some() {}
        Ok(())
    }
}

/// The directory that holds the newest snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotDir {
    dir: PathBuf,
    /// Held while a file gets its name, so that an older snapshot never replaces a newer one.
    naming: RwLock<()>,
}

impl SnapshotDir {
    /// Takes the directory and removes what was not finished.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { dir, naming: RwLock::new(()) })
    }

    /// The newest snapshot, if there is one.
    pub(crate) fn current(&self) -> Result<Option<(SnapshotMeta, SnapshotFile)>, SnapshotError> {
        let file = match File::open(self.dir.join(CURRENT)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let header = Frames::open(&file)?.header()?;
        Ok(Some((header.try_into()?, SnapshotFile(file))))
    }

    /// Writes what `snapshot` sees into a file, and makes it the newest snapshot.
    pub(crate) fn write(
        &self,
        database: &Database,
        snapshot: &Snapshot<'_>,
    ) -> Result<(SnapshotMeta, SnapshotFile), SnapshotError> {
        let header = Header {
            applied: database.meta_at(Some(snapshot), meta::APPLIED)?,
            membership: database.meta_at(Some(snapshot), meta::MEMBERSHIP)?,
        };
        let meta = SnapshotMeta::try_from(header.clone())?;
        let unfinished = self.unfinished("built", &meta);
        let mut writer = FrameWriter::create(&unfinished)?;
        writer.frame(&codec::encode(&header))?;
        for table in Table::ALL {
            write_table(database, snapshot, table, &mut writer)?;
        }
        writer.finish()?;
        // The log may be shortened once this snapshot is reported: what it covers must be durable.
        database.sync()?;
        self.name(&unfinished, &meta)?;
        Ok((meta, SnapshotFile(File::open(self.dir.join(CURRENT))?)))
    }

    /// Copies a snapshot that came from elsewhere, checks all of it, and makes it the newest.
    pub(crate) fn receive(
        &self,
        meta: &SnapshotMeta,
        received: &SnapshotFile,
    ) -> Result<(), SnapshotError> {
        let unfinished = self.unfinished("received", meta);
        let mut frames = Frames::open(&received.0)?;
        if frames.header()? != Header::from(meta) {
            return Err(SnapshotError::Damaged("it is of another entry than was said"));
        }
        let mut writer = FrameWriter::create(&unfinished)?;
        writer.frame(&codec::encode(&Header::from(meta)))?;
        while let Some(payload) = frames.next()? {
            writer.frame(&payload)?;
        }
        writer.finish()?;
        self.name(&unfinished, meta)
    }

    fn unfinished(&self, how: &str, meta: &SnapshotMeta) -> PathBuf {
        let index = meta.last_log_id.map_or(0, |id| id.index);
        self.dir.join(format!("{UNFINISHED}{how}-{index}"))
    }

    /// Gives a complete and synced file its name, unless a newer one has it.
    fn name(&self, unfinished: &PathBuf, meta: &SnapshotMeta) -> Result<(), SnapshotError> {
        // The lock guards no value, so a panic while it was held leaves nothing broken behind.
        let _naming = self.naming.write().unwrap_or_else(PoisonError::into_inner);
        let newest = self.current()?.and_then(|(newest, _)| newest.last_log_id);
        if newest > meta.last_log_id {
            fs::remove_file(unfinished)?;
            return Ok(());
        }
        fs::rename(unfinished, self.dir.join(CURRENT))?;
        sync_dir(&self.dir)?;
        Ok(())
    }
}

/// Replaces all records by those of the newest snapshot.
///
/// Until it is done the database says so on disk; [`finish_install`] repeats what a crash cut off. Readers wait.
pub(crate) fn install(database: &Database, snapshots: &SnapshotDir) -> Result<(), SnapshotError> {
    let Some((meta, file)) = snapshots.current()? else {
        return Err(SnapshotError::Damaged("it is gone"));
    };
    let header = Header::from(&meta);
    let mut mark = WriteBatch::default();
    mark.put_cf(&database.family(META)?, meta::INSTALLING, disk::seal(&header));
    database.write(mark, Durability::Synced)?;

    let _readers_wait = database.replace_records();
    let mut clear = WriteBatch::default();
    for table in Table::ALL {
        clear.delete_range_cf(
            &database.family(table.name())?,
            [].as_slice(),
            AFTER_ALL_KEYS.as_slice(),
        );
    }
    database.write(clear, Durability::Buffered)?;

    let mut frames = Frames::open(&file.0)?;
    frames.header()?;
    while let Some(payload) = frames.next()? {
        let chunk: Chunk = codec::decode(&payload).map_err(Corrupt::Malformed)?;
        let table = Table::ALL.into_iter().find(|table| table.name() == chunk.table);
        let family =
            database.family(table.ok_or(SnapshotError::Damaged("an unknown table"))?.name())?;
        let mut batch = WriteBatch::default();
        for (key, value) in &chunk.records {
            batch.put_cf(&family, key, value);
        }
        database.write(batch, Durability::Buffered)?;
    }

    let family = database.family(META)?;
    let mut done = WriteBatch::default();
    match &header.applied {
        Some(applied) => done.put_cf(&family, meta::APPLIED, disk::seal(applied)),
        None => done.delete_cf(&family, meta::APPLIED),
    }
    match &header.membership {
        Some(membership) => done.put_cf(&family, meta::MEMBERSHIP, disk::seal(membership)),
        None => done.delete_cf(&family, meta::MEMBERSHIP),
    }
    done.delete_cf(&family, meta::INSTALLING);
    database.write(done, Durability::Synced)?;
    Ok(())
}

/// Installs the newest snapshot once more, if a crash cut its installation off.
pub(crate) fn finish_install(
    database: &Database,
    snapshots: &SnapshotDir,
) -> Result<(), SnapshotError> {
    match database.meta::<Header>(meta::INSTALLING)? {
        Some(_) => install(database, snapshots),
        None => Ok(()),
    }
}

fn write_table(
    database: &Database,
    snapshot: &Snapshot<'_>,
    table: Table,
    writer: &mut FrameWriter,
) -> Result<(), SnapshotError> {
    let family = database.family(table.name())?;
    let mut chunk = Chunk { table: table.name().to_owned(), records: Vec::new() };
    let mut chunk_bytes = 0_usize;
    for found in database.table_at(snapshot, &family) {
        let (key, value) = found?;
        chunk_bytes = chunk_bytes.saturating_add(key.len()).saturating_add(value.len());
        chunk.records.push((key.into_vec(), value.into_vec()));
        if chunk_bytes >= CHUNK_BYTES {
            writer.chunk(&chunk, table)?;
            chunk.records.clear();
            chunk_bytes = 0;
        }
    }
    if chunk.records.is_empty() { Ok(()) } else { writer.chunk(&chunk, table) }
}

/// Writes frames.
struct FrameWriter {
    file: BufWriter<File>,
    digest: Hash,
}

impl FrameWriter {
    fn create(path: &PathBuf) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(MAGIC)?;
        Ok(Self { file, digest: Hash::of(MAGIC) })
    }

    fn frame(&mut self, payload: &[u8]) -> Result<(), SnapshotError> {
        let length = u32::try_from(payload.len())
            .map_err(|_| SnapshotError::Damaged("a frame is too long"))?;
        let hash = Hash::of(payload);
        self.digest = chain(self.digest, hash);
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&hash.0)?;
        self.file.write_all(payload)?;
        Ok(())
    }

    fn chunk(&mut self, chunk: &Chunk, table: Table) -> Result<(), SnapshotError> {
        let payload =
            codec::try_encode(chunk).map_err(|_| SnapshotError::TooLarge(table.name()))?;
        self.frame(&payload)
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.write_all(&0_u32.to_le_bytes())?;
        self.file.write_all(&self.digest.0)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }
}

/// Reads frames and checks each, and all of them at the end.
struct Frames<'a> {
    file: BufReader<&'a File>,
    digest: Hash,
}

impl<'a> Frames<'a> {
    fn open(mut file: &'a File) -> Result<Self, SnapshotError> {
        file.seek(SeekFrom::Start(0))?;
        let mut file = BufReader::new(file);
        if read_array(&mut file)? != *MAGIC {
            return Err(SnapshotError::Damaged("it does not begin like one"));
        }
        Ok(Self { file, digest: Hash::of(MAGIC) })
    }

    fn header(&mut self) -> Result<Header, SnapshotError> {
        let payload = self.next()?.ok_or(SnapshotError::Damaged("it has no header"))?;
        Ok(codec::decode(&payload).map_err(Corrupt::Malformed)?)
    }

    /// The next payload, or `None` after the last, if the digest agrees.
    fn next(&mut self) -> Result<Option<Vec<u8>>, SnapshotError> {
        let length = u32::from_le_bytes(read_array(&mut self.file)?);
        let hash = Hash(read_array(&mut self.file)?);
        if length == 0 {
            return if hash == self.digest {
                Ok(None)
            } else {
                Err(SnapshotError::Damaged("the digest differs"))
            };
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > Chunk::BYTES_MAX {
            return Err(SnapshotError::Damaged("a frame is too long"));
        }
        let mut payload = vec![0; length];
        self.file.read_exact(&mut payload)?;
        if Hash::of(&payload) != hash {
            return Err(SnapshotError::Damaged("the hash of a frame differs"));
        }
        self.digest = chain(self.digest, hash);
        Ok(Some(payload))
    }
}

fn chain(digest: Hash, frame: Hash) -> Hash {
    Hash::of([digest.0, frame.0].as_flattened())
}

fn read_array<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
