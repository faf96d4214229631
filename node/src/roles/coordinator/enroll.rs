//! Who asks to join, and what they are told.

use ledger::{
    command::{Command, Reply},
    replica::Proposal,
    state::query,
};
use protocol::{
    ids::NodeId,
    reject::RejectReason,
    wire::{
        enroll::{EnrollRequest, EnrollResponse, Membership, MeshHello},
        view::Admission,
    },
};

use super::Coordinator;

/// How long somebody who waits for approval should wait before asking again, in milliseconds.
const RETRY_AFTER_MS: u32 = 1_000;

impl Coordinator {
    /// What a stranger may know about the mesh; `None` before it is founded.
    #[must_use]
    pub fn hello(&self) -> Option<MeshHello> {
        let facts = query::mesh(self.shared.consensus.records().as_ref()).ok()??;
        let roster = self.shared.roster.borrow();
        Some(MeshHello {
            mesh: facts.policy.mesh,
            name: facts.policy.name,
            epoch: self.shared.context.epoch,
            joining: facts.policy.joining,
            founded: facts.policy.genesis.peek().map(|genesis| genesis.founded).unwrap_or_default(),
            members: u32::try_from(roster.members.len()).unwrap_or(u32::MAX),
            pristine: facts.pristine,
        })
    }

    /// A node asks to join, or asks again.
    pub async fn enroll(&self, from: NodeId, request: EnrollRequest) -> EnrollResponse {
        if *request.enrollment.claimed_signer() != from.0 {
            return EnrollResponse::Refused(RejectReason::BadSignature);
        }
        if let Some(response) = self.decided(&from).await {
            return response;
        }
        if !self.leads() {
            return EnrollResponse::Elsewhere(self.shared.leader_address());
        }
        // The same statement is the same request: asking again writes nothing.
        let command = Command::Enroll(request);
        let Ok(request) = command.content_id() else {
            return EnrollResponse::Refused(RejectReason::TooLarge);
        };
        let proposal = Proposal { request, command };
        match self.shared.consensus.propose(proposal).await {
            Ok(Reply::Done { .. }) => self
                .decided(&from)
                .await
                .unwrap_or(EnrollResponse::Pending { retry_after_ms: RETRY_AFTER_MS }),
            Ok(Reply::Rejected(rejection)) => EnrollResponse::Refused(rejection.reason),
            Err(error) => {
                tracing::warn!(node = %from, %error, "an enrolment could not be written");
                EnrollResponse::Pending { retry_after_ms: RETRY_AFTER_MS }
            }
        }
    }

    /// What was decided about a node; `None` if it is unknown.
    async fn decided(&self, node: &NodeId) -> Option<EnrollResponse> {
        let records = self.shared.consensus.records();
        let record = query::node(records.as_ref(), node).ok()??;
        match record.admission {
            Admission::Pending => Some(EnrollResponse::Pending { retry_after_ms: RETRY_AFTER_MS }),
            Admission::Suspended | Admission::Blacklisted => {
                Some(EnrollResponse::Refused(RejectReason::Blacklisted))
            }
            Admission::Approved => {
                let here = self.shared.here().await;
                let others = self.shared.roster.borrow().coordinators.clone();
                let node = here.node;
                let others = others.into_iter().filter(move |other| other.node != node);
                let roster = query::roster(records.as_ref()).ok()?;
                Some(EnrollResponse::Admitted(Box::new(Membership {
                    genesis: (*self.shared.context.genesis).clone(),
                    epoch: self.shared.context.epoch,
                    coordinators: std::iter::once(here).chain(others).collect(),
                    members: roster.members.iter().map(|(node, ..)| *node).collect(),
                })))
            }
        }
    }
}
