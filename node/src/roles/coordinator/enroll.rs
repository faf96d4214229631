//! Who asks to join, and what they are told.

use ledger::{
    command::{Command, Reply, Stamped},
    records::ReadError,
    replica::Proposal,
    state::{apply, query, record::NodeRecord},
};
use protocol::{
    code::{Code, Nonce, Parties},
    ids::{AccountId, InviteId, NodeId, RequestId},
    reject::RejectReason,
    sign::Signed,
    time::Clock as _,
    wire::{
        enroll::{
            EnrollRequest, EnrollResponse, EnrollStatements, Enrollment, Membership, MeshHello,
        },
        owner::Delegation,
        view::{Admission, NodeView},
    },
};

use tokio::sync::watch;

use super::Coordinator;
use crate::{core::enrolment::Enrolment, roles::clock::NodeClock};

/// How long somebody who waits for approval should wait before asking again, in milliseconds.
const RETRY_AFTER_MS: u32 = 1_000;
/// The same for somebody who asks for something else than a moment ago.
const RETRY_LATER_MS: u32 = 3_000;

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

    /// Why a node is not listened to: by the records, whatever the network knows of it yet. Nothing for members.
    pub(super) fn outside(&self, node: &NodeId) -> Result<Option<RejectReason>, ReadError> {
        let known = query::node(self.shared.consensus.records().as_ref(), node)?;
        Ok(match known {
            Some(record) => record.outside(NodeClock::wall()),
            None => Some(RejectReason::NotEnrolled),
        })
    }

    /// A node asks to join, or asks again.
    pub async fn enroll(&self, from: NodeId, request: EnrollRequest) -> EnrollResponse {
        let EnrollRequest { statements, reveal } = request;
        let asked = statements.enrollment.peek();
        let Ok(asked) = asked else { return EnrollResponse::Refused(RejectReason::Malformed) };
        if *statements.enrollment.claimed_signer() != from.0 || asked.node != from {
            return EnrollResponse::Refused(RejectReason::BadSignature);
        }
        let decided = self.decided(&asked, reveal).await;
        if !self.leads() {
            // Only the leader keeps what is revealed in mind, and knows the latest decision.
            let admitted = decided.filter(|decided| matches!(decided, EnrollResponse::Admitted(_)));
            return admitted
                .unwrap_or_else(|| EnrollResponse::Elsewhere(self.shared.leader_address()));
        }
        if let Some(response) = decided {
            return response;
        }
        let invite = statements.invite.as_ref().and_then(|shown| shown.peek().ok());
        let invite = invite.map(|shown| shown.invite);
        if let Some(response) = self.refused(from, &statements, invite) {
            return response;
        }
        let command = Command::Enroll {
            statements: Box::new(statements),
            nonce: Nonce(crate::app::random()),
        };
        let proposal = Proposal { request: RequestId(crate::app::random()), command };
        match self.shared.consensus.propose(proposal).await {
            Ok(Reply::Done { .. }) => {
                self.decided(&asked, reveal).await.unwrap_or_else(|| pending(None))
            }
            Ok(Reply::Rejected(rejection)) => EnrollResponse::Refused(rejection.reason),
            Err(error) => {
                tracing::warn!(node = %from, %error, "an enrolment could not be written");
                pending(None)
            }
        }
    }

    /// Why a request would be refused, found out without writing anything: what strangers send is worth no place in
    /// the log until it is right.
    fn refused(
        &self,
        from: NodeId,
        statements: &EnrollStatements,
        invite: Option<InviteId>,
    ) -> Option<EnrollResponse> {
        let now = self.shared.context.clock.now();
        if let Some(invite) = invite
            && !self.enrolment(|enrolment| enrolment.may_try(now, from, invite))
        {
            return Some(EnrollResponse::Refused(RejectReason::RateLimited));
        }
        let command =
            Command::Enroll { statements: Box::new(statements.clone()), nonce: Nonce([0; 32]) };
        let stamped = Stamped {
            request: RequestId(crate::app::random()),
            mesh: self.shared.context.mesh,
            at: NodeClock::wall(),
            command,
        };
        let applied = apply(self.shared.consensus.view().as_ref(), &stamped).ok()?;
        let Reply::Rejected(rejection) = applied.reply else { return None };
        match (rejection.reason, invite) {
            // It asks for something else than it just did. It may, in a while.
            (RejectReason::RateLimited, None) => {
                return Some(EnrollResponse::Pending {
                    retry_after_ms: RETRY_LATER_MS,
                    nonce: None,
                });
            }
            (RejectReason::InviteInvalid, Some(invite)) => {
                self.enrolment(|enrolment| enrolment.failed(now, from, invite));
            }
            _ => {}
        }
        Some(EnrollResponse::Refused(rejection.reason))
    }

    /// What was decided about a node that asks for this; `None` if it is unknown, or has asked for something else.
    async fn decided(&self, asked: &Enrollment, reveal: Option<Nonce>) -> Option<EnrollResponse> {
        let records = self.shared.consensus.records();
        let record = query::node(records.as_ref(), &asked.node).ok()??;
        if record.own != asked.account {
            return None;
        }
        match record.admission {
            Admission::Pending => {
                let (statements, nonce) = record.enrollment.as_ref()?;
                let committed = statements.enrollment.peek().ok()?.commitment;
                if committed != asked.commitment {
                    return None;
                }
                if let Some(reveal) = reveal {
                    self.shared.enrolment.send_if_modified(|enrolment| {
                        enrolment.reveal(asked.node, &committed, reveal)
                    });
                }
                Some(pending(Some(*nonce)))
            }
            Admission::Suspended => Some(EnrollResponse::Refused(RejectReason::Suspended)),
            Admission::Blacklisted => Some(EnrollResponse::Refused(match record.replaced {
                Some(_) => RejectReason::KeyReplaced,
                None => RejectReason::Blacklisted,
            })),
            Admission::Approved => {
                self.enrolment(|enrolment| enrolment.forget(&asked.node));
                self.welcome(record).await
            }
        }
    }

    /// What a member needs to know.
    async fn welcome(&self, record: NodeRecord) -> Option<EnrollResponse> {
        let here = self.shared.here().await;
        let others = self.shared.roster.borrow().coordinators.clone();
        let node = here.node;
        let others = others.into_iter().filter(move |other| other.node != node);
        let roster = query::roster(self.shared.consensus.records().as_ref()).ok()?;
        Some(EnrollResponse::Admitted(Box::new(Membership {
            genesis: (*self.shared.context.genesis).clone(),
            epoch: self.shared.context.epoch,
            coordinators: std::iter::once(here).chain(others).collect(),
            members: roster.members.iter().map(|(node, ..)| *node).collect(),
            account: record.account,
            delegation: record.delegation,
        })))
    }

    /// Whose a node is by the records: the account, and what allows the node to act for it where that is not its own
    /// owner's.
    #[must_use]
    pub fn whose(&self, node: &NodeId) -> Option<(AccountId, Option<Signed<Delegation>>)> {
        let record = query::node(self.shared.consensus.records().as_ref(), node).ok()??;
        Some((record.account, record.delegation))
    }

    /// Tells whenever a node that waits has revealed its part of a code.
    pub(crate) fn reveals(&self) -> watch::Receiver<Enrolment> {
        self.shared.enrolment.subscribe()
    }

    /// Nodes that wait to be approved, with the codes of those that have revealed their part.
    ///
    /// # Errors
    ///
    /// If the records cannot be read.
    pub(crate) fn waiting(&self) -> Result<Vec<NodeView>, ReadError> {
        let mut nodes = query::nodes(self.shared.consensus.records().as_ref())?;
        nodes.retain(|node| node.admission == Admission::Pending);
        self.add_codes(&mut nodes);
        Ok(nodes)
    }

    /// Adds the codes of nodes that wait and have revealed their part.
    pub(super) fn add_codes(&self, nodes: &mut [NodeView]) {
        let records = self.shared.consensus.records();
        for view in nodes.iter_mut().filter(|node| node.admission == Admission::Pending) {
            let Ok(Some(record)) = query::node(records.as_ref(), &view.node) else { continue };
            let Some((statements, ours)) = record.enrollment else { continue };
            let Ok(asked) = statements.enrollment.peek() else { continue };
            let revealed =
                self.enrolment(|enrolment| enrolment.revealed(&view.node, &asked.commitment));
            let mesh = self.shared.context.mesh;
            let parties = Parties { mesh, node: view.node, account: asked.account };
            view.code = revealed.map(|theirs| Code::of(&parties, &theirs, &ours));
        }
    }

    fn enrolment<T: Default>(&self, look: impl FnOnce(&mut Enrolment) -> T) -> T {
        let mut seen = T::default();
        self.shared.enrolment.send_if_modified(|enrolment| {
            seen = look(enrolment);
            false
        });
        seen
    }

    /// Ends old keys whose time is over, as long as this node leads.
    pub(super) async fn end_keys(self) {
        loop {
            tokio::time::sleep(super::END_KEYS_EVERY).await;
            let here = self.shared.context.net.local();
            if self.shared.consensus.leadership().borrow().leader_node != Some(here) {
                continue;
            }
            let records = self.shared.consensus.records();
            let Ok(ended) = query::ended_keys(records.as_ref(), NodeClock::wall()) else { return };
            for old in ended {
                let command = Command::EndKey(old);
                let proposal = Proposal { request: RequestId(crate::app::random()), command };
                if let Err(error) = self.shared.consensus.propose(proposal).await {
                    tracing::warn!(node = %old, %error, "an old key could not be ended");
                }
            }
        }
    }
}

const fn pending(nonce: Option<Nonce>) -> EnrollResponse {
    EnrollResponse::Pending { retry_after_ms: RETRY_AFTER_MS, nonce }
}
