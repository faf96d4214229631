//! The coordinator role: keeps the replicated state, and, while it leads, hands out work and settles it.
//!
//! One task (`actor`) owns the [`Dispatch`] core. Everything slow happens beside it: checking results
//! (`results`), answering questions from the records (`queries`), delivering leases (`offers`).
//!
//! | Channel | Capacity | When full |
//! |---|---|---|
//! | handle → actor | 256 | the caller waits: results and heartbeats are then answered later |
//! | work beside → actor | 1,024 | the work beside waits |

mod actor;
mod client;
mod enroll;
mod offers;
mod queries;
mod reduce;
mod results;
mod steward;
mod watchers;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ledger::{
    records::{ReadError, Records},
    replica::{Consensus, Replica},
    state::{query, record::NodeRecord},
};
use protocol::{
    ids::{JobId, NodeId},
    reject::RejectReason,
    time::Timestamp,
    wire::{
        enroll::{NodeAddress, Role},
        heartbeat::{Heartbeat, HeartbeatResponse, Roster},
        lease::{LeaseRequest, LeaseResponse},
        view::Admission,
    },
};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use self::actor::{Actor, Request};
use super::{Context, worker::Worker};
use crate::core::{
    dispatch::{self, Dispatch},
    enrolment::Enrolment,
};

/// Requests that may wait for the actor.
const REQUESTS_MAX: usize = 256;
/// Results that are checked at a time.
const RESULTS_MAX: usize = 32;
/// Batches of outputs that are copied to other coordinators at a time.
const COPIES_MAX: usize = 8;
/// How often the leader looks for old keys whose time is over.
const END_KEYS_EVERY: Duration = Duration::from_secs(60);
/// How long outputs are kept for whoever wants to fetch them.
const OUTPUTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The coordinator of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Coordinator {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

/// What the actor and the work beside it have in common.
#[derive(Debug)]
struct Shared {
    context: Context,
    consensus: Arc<dyn Consensus>,
    /// The same, for what is about the group.
    replica: Arc<Replica>,
    /// Nodes that would coordinate, or do.
    candidates: steward::Candidates,
    /// Outputs that are being copied to other coordinators.
    copies: Semaphore,
    /// This node's worker: leases for it do not cross the network.
    worker: Option<Worker>,
    results: Semaphore,
    silence: Silence,
    roster: watch::Sender<Arc<Roster>>,
    /// Nodes that ask to join. Whoever tells people about them watches what they reveal.
    enrolment: watch::Sender<Enrolment>,
}

/// What the silence of a node means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// After this it is suspect.
    pub suspect_after: Duration,
    /// After this, which is longer, it is offline.
    pub offline_after: Duration,
}

/// A node's replicated state could not be read: it must stop.
#[derive(Debug, thiserror::Error)]
#[error("the replicated state could not be read")]
pub struct Damaged(#[from] ReadError);

impl Coordinator {
    /// Starts the coordinator. It leads as soon as the consensus says so.
    ///
    /// # Errors
    ///
    /// If the records cannot be read.
    pub fn start(
        context: Context,
        replica: Arc<Replica>,
        worker: Option<Worker>,
        silence: Silence,
    ) -> Result<Self, Damaged> {
        let consensus: Arc<dyn Consensus> = replica.clone();
        let here = NodeAddress { node: context.net.local(), addresses: Vec::new() };
        let roster = read_roster(consensus.records().as_ref(), (0, vec![here])).map_err(Damaged)?;
        let (roster, _) = watch::channel(Arc::new(roster));
        let shared = Arc::new(Shared {
            context,
            consensus,
            replica,
            candidates: steward::Candidates::default(),
            copies: Semaphore::new(COPIES_MAX),
            worker,
            results: Semaphore::new(RESULTS_MAX),
            silence,
            roster,
            enrolment: watch::Sender::default(),
        });
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let coordinator = Self { requests, shared };
        let actor = Actor::new(coordinator.clone(), inbox);
        let tasks = coordinator.shared.context.tasks.clone();
        tasks.spawn(actor.run());
        coordinator.shared.context.spawn(coordinator.clone().keep_group());
        coordinator.shared.context.spawn(coordinator.clone().end_keys());
        Ok(coordinator)
    }

    /// Everybody who is approved, now and from now on.
    #[must_use]
    pub fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.shared.roster.subscribe()
    }

    /// The consensus behind it.
    #[must_use]
    pub fn consensus(&self) -> &Arc<dyn Consensus> {
        &self.shared.consensus
    }

    /// Whether this node leads, and may.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.shared.replica.leadership().borrow().leader
    }

    /// The number of its replica.
    #[must_use]
    pub fn raft_id(&self) -> u64 {
        self.shared.replica.raft_id()
    }

    /// A message of another coordinator about the log, and its answer.
    pub async fn receive(&self, from: NodeId, message: &[u8]) -> Vec<u8> {
        self.shared.replica.receive(from, message).await
    }

    /// A worker is alive.
    pub async fn heartbeat(&self, from: NodeId, beat: Heartbeat) -> HeartbeatResponse {
        // A follower's records may be behind; the actor says that it does not lead.
        if self.leads() {
            match self.outside(&from) {
                Ok(None) => {}
                Ok(Some(reason)) => return HeartbeatResponse::Refused(reason),
                Err(error) => {
                    tracing::error!(error = %crate::app::chain(&error), "a heartbeat could not be checked");
                    return HeartbeatResponse::Refused(RejectReason::Internal);
                }
            }
        }
        let adoptions = self.shared.adoptions(from, &beat);
        let (reply, answer) = oneshot::channel();
        let roster_known = beat.roster;
        let peers = self.shared.context.net.peers().await;
        let rtt_us = peers.iter().find(|peer| peer.node == from).and_then(|peer| peer.rtt_us);
        let request = Request::Heartbeat { from, beat: Box::new(beat), rtt_us, adoptions, reply };
        if self.requests.send(request).await.is_err() {
            return HeartbeatResponse::Refused(RejectReason::NoLeader);
        }
        match answer.await {
            Ok(Some((lost, fence))) => {
                let roster = self.shared.roster.borrow().clone();
                let roster = (roster.version != roster_known).then(|| (*roster).clone());
                HeartbeatResponse::Heard { lost, roster, fence }
            }
            Ok(None) | Err(_) => HeartbeatResponse::Refused(RejectReason::NoLeader),
        }
    }

    /// A node is connected, or no longer.
    pub async fn connection(&self, node: NodeId, connected: bool) {
        let _stopped = self.requests.send(Request::Connection(node, connected)).await;
    }

    /// A node's advert, whose signature was checked.
    pub async fn advert(&self, advert: protocol::wire::advert::Advert) {
        let _stopped = self.requests.send(Request::Advert(Box::new(advert))).await;
    }

    /// Looks at the leader's soft state; `None` if the coordinator has stopped.
    async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Dispatch, Timestamp) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let look = move |dispatch: &Dispatch, now| drop(reply.send(look(dispatch, now)));
        self.requests.send(Request::Inspect(Box::new(look))).await.ok()?;
        answer.await.ok()
    }
}

impl Shared {
    /// Hands a lease to a worker: in this process, or over the network. `None` if it cannot be reached.
    async fn deliver(&self, to: NodeId, request: LeaseRequest) -> Option<LeaseResponse> {
        if to == self.context.net.local() {
            return match &self.worker {
                Some(worker) => Some(worker.lease(to, request).await),
                None => None,
            };
        }
        match self.context.net.lease(to, request).await {
            Ok(response) => Some(response),
            Err(error) => {
                tracing::debug!(worker = %to, %error, "a lease could not be delivered");
                None
            }
        }
    }

    /// Who has the blobs of a job: its submitter's machines, then this node.
    fn providers(
        &self,
        records: &(dyn Records + Send + Sync),
        job: JobId,
    ) -> Result<Vec<NodeId>, ReadError> {
        let Some(view) = query::job(records, &job)? else { return Ok(Vec::new()) };
        let here = self.context.net.local();
        let roster = query::roster(records)?;
        let owners = roster.members.iter().filter(|(_, account, _)| *account == view.account);
        let mut providers: Vec<_> =
            owners.map(|(node, ..)| *node).filter(|node| *node != here).take(5).collect();
        providers.push(here);
        let others = self.others().into_iter().filter(|node| !providers.contains(node)).take(2);
        let others: Vec<_> = others.collect();
        providers.extend(others);
        Ok(providers)
    }

    /// The other coordinators, voters and learners.
    fn others(&self) -> Vec<NodeId> {
        let here = self.context.net.local();
        let members = self.replica.group().members;
        members.into_iter().map(|member| member.node).filter(|node| *node != here).collect()
    }
}

/// The roster as members get to know it. The coordinators come with the number of their changes: both only grow.
fn read_roster(
    records: &(dyn Records + Send + Sync),
    (changes, coordinators): (u64, Vec<NodeAddress>),
) -> Result<Roster, ReadError> {
    let roster = query::roster(records)?;
    let members: BTreeSet<_> = roster.members.iter().map(|(node, ..)| *node).collect();
    Ok(Roster {
        version: roster.version.saturating_add(changes),
        members: members.into_iter().collect(),
        blocked: roster.blocked,
        coordinators,
    })
}

/// What the registry says about all nodes, for the dispatcher.
fn members(records: &(dyn Records + Send + Sync)) -> Result<Vec<dispatch::Member>, ReadError> {
    let nodes = query::nodes(records)?;
    let member = |node: protocol::wire::view::NodeView| dispatch::Member {
        node: node.node,
        name: node.name,
        account: node.account,
        works: node.roles.contains(&Role::Worker),
        approved: node.admission == Admission::Approved,
        labels: node.labels,
    };
    Ok(nodes.into_iter().map(member).collect())
}

/// The same of one node, also of a key that has ended.
fn member(
    records: &(dyn Records + Send + Sync),
    node: NodeId,
) -> Result<Option<dispatch::Member>, ReadError> {
    let member = |record: NodeRecord| dispatch::Member {
        node,
        name: record.name,
        account: record.account,
        works: record.roles.contains(&Role::Worker),
        approved: record.admission == Admission::Approved,
        labels: record.labels,
    };
    Ok(query::node(records, &node)?.map(member))
}
