//! This node, as the API sees it.

mod content;
mod coordination;
mod invites;
mod jobs;
mod joining;
mod local;
mod money;
mod node;

use std::{sync::Arc, time::Duration};

use portal_api::{
    backend::{
        Answer, AtHeight, Backend, ByteStream, Content, HistoryQuery, JobsQuery, Log,
        ReceiptsQuery, Submitted, TasksQuery,
    },
    problem::{ErrorCode, Problem},
    reference::JobRef,
    views::{
        Balance, CoordinatorRequest, Coordinators, Decision, DrainRequest, Explain, Health,
        HistoryEntry, Identity, Invite, InvitePlan, Job, JobResults, JoinRequest, Joining,
        KeyChange, LabelChange, LeaveRequest, Left, LimitsChange, Node, OwnerLimits, Pause,
        PauseRequest, Peer, Plan, Receipt, ReceiptFile, ShuttingDown, Status, SubmitRequest, Task,
    },
};
use protocol::{
    code::Code,
    ids::{AccountId, Hash, InviteId, JobId, MeshId, NodeId, ReceiptId, TaskIndex},
    wire::{
        advert::Isolation,
        enroll::{MeshHello, Verdict},
        view,
    },
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::{
    app::{Join, Order},
    blobs::BlobStore,
    home::UpOptions,
    machine::Machine,
    net::NetHandle,
    roles::{Context, leader::Leader, submitter::Submitter, worker::Worker},
};

/// What this node has in its mesh once it is admitted.
#[derive(Debug, Clone)]
pub struct Member {
    /// What its roles share.
    pub context: Context,
    /// The way to the leader.
    pub leader: Leader,
    /// Its submitter.
    pub submitter: Submitter,
    /// Its worker, if it has that role.
    pub worker: Option<Worker>,
    /// What the mesh is called.
    pub mesh_name: String,
    /// What the leader last said about the mesh; before it said anything, what this node knows by itself, and then it
    /// is not called pristine. For nodes that do not coordinate.
    pub facts: watch::Receiver<MeshHello>,
}

impl Member {
    /// What a stranger may know about the mesh; nothing before it is founded.
    #[must_use]
    pub fn hello(&self) -> Option<MeshHello> {
        match self.leader.here() {
            Some(here) => here.hello(),
            None => Some(self.facts.borrow().clone()),
        }
    }
}

/// How a request to join is getting on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// The mesh that was asked.
    pub mesh: MeshId,
    /// What it is called.
    pub mesh_name: String,
    /// How many members it says it has.
    pub members: u32,
    /// Which of its nodes was asked.
    pub node: NodeId,
    /// Where that is.
    pub address: String,
    /// Whether it was found on the local network.
    pub on_lan: bool,
    /// The code that whoever approves sees too, once both sides have said their part of it.
    pub code: Option<Code>,
    /// Why it refused; nothing while it has not decided.
    pub refused: Option<String>,
}

/// Whether this node is in a mesh.
#[derive(Debug, Clone)]
pub enum Standing {
    /// It has just started and is opening its mesh.
    Starting,
    /// It asks to join and waits.
    Waiting,
    /// It was refused, and why.
    Refused(String),
    /// It is a member.
    Member(Box<Member>),
}

/// This node, as the API sees it.
#[derive(Debug)]
pub struct NodeApi {
    /// What `weft up` was asked to do.
    pub options: Arc<UpOptions>,
    /// The network.
    pub net: NetHandle,
    /// The node's content.
    pub blobs: BlobStore,
    /// This machine.
    pub machine: Machine,
    /// How well guests are isolated here.
    pub isolation: Isolation,
    /// Whether it is in a mesh, now and from now on.
    pub standing: watch::Receiver<Standing>,
    /// How asking to join another mesh is getting on; nothing if this node does not ask.
    pub asking: watch::Receiver<Option<Asking>>,
    /// Makes it ask to join another mesh.
    pub joins: mpsc::Sender<Join>,
    /// Makes it leave its mesh.
    pub orders: mpsc::Sender<Order>,
    /// What is counted.
    pub metrics: Metrics,
    /// When it started.
    pub started: crate::roles::clock::NodeClock,
    /// Where the API is.
    pub url: String,
    /// Asks the node to end.
    pub end: CancellationToken,
}

impl NodeApi {
    /// This node in its mesh.
    fn member(&self) -> Result<Member, Problem> {
        match &*self.standing.borrow() {
            Standing::Member(member) => Ok((**member).clone()),
            Standing::Starting => {
                let detail = "this node has just started and is opening its ledger";
                Err(Problem::new(ErrorCode::NotReady, detail).retry_after(1))
            }
            Standing::Waiting => {
                let code = self.asking.borrow().as_ref().and_then(|asking| asking.code);
                let shown = code.map(|code| format!(" with the code {code}")).unwrap_or_default();
                let name = self.options.name();
                let detail = format!(
                    "this node waits to be approved{shown}; on a machine of the mesh: weft node approve {name}"
                );
                Err(Problem::new(ErrorCode::NotApproved, detail))
            }
            Standing::Refused(reason) => Err(Problem::new(
                ErrorCode::NotApproved,
                format!("this node was refused: {reason}"),
            )),
        }
    }

    /// The account that pays for what is submitted here.
    fn owner_account(&self) -> AccountId {
        match &*self.standing.borrow() {
            Standing::Member(member) => member.context.owner.account(),
            Standing::Starting | Standing::Waiting | Standing::Refused(_) => {
                self.options.keys.owner.account()
            }
        }
    }

    /// Asks the leader a question.
    async fn ask(&self, query: protocol::wire::client::Query) -> Result<view::Answer, Problem> {
        self.member()?.submitter.ask(query).await
    }
}

/// The leader answered another question: a bug on one side.
fn unexpected() -> Problem {
    Problem::new(ErrorCode::Internal, "the coordinator answered another question")
}

impl Backend for NodeApi {
    fn account(&self) -> AccountId {
        self.owner_account()
    }

    async fn status(&self) -> Answer<Status> {
        self.show_status().await
    }

    async fn identity(&self) -> Answer<Identity> {
        Ok(self.show_identity().await)
    }

    async fn peers(&self) -> Answer<Vec<Peer>> {
        self.list_peers().await
    }

    async fn coordinators(&self) -> Answer<Coordinators> {
        self.show_coordinators().await
    }

    async fn coordinate(&self, request: CoordinatorRequest) -> Answer<Coordinators> {
        self.change_coordinators(request).await
    }

    async fn nodes(&self) -> Answer<Vec<Node>> {
        Ok(self.node_views().await?.iter().map(Node::from).collect())
    }

    async fn decide_node(
        &self,
        node: NodeId,
        verdict: Verdict,
        decision: Decision,
    ) -> Answer<Node> {
        self.decide(node, verdict, decision).await
    }

    async fn drain_node(&self, node: NodeId, drain: Option<DrainRequest>) -> Answer<Node> {
        self.order(node, drain).await
    }

    async fn show_pause(&self) -> Answer<Pause> {
        Ok(self.pause_now())
    }

    async fn pause(&self, request: PauseRequest) -> Answer<Pause> {
        self.change_machine(move |machine| {
            machine.pause(request.duration_seconds.map(Duration::from_secs), &request.message)
        })
        .await
        .map(|()| self.pause_now())
    }

    async fn resume(&self) -> Answer<Pause> {
        self.change_machine(|machine| machine.resume()).await.map(|()| self.pause_now())
    }

    async fn show_limits(&self) -> Answer<OwnerLimits> {
        Ok(self.limits_now())
    }

    async fn set_limits(&self, change: LimitsChange) -> Answer<OwnerLimits> {
        let change = self.limits_change(change)?;
        self.change_machine(move |machine| machine.set_limits(&change)).await?;
        Ok(self.limits_now())
    }

    async fn label_node(&self, node: NodeId, change: LabelChange) -> Answer<Node> {
        self.label(node, change).await
    }

    async fn invites(&self) -> Answer<Vec<Invite>> {
        self.list_invites().await
    }

    async fn invite(&self, plan: InvitePlan) -> Answer<Invite> {
        self.make_invite(plan).await
    }

    async fn revoke_invite(&self, invite: InviteId) -> Answer<Invite> {
        self.take_back(invite).await
    }

    async fn rotate_key(&self) -> Answer<KeyChange> {
        self.rotate().await
    }

    async fn jobs(&self, query: JobsQuery) -> Answer<Vec<Job>> {
        self.list_jobs(query).await
    }

    async fn find_job(&self, job: &JobRef) -> Answer<JobId> {
        self.find(job).await
    }

    async fn job(&self, job: JobId) -> Answer<Job> {
        self.show_job(job).await
    }

    async fn watch_job(&self, job: JobId, version: u64, wait: Duration) -> Answer<Job> {
        self.watch(job, version, wait).await
    }

    async fn submit(&self, request: SubmitRequest) -> Answer<Submitted> {
        let submitted = self.member()?.submitter.submit(request).await?;
        self.metrics.jobs_submitted.inc();
        Ok(submitted)
    }

    async fn plan(&self, request: SubmitRequest) -> Answer<Plan> {
        self.member()?.submitter.plan(request).await
    }

    async fn cancel_job(&self, job: JobId) -> Answer<Job> {
        let view = self.member()?.submitter.cancel(job).await?;
        Ok(Job::from(&view))
    }

    async fn tasks(&self, job: JobId, page: TasksQuery) -> Answer<Vec<Task>> {
        let views = self.task_views(job, page).await?;
        Ok(views.iter().map(|view| Task::new(job, view)).collect())
    }

    async fn results(&self, job: JobId, page: TasksQuery) -> Answer<JobResults> {
        self.list_results(job, page).await
    }

    async fn explain(&self, job: JobId) -> Answer<Explain> {
        let view::Answer::Explain(explained) =
            self.ask(protocol::wire::client::Query::Explain(job)).await?
        else {
            return Err(unexpected());
        };
        Ok(Explain::from(&explained))
    }

    async fn log(&self, job: JobId, task: TaskIndex, log: Log) -> Answer<Content> {
        self.task_log(job, task, log).await
    }

    async fn put_blob(&self, content: ByteStream) -> Answer<(Hash, u64)> {
        self.keep(content).await
    }

    async fn head_blob(&self, blob: Hash) -> Answer<u64> {
        self.length_of(blob)
    }

    async fn get_blob(&self, blob: Hash) -> Answer<Content> {
        self.content(blob).await
    }

    async fn balance(&self, account: AccountId) -> Answer<Balance> {
        self.show_balance(account).await
    }

    async fn history(&self, query: HistoryQuery) -> Answer<AtHeight<Vec<HistoryEntry>>> {
        self.list_history(query).await
    }

    async fn receipts(&self, query: ReceiptsQuery) -> Answer<AtHeight<Vec<Receipt>>> {
        self.list_receipts(query).await
    }

    async fn receipt(&self, receipt: ReceiptId) -> Answer<AtHeight<Receipt>> {
        self.show_receipt(receipt).await
    }

    async fn export_receipt(&self, receipt: ReceiptId) -> Answer<ReceiptFile> {
        self.export(receipt).await
    }

    async fn join(&self, request: JoinRequest) -> Answer<Joining> {
        self.ask_to_join(request).await
    }

    async fn leave(&self, request: LeaveRequest) -> Answer<Left> {
        self.leave_mesh(request).await
    }

    async fn shut_down(&self) -> Answer<ShuttingDown> {
        let tasks_running = self.slots_busy();
        self.end.cancel();
        Ok(ShuttingDown { tasks_running })
    }

    async fn health(&self) -> Health {
        self.show_health()
    }

    async fn metrics(&self) -> String {
        self.refresh_metrics().await;
        self.metrics.text()
    }
}
