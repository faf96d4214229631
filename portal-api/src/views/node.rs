//! Nodes: members, those who wait, and those one is connected to.

use std::{collections::BTreeSet, time::Duration};

use protocol::{
    code::Code,
    ids::{AccountId, MeshId, NodeId},
    wire::{
        advert::{Arch, Isolation, Os},
        availability::Advice,
        enroll::{BlockReason, Role},
        view::{self, Admission, Condition, Liveness},
    },
};
use serde::{Deserialize, Serialize};

use super::{Kind, ListKind, Reason, Sharing, reasons};
use crate::{names, text};

/// A node. What it has to offer is its own word, and absent until it was heard from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its peer id.
    #[serde(with = "text")]
    pub peer: NodeId,
    /// What it is called.
    pub name: String,
    /// Whether it is a member.
    #[serde(with = "names")]
    pub admission: Admission,
    /// Whether it is heard from.
    #[serde(with = "names")]
    pub liveness: Liveness,
    /// Whether it can take work.
    #[serde(with = "names")]
    pub condition: Condition,
    /// What it may do.
    #[serde(with = "names::list")]
    pub roles: Vec<Role>,
    /// Whose it is.
    #[serde(with = "text")]
    pub account: AccountId,
    /// Cores that it shares.
    pub cores: Option<u16>,
    /// Memory that it shares.
    pub memory_bytes: Option<u64>,
    /// Tasks that it runs at a time.
    pub slots: Option<u16>,
    /// Of those, free.
    pub slots_free: Option<u16>,
    /// Processor load of the host, in percent of all cores.
    pub cpu_percent: Option<u8>,
    /// How well its guests are isolated: `A`, `B` or `C`.
    #[serde(with = "names::option", default)]
    pub isolation: Option<Isolation>,
    /// Its labels: its own and those that operators gave it.
    pub tags: Vec<String>,
    /// Of those, the ones that operators gave it.
    #[serde(default)]
    pub labels: Vec<String>,
    /// While it waits: the six digits that it shows too.
    #[serde(default)]
    pub code: Option<String>,
    /// Whether it acts for an owner that is not its own.
    #[serde(default)]
    pub delegated: bool,
    /// Why it was blocked.
    #[serde(with = "names::option", default)]
    pub reason: Option<BlockReason>,
    /// What was written beside the last decision.
    #[serde(default)]
    pub note: Option<String>,
    /// The node that it goes on as, where its key was replaced.
    #[serde(with = "text::option", default)]
    pub replaced_by: Option<NodeId>,
    /// Its software version.
    pub software: Option<String>,
    /// Its operating system.
    #[serde(with = "names::option", default)]
    pub os: Option<Os>,
    /// Its instruction set.
    #[serde(with = "names::option", default)]
    pub arch: Option<Arch>,
    /// Round trip from the leader.
    pub rtt_seconds: Option<f64>,
    /// How long ago it was heard from.
    pub seen_seconds: Option<f64>,
    /// Tasks that it holds.
    pub tasks: u32,
    /// What it has for other owners now.
    pub sharing: Option<Sharing>,
    /// Why it takes less work than it could.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// Whether it is well: it can take work, and was heard from within a minute.
    #[serde(default)]
    pub healthy: bool,
    /// Whether it comes and goes: then it gets work last.
    #[serde(default)]
    pub flapping: bool,
    /// What to do about it: `REBOOT` or `DECOMMISSION`.
    #[serde(with = "names::option", default)]
    pub advice: Option<Advice>,
}

impl Kind for Node {
    const KIND: &'static str = "Node";
}

impl ListKind for Node {
    const LIST_KIND: &'static str = "NodeList";
}

impl From<&view::NodeView> for Node {
    fn from(node: &view::NodeView) -> Self {
        let advert = node.advert.as_ref();
        Self {
            peer: node.node,
            name: node.name.clone(),
            admission: node.admission,
            liveness: node.liveness,
            condition: node.condition,
            roles: node.roles.clone(),
            account: node.account,
            cores: advert.map(|advert| advert.cores),
            memory_bytes: advert.map(|advert| advert.memory_bytes),
            slots: advert.map(|advert| advert.slots),
            slots_free: advert.map(|advert| advert.slots_free),
            cpu_percent: advert.map(|advert| advert.cpu_percent),
            isolation: advert.map(|advert| advert.isolation),
            tags: {
                let own = advert.map(|advert| advert.tags.as_slice()).unwrap_or_default();
                let all: BTreeSet<_> = own.iter().chain(&node.labels).cloned().collect();
                all.into_iter().collect()
            },
            labels: node.labels.clone(),
            code: node.code.map(Code::digits),
            delegated: node.delegated,
            reason: node.reason,
            note: Some(node.note.clone()).filter(|note| !note.is_empty()),
            replaced_by: node.replaced_by,
            software: advert.map(|advert| advert.software.clone()),
            os: advert.map(|advert| advert.os),
            arch: advert.map(|advert| advert.arch),
            rtt_seconds: node.rtt_us.map(|rtt| Duration::from_micros(rtt).as_secs_f64()),
            seen_seconds: node.seen_ms_ago.map(|seen| Duration::from_millis(seen).as_secs_f64()),
            tasks: node.tasks,
            sharing: node.availability.as_ref().map(Sharing::from),
            reasons: node.availability.as_ref().map(reasons).unwrap_or_default(),
            healthy: node.healthy,
            flapping: node.flapping,
            advice: node.advice,
        }
    }
}

/// What is sent with a decision about a node. All of it may be left out, and so may the whole body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decision {
    /// The code that the node shows, so that the one who approves has compared it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What it may do; what it asked for, if left out.
    #[serde(with = "names::list", skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// Whether the node acts for this node's owner: what it earns and submits is then theirs. As it is, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mine: Option<bool>,
    /// Why it is blocked; `manual_review` if left out.
    #[serde(with = "names::option", skip_serializing_if = "Option::is_none")]
    pub reason: Option<BlockReason>,
    /// For people. At most 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A change of a node's labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelChange {
    /// Labels that it has from now on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// Labels that it no longer has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// A node's key was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// The peer id until now. Good for 48 hours more.
    #[serde(with = "text")]
    pub old: NodeId,
    /// The peer id from the next start on.
    #[serde(with = "text")]
    pub new: NodeId,
}

impl Kind for KeyChange {
    const KIND: &'static str = "KeyChange";
}

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its peer id.
    #[serde(with = "text")]
    pub peer: NodeId,
    /// What it is called.
    pub name: String,
    /// Its owner's account.
    #[serde(with = "text")]
    pub account: AccountId,
    /// The mesh that it is in.
    #[serde(with = "text::option", default)]
    pub mesh: Option<MeshId>,
    /// Where others reach it: multiaddresses with `/p2p/`.
    pub addresses: Vec<String>,
    /// What identify calls the software, like `weft/0.1.0`.
    pub agent: String,
}

impl Kind for Identity {
    const KIND: &'static str = "Identity";
}

/// A node that this one is connected to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its peer id.
    #[serde(with = "text")]
    pub peer: NodeId,
    /// What it is called, if it is known in the mesh.
    pub name: Option<String>,
    /// Whether it is a member, if it is known in the mesh.
    #[serde(with = "names::option", default)]
    pub admission: Option<Admission>,
    /// The address of the connection: a multiaddress.
    pub address: String,
    /// How it is reached: `direct` or `relay`.
    pub path: String,
    /// Who opened the connection: `inbound` or `outbound`.
    pub direction: String,
    /// What identify calls its software, if it has said.
    pub agent: Option<String>,
    /// Round trip.
    pub rtt_seconds: Option<f64>,
    /// How it behaves, from −100 to 100: at −20 it is disconnected, at −50 banned.
    pub score: i8,
    /// How long it has been connected.
    pub connected_seconds: Option<f64>,
}

impl ListKind for Peer {
    const LIST_KIND: &'static str = "PeerList";
}
