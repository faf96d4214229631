//! The mesh as a whole, and its nodes.

use protocol::{
    ids::{AccountId, InviteId, NodeId},
    limits::{BLOCKED_MAX, INVITES_MAX, NODES_MAX},
    merkle::Digest,
    time::UnixMillis,
    wire::{
        enroll::Role,
        view::{Admission, Condition, InviteView, Liveness, NodeView},
    },
};

use super::get;
use crate::{
    records::{Range, ReadError, Records, Table},
    state::{
        keys,
        record::{BadRow, Counts, Head, InviteRecord, NodeRecord, Policy, Row as _},
    },
};

/// What the replicated state knows about the mesh as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshFacts {
    /// Its rules, its Genesis and its id.
    pub policy: Policy,
    /// Entries in the ledger.
    pub height: u64,
    /// The leaf hash of the newest entry.
    pub head: Digest,
    /// The root of the tree over all entries.
    pub root: Digest,
    /// Cluster time: that of the newest entry.
    pub time: UnixMillis,
    /// Jobs that are open.
    pub open_jobs: u32,
    /// Grows with every change of who is a member.
    pub roster_version: u64,
    /// Whether the ledger holds nothing but Genesis and enrolment.
    pub pristine: bool,
}

/// Who is a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// Grows with every change.
    pub version: u64,
    /// Members: which, whose, what they may do. In the order of their ids.
    pub members: Vec<(NodeId, AccountId, Vec<Role>)>,
    /// Nodes that were refused, removed or suspended: the latest [`BLOCKED_MAX`], latest first.
    pub blocked: Vec<NodeId>,
}

/// The mesh; `None` before it is founded.
///
/// # Errors
///
/// If the records cannot be read.
pub fn mesh<R: Records + ?Sized>(records: &R) -> Result<Option<MeshFacts>, ReadError> {
    let Some(policy) = get::<Policy>(records, keys::POLICY)? else { return Ok(None) };
    let head = get::<Head>(records, keys::HEAD)?.unwrap_or_default();
    let counts = get::<Counts>(records, keys::COUNTS)?.unwrap_or_default();
    Ok(Some(MeshFacts {
        policy,
        height: head.height(),
        head: head.hash,
        root: head.frontier.root(),
        time: head.time,
        open_jobs: counts.open_jobs,
        roster_version: counts.roster,
        pristine: !counts.used,
    }))
}

/// One node.
///
/// # Errors
///
/// If the records cannot be read.
pub fn node<R: Records + ?Sized>(
    records: &R,
    node: &NodeId,
) -> Result<Option<NodeRecord>, ReadError> {
    get(records, &node.0)
}

/// All nodes, in the order of their ids: members, those who wait, those who were refused. Keys that have ended are
/// left out, for the node goes on under another; and nodes that have left. At most [`NODES_MAX`].
///
/// # Errors
///
/// If the records cannot be read.
pub fn nodes<R: Records + ?Sized>(records: &R) -> Result<Vec<NodeView>, ReadError> {
    let gone = |record: &NodeRecord| {
        record.left || record.replaced.is_some() && record.admission == Admission::Blacklisted
    };
    let nodes = all(records)?.into_iter().filter(|(_, record)| !gone(record));
    Ok(nodes.map(|(node, record)| view(node, record)).collect())
}

/// All members, and who must stay out.
///
/// # Errors
///
/// If the records cannot be read.
pub fn roster<R: Records + ?Sized>(records: &R) -> Result<Roster, ReadError> {
    let counts = get::<Counts>(records, keys::COUNTS)?.unwrap_or_default();
    let (mut members, mut blocked) = (Vec::new(), Vec::new());
    for (node, record) in all(records)? {
        match record.admission {
            Admission::Approved => members.push((node, record.account, record.roles)),
            Admission::Suspended | Admission::Blacklisted => blocked.push((record.since, node)),
            Admission::Pending => {}
        }
    }
    blocked.sort_unstable_by(|one, other| other.cmp(one));
    let blocked = blocked.into_iter().map(|(_, node)| node).take(BLOCKED_MAX).collect();
    Ok(Roster { version: counts.roster, members, blocked })
}

/// Old keys whose time is over at `now` and that have not been ended yet.
///
/// # Errors
///
/// If the records cannot be read.
pub fn ended_keys<R: Records + ?Sized>(
    records: &R,
    now: UnixMillis,
) -> Result<Vec<NodeId>, ReadError> {
    let ended = |record: &NodeRecord| {
        record.admission == Admission::Approved
            && record.replaced.is_some_and(|replaced| now >= replaced.until)
    };
    Ok(all(records)?
        .into_iter()
        .filter(|(_, record)| ended(record))
        .map(|(node, _)| node)
        .collect())
}

/// All invites that are kept, in the order of their ids. At most [`INVITES_MAX`].
///
/// # Errors
///
/// If the records cannot be read.
pub fn invites<R: Records + ?Sized>(records: &R) -> Result<Vec<InviteView>, ReadError> {
    let records = invite_records(records)?;
    let view = |(invite, record): (InviteId, InviteRecord)| {
        let terms =
            record.terms.peek().map_err(|error| BadRow::Body(error).in_table(Table::Invites))?;
        Ok(InviteView {
            invite,
            sponsor: AccountId(*record.terms.claimed_signer()),
            role: terms.role,
            uses: terms.uses,
            used: u16::try_from(record.nodes.len()).unwrap_or(u16::MAX),
            at: terms.at,
            expires: terms.expires,
            revoked: record.revoked,
            hint: terms.hint,
        })
    };
    records.into_iter().map(view).collect()
}

pub(crate) fn invite_records<R: Records + ?Sized>(
    records: &R,
) -> Result<Vec<(InviteId, InviteRecord)>, ReadError> {
    let range = Range { from: vec![0], to: vec![u8::MAX; 17], reverse: false, limit: INVITES_MAX };
    let found = records.scan(Table::Invites, &range)?.into_iter().filter_map(|(key, value)| {
        let invite = InviteId(key.try_into().ok()?);
        Some(InviteRecord::from_bytes(&value).map(|record| (invite, record)))
    });
    found.collect()
}

fn all<R: Records + ?Sized>(records: &R) -> Result<Vec<(NodeId, NodeRecord)>, ReadError> {
    let range = Range { from: vec![0], to: vec![u8::MAX; 33], reverse: false, limit: NODES_MAX };
    let found = records.scan(Table::Nodes, &range)?.into_iter().filter_map(|(key, value)| {
        let node = keys::node_of(&key)?;
        Some(NodeRecord::from_bytes(&value).map(|record| (node, record)))
    });
    found.collect()
}

/// What the replicated state knows of a node: the rest is for the leader to fill in.
fn view(node: NodeId, record: NodeRecord) -> NodeView {
    NodeView {
        node,
        name: record.name,
        account: record.account,
        admission: record.admission,
        liveness: Liveness::Offline,
        condition: Condition::Online,
        roles: record.roles,
        advert: None,
        seen_ms_ago: None,
        rtt_us: None,
        tasks: 0,
        availability: None,
        healthy: false,
        flapping: false,
        advice: None,
        labels: record.labels,
        code: None,
        delegated: record.account != record.own,
        reason: record.reason,
        note: record.note,
        replaced_by: record.replaced.map(|replaced| replaced.by),
    }
}
