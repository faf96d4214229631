//! Who keeps the ledger.

use protocol::{ids::NodeId, wire::group::GroupView};
use serde::{Deserialize, Serialize};

use super::Kind;
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
