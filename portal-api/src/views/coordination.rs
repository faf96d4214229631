//! Who keeps the ledger.

use protocol::{ids::NodeId, wire::group::GroupView};
use serde::{Deserialize, Serialize};

use super::{Kind, ListKind};
use crate::text;

/// The group of coordinators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinators {
    /// Who leads; nothing while nobody does.
    #[serde(with = "text::option", default)]
    pub leader: Option<NodeId>,
    /// Counts elections.
    pub term: u64,
    /// Counts recoveries that started a new log.
    pub epoch: u32,
    /// The last entry of the log that a majority has.
    pub commit_index: u64,
    /// The node that says so: the leader if there is one.
    #[serde(with = "text")]
    pub as_seen_by: NodeId,
    /// Voters and learners.
    pub members: Vec<CoordinatorMember>,
}

/// A member of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorMember {
    /// The node.
    #[serde(with = "text")]
    pub peer: NodeId,
    /// `voter`: it counts for a majority. `learner`: it follows.
    pub role: String,
    /// Entries of the log that it lacks, as the leader knows it.
    pub lag: Option<u64>,
}

/// A copy of a ledger on a disk, as it is found there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerCopy {
    /// The mesh.
    pub mesh: String,
    /// Which member of the group keeps it.
    pub member: u64,
    /// The term of the last entry of its log.
    pub last_term: u64,
    /// That entry's place: of several copies, the one with the highest term, and of those the highest place, has most.
    pub last_index: u64,
    /// Up to where the records are.
    pub applied_index: u64,
    /// Entries in the ledger.
    pub ledger_height: u64,
}

impl ListKind for LedgerCopy {
    const LIST_KIND: &'static str = "LedgerCopyList";
}

/// What is to become of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase", tag = "action")]
pub enum CoordinatorRequest {
    /// This node wants a place, as soon as it can have one.
    Join,
    /// This node gives its place up.
    Leave,
    /// This node, which leads, hands the leadership over.
    Transfer {
        /// To whom; to the voter that has most of the log if nobody is named.
        #[serde(with = "text::option", default)]
        to: Option<NodeId>,
    },
    /// This node writes a snapshot now.
    Snapshot,
}

impl Coordinators {
    /// The group as `by` sees it.
    #[must_use]
    pub fn seen(by: NodeId, view: &GroupView) -> Self {
        let role = |voter: bool| if voter { "voter" } else { "learner" };
        Self {
            leader: view.leads.then_some(by),
            term: view.term,
            epoch: view.epoch,
            commit_index: view.commit_index,
            as_seen_by: by,
            members: view
                .members
                .iter()
                .map(|member| CoordinatorMember {
                    peer: member.node,
                    role: role(member.voter).to_owned(),
                    lag: member.lag,
                })
                .collect(),
        }
    }
}

impl Kind for Coordinators {
    const KIND: &'static str = "Coordinators";
}
