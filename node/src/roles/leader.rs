//! The way to whoever leads: in this process, or over the network.
//!
//! Who leads changes. What is asked meanwhile is held here for some seconds, at the node where it came in, and goes straight
//! to the new leader: nobody passes anything on twice. A node that keeps no log finds the leader by asking the
//! coordinators that it knows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use protocol::{
    ids::NodeId,
    reject::RejectReason,
    time::Clock as _,
    wire::{
        client::{ClientRequest, ClientResponse, Query},
        group::GroupView,
        heartbeat::{Heartbeat, HeartbeatResponse},
        receipt::{ResultRequest, ResultResponse},
        view::Answer,
    },
};
use tokio::sync::{Notify, Semaphore, watch};

use super::{clock::NodeClock, coordinator::Coordinator};
use crate::net::{NetHandle, RpcError};

/// How long something that is asked is held while nobody leads.
const HELD_FOR: Duration = Duration::from_secs(3);
/// What is held at a time; more is refused at once.
const HELD_MAX: usize = 256;
/// The pause before a leader is asked again that did not take what it was asked, unless another one is known sooner.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a coordinator may take to say who leads.
const SAY_WITHIN: Duration = Duration::from_secs(1);
/// The pause between two rounds of asking all coordinators; it doubles up to [`SEARCH_MAX`].
const SEARCH: Duration = Duration::from_millis(200);
/// The longest pause between two rounds.
const SEARCH_MAX: Duration = Duration::from_secs(2);

/// The way to the leader. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local: NodeId,
    clock: NodeClock,
    net: NetHandle,
    coordinator: watch::Sender<Option<Coordinator>>,
    known: watch::Sender<Option<NodeId>>,
    /// The term in which that was said: what is said of an earlier one is not believed any more.
    term: AtomicU64,
    /// Whom to ask who leads.
    coordinators: watch::Sender<Vec<NodeId>>,
    /// Whoever is known to lead may not lead any more.
    doubt: Notify,
    /// This node had a place among the coordinators, and has none until it is started again.
    retired: AtomicBool,
    held: Semaphore,
}

/// What came of asking once.
enum Asked {
    Answered(ClientResponse),
    /// Whoever was asked does not lead, or was not reached. With what to say if nobody else does.
    Elsewhere(ClientResponse),
}

impl Leader {
    /// A way that knows nobody yet but these, who may know more.
    #[must_use]
    pub fn new(net: NetHandle, clock: NodeClock, coordinators: Vec<NodeId>) -> Self {
        Self(Arc::new(Inner {
            local: net.local(),
            clock,
            net,
            coordinator: watch::Sender::new(None),
            known: watch::Sender::new(None),
            term: AtomicU64::new(0),
            coordinators: watch::Sender::new(coordinators),
            doubt: Notify::new(),
            retired: AtomicBool::new(false),
            held: Semaphore::new(HELD_MAX),
        }))
    }

    /// Somebody said who leads in a term.
    pub fn learn(&self, term: u64, leader: Option<NodeId>) {
        if self.0.term.fetch_max(term, Ordering::Relaxed) > term {
            return;
        }
        self.0.known.send_if_modified(|known| {
            let changed = *known != leader;
            *known = leader;
            changed
        });
    }

    /// Whom to ask who leads, from now on.
    pub fn ask_these(&self, coordinators: Vec<NodeId>) {
        self.0.coordinators.send_replace(coordinators);
    }

    /// Who leads, as far as known, now and from now on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<NodeId>> {
        self.0.known.subscribe()
    }

    /// This node's own coordinator, if it keeps the log.
    #[must_use]
    pub fn here(&self) -> Option<Coordinator> {
        self.0.coordinator.borrow().clone()
    }

    /// The same, now and from now on.
    #[must_use]
    pub fn watch_here(&self) -> watch::Receiver<Option<Coordinator>> {
        self.0.coordinator.subscribe()
    }

    /// This node keeps the log from now on, or does not any more.
    pub fn coordinate(&self, coordinator: Option<Coordinator>) {
        self.0.coordinator.send_replace(coordinator);
    }

    /// This node has lost its place for as long as it runs.
    pub fn retire(&self) {
        self.0.retired.store(true, Ordering::Relaxed);
    }

    /// Whether this node has lost its place for as long as it runs.
    #[must_use]
    pub fn has_retired(&self) -> bool {
        self.0.retired.load(Ordering::Relaxed)
    }

    fn target(&self) -> Result<(NodeId, Option<Coordinator>), RpcError> {
        let leader = (*self.0.known.borrow()).ok_or(RpcError::Unreachable)?;
        Ok((leader, self.here().filter(|_| leader == self.0.local)))
    }

    /// What is known about the leader may be wrong: it is looked for.
    fn doubt(&self) {
        self.0.doubt.notify_one();
    }

    /// Tells the leader that this worker is alive.
    ///
    /// # Errors
    ///
    /// If nobody leads or the leader cannot be reached.
    pub async fn heartbeat(&self, beat: Heartbeat) -> Result<HeartbeatResponse, RpcError> {
        let heard = match self.target() {
            Ok((_, Some(here))) => Ok(here.heartbeat(self.0.local, beat).await),
            Ok((leader, None)) => self.0.net.heartbeat(leader, beat).await,
            Err(error) => Err(error),
        };
        if let Err(_)
        | Ok(HeartbeatResponse::Refused(RejectReason::NotLeader | RejectReason::NoLeader)) =
            &heard
        {
            self.doubt();
        }
        heard
    }

    /// Delivers results.
    ///
    /// # Errors
    ///
    /// If nobody leads or the leader cannot be reached.
    pub async fn result(&self, results: ResultRequest) -> Result<ResultResponse, RpcError> {
        let answer = match self.target() {
            Ok((_, Some(here))) => Ok(here.result(self.0.local, results).await),
            Ok((leader, None)) => self.0.net.result(leader, results).await,
            Err(error) => Err(error),
        };
        if let Err(_)
        | Ok(ResultResponse::Retry(RejectReason::NotLeader | RejectReason::NoLeader)) = &answer
        {
            self.doubt();
        }
        answer
    }

    /// Asks for a change or an answer. While nobody leads it is held for 3 s; then, and if a leader cannot be reached,
    /// that is a rejection, so that whoever asked can be told what to do.
    ///
    /// What was asked may have been done although the answer is a rejection with [`RejectReason::NoLeader`]: the same
    /// request again is answered with what came of it.
    pub async fn client(&self, request: ClientRequest) -> ClientResponse {
        let Ok(_place) = self.0.held.try_acquire() else {
            return ClientResponse::rejected(RejectReason::Busy, "too much waits for a leader");
        };
        let begun = self.0.clock.now();
        let mut known = self.watch();
        loop {
            let target = *known.borrow_and_update();
            // Orders are not given twice: the node that has obeyed one would refuse it.
            let once = matches!(request, ClientRequest::Order(_));
            let asked = tokio::select! {
                asked = self.ask_once(request.clone()) => asked,
                Ok(_) = known.wait_for(|leader| *leader != target && leader.is_some()), if !once => continue,
            };
            let refused = match asked {
                Asked::Answered(answer) => return answer,
                Asked::Elsewhere(refused) => refused,
            };
            self.doubt();
            if self.0.clock.now().saturating_since(begun) >= HELD_FOR {
                return refused;
            }
            let _either = tokio::time::timeout(PAUSE, known.changed()).await;
        }
    }

    async fn ask_once(&self, request: ClientRequest) -> Asked {
        let answer = match self.target() {
            Ok((_, Some(here))) => Ok(here.client(self.0.local, request).await),
            Ok((leader, None)) => self.0.net.client(leader, request).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(
                answer @ ClientResponse::Rejected {
                    reason: RejectReason::NotLeader | RejectReason::NoLeader,
                    ..
                },
            ) => Asked::Elsewhere(answer),
            Ok(answer) => Asked::Answered(answer),
            Err(error) => unreached(&error),
        }
    }

    /// Asks once, and does not wait for another leader.
    pub async fn client_now(&self, request: ClientRequest) -> ClientResponse {
        match self.ask_once(request).await {
            Asked::Answered(answer) => answer,
            Asked::Elsewhere(refused) => {
                self.doubt();
                refused
            }
        }
    }

    /// What the coordinators say about their group, each for itself. This node's own word is among them.
    pub async fn ask_all(&self) -> Vec<(NodeId, GroupView)> {
        let here = self.here().map(|here| (self.0.local, here.group_view()));
        let coordinators = self.0.coordinators.borrow().clone();
        let others = coordinators.into_iter().filter(|node| *node != self.0.local);
        let asked: FuturesUnordered<_> = others.map(|node| self.ask_group(node)).collect();
        let answers: Vec<_> = asked.collect().await;
        here.into_iter().chain(answers.into_iter().flatten()).collect()
    }

    async fn ask_group(&self, node: NodeId) -> Option<(NodeId, GroupView)> {
        let asking = self.0.net.client(node, ClientRequest::Query(Query::Group));
        let Ok(Ok(ClientResponse::Answer(answer))) = tokio::time::timeout(SAY_WITHIN, asking).await
        else {
            return None;
        };
        if let Answer::Group(view) = *answer { Some((node, view)) } else { None }
    }

    /// Looks for the leader, now and whenever there is doubt about it, until the node stops.
    pub async fn look_out(self) {
        loop {
            let mut pause = SEARCH;
            while !self.look_once().await {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(SEARCH_MAX);
            }
            self.0.doubt.notified().await;
        }
    }

    /// Believes whoever says that it leads, in the latest term in which anybody says so.
    async fn look_once(&self) -> bool {
        let said = self.ask_all().await;
        let leading = said.iter().filter(|(_, view)| view.leads).max_by_key(|(_, view)| view.term);
        let Some((node, view)) = leading else { return false };
        self.learn(view.term, Some(*node));
        true
    }
}

fn unreached(error: &RpcError) -> Asked {
    let reason = match error {
        RpcError::Malformed => RejectReason::TooLarge,
        RpcError::NotMember | RpcError::Unsupported => RejectReason::NotApproved,
        RpcError::Busy => RejectReason::Busy,
        RpcError::Unreachable
        | RpcError::Timeout
        | RpcError::Closed
        | RpcError::NoMesh
        | RpcError::Stopped => RejectReason::NoLeader,
    };
    let refused =
        ClientResponse::rejected(reason, format!("the coordinator did not answer: {error}"));
    // Who is just starting does not speak the mesh's protocols yet.
    if matches!(reason, RejectReason::NoLeader | RejectReason::NotApproved) {
        Asked::Elsewhere(refused)
    } else {
        Asked::Answered(refused)
    }
}
