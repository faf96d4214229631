//! What anybody may ask: changes become commands, questions are answered from the records.

use std::time::Duration;

use ledger::{
    command::{Command, Reply},
    records::ReadError,
    replica::{Proposal, ProposeError},
    state::query,
};
use protocol::{
    ids::{AccountId, JobId, NodeId},
    reject::RejectReason,
    sign::Signed,
    wire::{
        client::{ClientRequest, ClientResponse, Query},
        job::JobSpec,
        lease::{LeaseRequest, LeaseResponse},
        order::NodeOrder,
        view::Answer,
    },
};
use tokio::sync::oneshot;

use super::{Coordinator, actor::Request};
use crate::{
    core::scheduler::{Needs, Obstacle},
    execution::check_profile,
};

/// How long a watcher waits at most. Shorter than a request's time.
const WATCH_MAX: Duration = Duration::from_secs(15);

impl Coordinator {
    /// Answers a member.
    pub async fn client(&self, from: NodeId, request: ClientRequest) -> ClientResponse {
        if request == ClientRequest::Query(Query::Group) {
            return ClientResponse::Answer(Box::new(Answer::Group(self.group_view())));
        }
        if let ClientRequest::Keep { job, outputs, inline } = request {
            return self.keep(from, job, &outputs, &inline).await;
        }
        if !self.leads() {
            return ClientResponse::rejected(RejectReason::NotLeader, "this node does not lead");
        }
        match self.outside(&from) {
            Ok(None) => Box::pin(self.lead_client(from, request)).await,
            Ok(Some(reason)) => ClientResponse::rejected(reason, ""),
            Err(error) => {
                tracing::error!(error = %crate::app::chain(&error), "who asks could not be checked");
                ClientResponse::rejected(RejectReason::Internal, "")
            }
        }
    }

    async fn lead_client(&self, from: NodeId, request: ClientRequest) -> ClientResponse {
        match request {
            ClientRequest::Submit { authorization, spec } => {
                // Who signs may be a node that acts for the account.
                let account = authorization.peek().map_or_else(
                    |_| AccountId(*authorization.claimed_signer()),
                    |claim| claim.account,
                );
                if let Err(response) = self.check_placeable(account, &spec).await {
                    return response;
                }
                self.change(Command::Submit { authorization, spec }).await
            }
            ClientRequest::Cancel(cancel) => self.change(Command::Cancel(cancel)).await,
            ClientRequest::Decide(decision) => self.change(Command::Decide(decision)).await,
            ClientRequest::Transfer(transfer) => self.change(Command::Transfer(transfer)).await,
            ClientRequest::Label(change) => self.change(Command::Label(change)).await,
            ClientRequest::Invite(terms) => self.change(Command::Invite(terms)).await,
            ClientRequest::RevokeInvite(revoke) => self.change(Command::RevokeInvite(revoke)).await,
            ClientRequest::RotateKey { by_old, by_new } => {
                self.change(Command::RotateKey { by_old, by_new }).await
            }
            ClientRequest::Query(Query::Watch { job, version }) => {
                self.wait_for(job, version).await;
                self.answer(from, Query::Job(job)).await
            }
            ClientRequest::Query(query) => {
                // Whoever was answered before must find it, and nobody is answered by a leader that is none any more.
                if let Err(error) = self.shared.consensus.read_barrier().await {
                    return ClientResponse::rejected(RejectReason::NoLeader, error.to_string());
                }
                self.answer(from, query).await
            }
            ClientRequest::Order(order) => self.pass_on(order).await,
            ClientRequest::Stand(candidacy) => self.stand(from, candidacy).await,
            ClientRequest::Keep { .. } => {
                ClientResponse::rejected(RejectReason::WrongState, "the leader keeps its own")
            }
        }
    }

    /// The same change is the same request: it is applied once, however often it is asked for.
    async fn change(&self, command: Command) -> ClientResponse {
        let Ok(request) = command.content_id() else {
            return ClientResponse::rejected(
                RejectReason::TooLarge,
                "the request does not fit in a ledger entry",
            );
        };
        match self.shared.consensus.propose(Proposal { request, command }).await {
            Ok(Reply::Done { height }) => ClientResponse::Committed { height },
            Ok(Reply::Rejected(rejection)) => ClientResponse::Rejected {
                reason: rejection.reason,
                detail: String::new(),
                amounts: rejection.amounts,
            },
            Err(ProposeError::TooLarge { bytes, bytes_max }) => ClientResponse::rejected(
                RejectReason::TooLarge,
                format!("the request takes {bytes} bytes, and at most {bytes_max} are allowed"),
            ),
            Err(error) => ClientResponse::rejected(RejectReason::NoLeader, error.to_string()),
        }
    }

    /// A job that no known node could ever run is not accepted.
    async fn check_placeable(
        &self,
        account: AccountId,
        spec: &JobSpec,
    ) -> Result<(), ClientResponse> {
        if let Err(reason) = check_profile(spec) {
            let detail = format!("engine profile {} is not run by this mesh", spec.profile);
            return Err(ClientResponse::rejected(reason, detail));
        }
        let needs = Needs {
            account,
            scope: spec.scope,
            isolation: spec.isolation,
            tags: spec.tags.clone(),
            memory: spec.limits.memory,
            task_ms: u64::from(spec.limits.timeout_ms),
        };
        let placeable = self.inspect(move |dispatch, now| dispatch.placeable(now, &needs)).await;
        match placeable {
            None | Some(Ok(())) => Ok(()),
            // Who has just begun to lead has not heard of all nodes yet.
            Some(Err(_)) if self.leads_since_just_now() => Ok(()),
            Some(Err(obstacles)) => {
                let reasons: Vec<_> = obstacles
                    .iter()
                    .map(|obstacle| format!("{} nodes: {}", obstacle.nodes, obstacle.detail))
                    .collect();
                let isolation = Obstacle::Isolation.code();
                let is_all = obstacles.iter().all(|obstacle| obstacle.code == isolation);
                let reason = if is_all && !obstacles.is_empty() {
                    RejectReason::IsolationUnavailable
                } else {
                    RejectReason::NotPlaceable
                };
                Err(ClientResponse::rejected(reason, reasons.join("; ")))
            }
        }
    }

    /// Passes an order on to the node that it is for, if who gives it may. The node checks that again.
    async fn pass_on(&self, order: Signed<NodeOrder>) -> ClientResponse {
        let rejected = |reason| ClientResponse::rejected(reason, "");
        let Ok(verified) = order.clone().verify(&self.shared.context.mesh) else {
            return rejected(RejectReason::BadSignature);
        };
        let (node, signer) = (verified.claim().node, AccountId(*verified.signer()));
        match self.may_order(&node, signer) {
            Err(error) => {
                tracing::error!(error = %crate::app::chain(&error), "an order could not be checked");
                return rejected(RejectReason::Internal);
            }
            Ok(Some(reason)) => return rejected(reason),
            Ok(None) => {}
        }
        match self.shared.deliver(node, LeaseRequest::Order(order)).await {
            Some(LeaseResponse::Done) => ClientResponse::Obeyed,
            Some(LeaseResponse::Refused(reason)) => rejected(reason),
            None => ClientResponse::rejected(
                RejectReason::NodeUnreachable,
                "the node did not answer; an order reaches only nodes that are there",
            ),
        }
    }

    /// Why somebody may not tell a node what to do; `None` if they may.
    fn may_order(
        &self,
        node: &NodeId,
        signer: AccountId,
    ) -> Result<Option<RejectReason>, ReadError> {
        let records = self.shared.consensus.records();
        let Some(known) = query::node(records.as_ref(), node)? else {
            return Ok(Some(RejectReason::NotFound));
        };
        let operators =
            query::mesh(records.as_ref())?.map(|mesh| mesh.policy.operators).unwrap_or_default();
        let may = known.account == signer || operators.contains(&signer);
        Ok((!may).then_some(RejectReason::NotPermitted))
    }

    /// Waits until a job's version is another, or some seconds.
    async fn wait_for(&self, job: JobId, version: u64) {
        let (reply, changed) = oneshot::channel();
        if self.requests.send(Request::Watch(job, version, reply)).await.is_ok() {
            let _either = tokio::time::timeout(WATCH_MAX, changed).await;
        }
    }
}
