//! The state as one command would leave it.
//!
//! A draft is thrown away whole when the command is refused, so that the verbs that work on it may write as they
//! go and check as they go.

use std::collections::BTreeSet;

use protocol::{
    batch::BatchError,
    codec::{Canonical, try_encode},
    ids::{AccountId, Hash},
    reject::RejectReason,
    sign::VerifyError,
    time::UnixMillis,
};

use super::{
    Applied, Event,
    entry::{Body, Entry},
    invariants::check_changes,
    keys,
    query::get,
    record::{Counts, Head, Policy, Row, UsedId},
};
use crate::{
    command::{Rejection, Reply},
    records::{Overlay, ReadError, Records, Table},
};

/// Why a command does not become part of the state.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It may not: the answer.
    Rejected(Rejection),
    /// It cannot be known whether it may: the node must stop.
    Read(ReadError),
}

impl From<RejectReason> for Refusal {
    fn from(reason: RejectReason) -> Self {
        Self::Rejected(reason.into())
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        Self::from(match error {
            VerifyError::Version(_) => RejectReason::Version,
            VerifyError::Mesh => RejectReason::WrongMesh,
            VerifyError::Payload(_) => RejectReason::Malformed,
            VerifyError::Domain { .. } | VerifyError::Signature | _ => RejectReason::BadSignature,
        })
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Header(error) => error.into(),
            BatchError::Count { .. } | BatchError::Items | _ => RejectReason::BadSignature.into(),
        }
    }
}

/// The answer to a command that was not refused.
pub(crate) enum Outcome {
    /// It is done now, or was done before and changes nothing.
    Done,
    /// Another request did the same before: its answer.
    Known(Reply),
}

/// The state as one command would leave it.
pub(crate) struct Draft<'a, R: ?Sized> {
    overlay: Overlay<'a, R>,
    head: Head,
    counts: Counts,
    /// The time of this command: later than that of the newest entry.
    now: UnixMillis,
    events: Vec<Event>,
    accounts: BTreeSet<AccountId>,
    /// An id in the command itself that is used up with it, whatever comes of it.
    claimed: Option<(Vec<u8>, Hash)>,
}

impl<'a, R: Records + ?Sized> Draft<'a, R> {
    /// The state as it is, at the time that the leader stamped.
    pub(crate) fn new(records: &'a R, at: UnixMillis) -> Result<Self, ReadError> {
        let head: Head = get(records, keys::HEAD)?.unwrap_or_default();
        let counts = get(records, keys::COUNTS)?.unwrap_or_default();
        let now = later(head.time, at);
        Ok(Self {
            overlay: Overlay::new(records),
            head,
            counts,
            now,
            events: Vec::new(),
            accounts: BTreeSet::new(),
            claimed: None,
        })
    }

    /// The time of this command: cluster time.
    pub(crate) const fn now(&self) -> UnixMillis {
        self.now
    }

    /// The end of the ledger.
    pub(crate) const fn head(&self) -> &Head {
        &self.head
    }

    /// The counters, to change.
    pub(crate) const fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// The rules of the mesh.
    pub(crate) fn policy(&self) -> Result<Policy, Refusal> {
        Ok(self.get(keys::POLICY)?.ok_or(RejectReason::WrongMesh)?)
    }

    /// Reads a record.
    pub(crate) fn get<T: Row>(&self, key: &[u8]) -> Result<Option<T>, ReadError> {
        get(&self.overlay, key)
    }

    /// The records below and what is drafted over them.
    pub(crate) const fn records(&self) -> &Overlay<'a, R> {
        &self.overlay
    }

    /// Writes a record.
    pub(crate) fn put<T: Row>(&mut self, key: Vec<u8>, row: &T) {
        self.overlay.put(T::TABLE, key, row.to_bytes());
    }

    /// Writes a key without a value.
    pub(crate) fn mark(&mut self, table: Table, key: Vec<u8>) {
        self.overlay.put(table, key, Vec::new());
    }

    /// Removes a record.
    pub(crate) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.overlay.remove(table, key);
    }

    /// Tells whoever keeps derived state.
    pub(crate) fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Notes that credits of an account moved.
    pub(crate) fn touched(&mut self, account: AccountId) {
        self.accounts.insert(account);
    }

    /// Claims an id that the command itself carries: used with other bytes before, the command is refused; with
    /// the same, the answer is the one that was given then. From here on it is used up, also by a refusal.
    pub(crate) fn claim(&mut self, id: Vec<u8>, bytes: Hash) -> Result<Option<Reply>, Refusal> {
        match self.get::<UsedId>(&id)? {
            Some(used) if used.bytes == bytes => Ok(Some(used.reply)),
            Some(_) => Err(RejectReason::IdempotencyMismatch.into()),
            None => {
                self.claimed = Some((id, bytes));
                Ok(None)
            }
        }
    }

    /// Appends an entry to the ledger and returns its number. Its time is [`Self::now`], or just later where the
    /// command appended one before.
    pub(crate) fn append<B: Body>(&mut self, body: &B) -> Result<u64, Refusal> {
        let too_large = |_| Refusal::from(RejectReason::TooLarge);
        let seq = self.head.height().checked_add(1).ok_or(RejectReason::Internal)?;
        self.now = later(self.head.time, self.now);
        let entry = Entry {
            seq,
            prev: self.head.hash,
            cluster_time: self.now,
            tag: B::TAG as u16,
            body: try_encode(body).map_err(too_large)?,
        };
        let leaf = Entry::leaf_hash(&try_encode(&entry).map_err(too_large)?);
        for (level, index, hash) in self.head.frontier.push(leaf) {
            self.overlay.put(Table::Tree, keys::tree(level, index), hash.to_vec());
        }
        self.head.hash = leaf;
        self.head.time = self.now;
        self.counts.used |= !B::TAG.is_enrolment();
        self.put(keys::entry(seq), &entry);
        Ok(seq)
    }

    /// What applying the command comes to: the draft, or of a refused command only that its ids are used.
    pub(crate) fn finish(
        self,
        below: &'a R,
        request: (Vec<u8>, Hash),
        outcome: Result<Outcome, Refusal>,
    ) -> Result<Applied, ReadError> {
        let Self { overlay, head, counts, events, accounts, claimed, .. } = self;
        let (mut overlay, reply, events) = match outcome {
            Ok(Outcome::Done) => {
                let mut overlay = overlay;
                overlay.put(Table::Meta, keys::HEAD.to_vec(), head.to_bytes());
                overlay.put(Table::Meta, keys::COUNTS.to_vec(), counts.to_bytes());
                let moved = accounts.into_iter().map(|account| Event::AccountChanged { account });
                (
                    overlay,
                    Reply::Done { height: head.height() },
                    events.into_iter().chain(moved).collect(),
                )
            }
            Ok(Outcome::Known(reply)) => (Overlay::new(below), reply, Vec::new()),
            Err(Refusal::Rejected(rejection)) => {
                (Overlay::new(below), Reply::Rejected(rejection), Vec::new())
            }
            Err(Refusal::Read(error)) => return Err(error),
        };
        for (id, bytes) in claimed.into_iter().chain([request]) {
            overlay.put(Table::Ids, id, UsedId { bytes, reply: reply.clone() }.to_bytes());
        }
        let changes = overlay.into_changes();
        check_changes(below, &changes)?;
        Ok(Applied { changes, reply, events })
    }
}

/// `at`, but later than the entry before.
fn later(last: UnixMillis, at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0.max(last.0.saturating_add(1)))
}

/// The hash by which the bytes of a command are recognised.
pub(crate) fn bytes_hash<T: Canonical>(value: &T) -> Result<Hash, RejectReason> {
    try_encode(value).map(|bytes| Hash::of(&bytes)).map_err(|_| RejectReason::TooLarge)
}
