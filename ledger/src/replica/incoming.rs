//! A snapshot on its way in: written piece by piece, taken up where it broke off.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

use protocol::ids::Hash;
use tokio::sync::Mutex;

use super::{
    disk::Corrupt,
    raft::SnapshotMeta,
    snapshot::{SnapshotFile, UNFINISHED},
    wire::{CHUNK_BYTES_MAX, Chunk, Offer, Refusal, SNAPSHOT_BYTES_MAX},
};

/// The one snapshot that is being received. A new offer takes the place of the last one.
#[derive(Debug)]
pub(crate) struct Incoming {
    path: PathBuf,
    partial: Mutex<Option<Partial>>,
}

#[derive(Debug)]
struct Partial {
    /// The member that sends it.
    from: u64,
    offer: Offer,
    file: File,
    have: u64,
}

/// What came of a piece.
#[derive(Debug)]
pub(crate) enum Progress {
    /// So many bytes are there.
    Have(u64),
    /// All are. What they say is checked when it is installed.
    Complete(SnapshotMeta, SnapshotFile),
}

impl Incoming {
    /// Receives into the directory of snapshots, under a name that is removed at the next start.
    pub(crate) fn new(snapshots: &std::path::Path) -> Self {
        Self { path: snapshots.join(format!("{UNFINISHED}incoming")), partial: Mutex::new(None) }
    }

    /// How much of the offered snapshot is there already. Blocks.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if it is too large or cannot be stored.
    pub(crate) fn offered(&self, from: u64, offer: Offer) -> Result<u64, Refusal> {
        if offer.length > SNAPSHOT_BYTES_MAX {
            return Err(Refusal::NoRoom);
        }
        let mut partial = self.partial.blocking_lock();
        if let Some(known) = partial.as_mut()
            && known.from == from
            && (known.offer.digest, known.offer.length) == (offer.digest, offer.length)
        {
            return Ok(known.have);
        }
        *partial = None;
        let file = self.create().map_err(|error| no_room(&error))?;
        *partial = Some(Partial { from, offer, file, have: 0 });
        Ok(0)
    }

    /// Adds a piece. Blocks.
    ///
    /// # Errors
    ///
    /// [`Refusal::BadChunk`] if it is damaged or of another snapshot, [`Refusal::NoRoom`] if it cannot be stored.
    pub(crate) fn piece(&self, from: u64, chunk: &Chunk) -> Result<Progress, Refusal> {
        let mut slot = self.partial.blocking_lock();
        let partial = slot.as_mut().ok_or(Refusal::BadChunk)?;
        let length = u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
        let end = chunk.offset.saturating_add(length);
        let ours = partial.from == from && partial.offer.digest == chunk.digest;
        if !ours || chunk.bytes.len() > CHUNK_BYTES_MAX || end > partial.offer.length {
            return Err(Refusal::BadChunk);
        }
        if Hash::of(&chunk.bytes) != chunk.hash {
            return Err(Refusal::BadChunk);
        }
        // One that came twice, or too early: the sender goes on from what is there.
        if chunk.offset == partial.have {
            partial.file.write_all(&chunk.bytes).map_err(|error| no_room(&error))?;
            partial.have = end;
        }
        if partial.have < partial.offer.length {
            return Ok(Progress::Have(partial.have));
        }
        let Some(Partial { offer, file, .. }) = slot.take() else { return Err(Refusal::BadChunk) };
        let meta = offer.header.try_into().map_err(|_: Corrupt| Refusal::BadChunk)?;
        Ok(Progress::Complete(meta, SnapshotFile::new(file)))
    }

    fn create(&self) -> io::Result<File> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&self.path)?;
        Ok(file)
    }
}

fn no_room(error: &io::Error) -> Refusal {
    tracing::warn!(%error, "a snapshot that is being received cannot be stored");
    Refusal::NoRoom
}
