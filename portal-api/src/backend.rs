//! What the API needs from a node.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use protocol::{
    ids::{AccountId, Hash, InviteId, JobId, NodeId, ReceiptId, TaskIndex},
    wire::{enroll::Verdict, view::JobState},
};

use crate::{
    problem::Problem,
    reference::JobRef,
    views::{
        Balance, CoordinatorRequest, Coordinators, Decision, DrainRequest, Explain, Health,
        HistoryEntry, Identity, Invite, InvitePlan, Job, JobResults, JoinRequest, Joining,
        KeyChange, LabelChange, LeaveRequest, LedgerPoint, Left, LimitsChange, Node, OwnerLimits,
        Pause, PauseRequest, Peer, Plan, Receipt, ReceiptFile, ShuttingDown, Status, SubmitRequest,
        Task,
    },
};

/// What came of a request.
pub type Answer<T> = Result<T, Problem>;

/// Content on its way, in pieces. An error ends it.
pub type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

/// What the API needs from a node.
///
/// All of it is called concurrently. A call whose client went away is dropped at any point, so each must be
/// cancel safe: what it began is either done or has no effect.
pub trait Backend: Send + Sync + 'static {
    /// The account that pays for what is submitted here.
    fn account(&self) -> AccountId;

    /// This node and its mesh at a glance. Answers also while nobody leads.
    fn status(&self) -> impl Future<Output = Answer<Status>> + Send;

    /// Who this node is.
    fn identity(&self) -> impl Future<Output = Answer<Identity>> + Send;

    /// The nodes that this one is connected to.
    fn peers(&self) -> impl Future<Output = Answer<Vec<Peer>>> + Send;

    /// Who keeps the ledger, and who leads. Answers also while nobody does, if any coordinator is reached.
    fn coordinators(&self) -> impl Future<Output = Answer<Coordinators>> + Send;

    /// Changes this node's place among the coordinators, or who leads. Returns the group as it is then: places are given and
    /// taken within some seconds.
    fn coordinate(
        &self,
        request: CoordinatorRequest,
    ) -> impl Future<Output = Answer<Coordinators>> + Send;

    /// All nodes of the mesh, and those that wait.
    fn nodes(&self) -> impl Future<Output = Answer<Vec<Node>>> + Send;

    /// Decides about a node, in the name of this node's owner. Returns the node as it is then. Where the decision
    /// carries a code, it is refused with `code-mismatch` unless the code is the node's.
    fn decide_node(
        &self,
        node: NodeId,
        verdict: Verdict,
        decision: Decision,
    ) -> impl Future<Output = Answer<Node>> + Send;

    /// Tells a node to take no more work, or to take it again (`None`), in the name of this node's owner. Returns the
    /// node as it is then.
    fn drain_node(
        &self,
        node: NodeId,
        drain: Option<DrainRequest>,
    ) -> impl Future<Output = Answer<Node>> + Send;

    /// Whether this machine takes work of others.
    fn show_pause(&self) -> impl Future<Output = Answer<Pause>> + Send;

    /// Takes no work of others here, for a while or until it is resumed.
    fn pause(&self, request: PauseRequest) -> impl Future<Output = Answer<Pause>> + Send;

    /// Takes work of others here again.
    fn resume(&self) -> impl Future<Output = Answer<Pause>> + Send;

    /// What the owner of this machine allows others.
    fn show_limits(&self) -> impl Future<Output = Answer<OwnerLimits>> + Send;

    /// Changes it, in the settings and at once.
    fn set_limits(&self, change: LimitsChange) -> impl Future<Output = Answer<OwnerLimits>> + Send;
    /// Labels a node, in the name of this node's owner. Returns the node as it is then.
    fn label_node(
        &self,
        node: NodeId,
        change: LabelChange,
    ) -> impl Future<Output = Answer<Node>> + Send;

    /// Invites: those that can be used, and those that could until lately.
    fn invites(&self) -> impl Future<Output = Answer<Vec<Invite>>> + Send;

    /// Makes an invite, in the name of this node's owner. Returns it with its text.
    fn invite(&self, plan: InvitePlan) -> impl Future<Output = Answer<Invite>> + Send;

    /// Takes an invite back. Doing so twice changes nothing.
    fn revoke_invite(&self, invite: InviteId) -> impl Future<Output = Answer<Invite>> + Send;

    /// Replaces this node's key, from its next start on.
    fn rotate_key(&self) -> impl Future<Output = Answer<KeyChange>> + Send;

    /// Jobs, newest first.
    fn jobs(&self, query: JobsQuery) -> impl Future<Output = Answer<Vec<Job>>> + Send;

    /// The job that is meant. [`JobRef::choose`] decides.
    fn find_job(&self, job: &JobRef) -> impl Future<Output = Answer<JobId>> + Send;

    /// One job, with the ids of its receipts.
    fn job(&self, job: JobId) -> impl Future<Output = Answer<Job>> + Send;

    /// One job, as soon as its version is larger than `version`, it has ended, or `wait` is over.
    fn watch_job(
        &self,
        job: JobId,
        version: u64,
        wait: Duration,
    ) -> impl Future<Output = Answer<Job>> + Send;

    /// Submits a job, signed by this node's owner. `job_id` is set unless the node is to draw it. The same id with
    /// the same content is answered with the job that there is.
    fn submit(&self, request: SubmitRequest) -> impl Future<Output = Answer<Submitted>> + Send;

    /// What would happen to a job. Nothing is submitted.
    fn plan(&self, request: SubmitRequest) -> impl Future<Output = Answer<Plan>> + Send;

    /// Gives a job up. A job that was given up already stays so; one that ended otherwise is `wrong-state`.
    fn cancel_job(&self, job: JobId) -> impl Future<Output = Answer<Job>> + Send;

    /// Tasks of a job, in their order.
    fn tasks(&self, job: JobId, page: TasksQuery)
    -> impl Future<Output = Answer<Vec<Task>>> + Send;

    /// Results of a job, in the order of its tasks. `next_cursor` is the API's: leave it empty.
    fn results(
        &self,
        job: JobId,
        page: TasksQuery,
    ) -> impl Future<Output = Answer<JobResults>> + Send;

    /// Why a job is where it is.
    fn explain(&self, job: JobId) -> impl Future<Output = Answer<Explain>> + Send;

    /// What a task wrote. `not-found` before it has ended.
    fn log(
        &self,
        job: JobId,
        task: TaskIndex,
        log: Log,
    ) -> impl Future<Output = Answer<Content>> + Send;

    /// Keeps some content and returns its hash and length once it is durable. `storage-full` over the quota.
    fn put_blob(&self, content: ByteStream) -> impl Future<Output = Answer<(Hash, u64)>> + Send;

    /// The length of some content that this node keeps itself.
    fn head_blob(&self, blob: Hash) -> impl Future<Output = Answer<u64>> + Send;

    /// Some content that this node keeps, or can fetch from the mesh.
    fn get_blob(&self, blob: Hash) -> impl Future<Output = Answer<Content>> + Send;

    /// The balance of an account.
    fn balance(&self, account: AccountId) -> impl Future<Output = Answer<Balance>> + Send;

    /// The entries that moved credits of an account, newest first.
    fn history(
        &self,
        query: HistoryQuery,
    ) -> impl Future<Output = Answer<AtHeight<Vec<HistoryEntry>>>> + Send;

    /// Receipts of a job, or of all jobs of an account, newest job first.
    fn receipts(
        &self,
        query: ReceiptsQuery,
    ) -> impl Future<Output = Answer<AtHeight<Vec<Receipt>>>> + Send;

    /// One receipt, with its detail.
    fn receipt(&self, receipt: ReceiptId)
    -> impl Future<Output = Answer<AtHeight<Receipt>>> + Send;

    /// One receipt with everything that proves it.
    fn export_receipt(
        &self,
        receipt: ReceiptId,
    ) -> impl Future<Output = Answer<ReceiptFile>> + Send;

    /// Asks to join the mesh of the node at an address, and says whom that reached. Somebody decides there later:
    /// [`Status::joining`] says how it is getting on. `wrong-state` if this node's own mesh holds something and may
    /// not be left; `node-unreachable` if nobody is there. A later request takes the place of an earlier one.
    fn join(&self, request: JoinRequest) -> impl Future<Output = Answer<Joining>> + Send;

    /// Leaves the mesh, keeps what it held, and begins to shut this node down.
    fn leave(&self, request: LeaveRequest) -> impl Future<Output = Answer<Left>> + Send;

    /// Begins to shut this node down.
    fn shut_down(&self) -> impl Future<Output = Answer<ShuttingDown>> + Send;

    /// Whether this node is well. Looks, but never waits for another node.
    fn health(&self) -> impl Future<Output = Health> + Send;

    /// All metrics, in the OpenMetrics text format.
    fn metrics(&self) -> impl Future<Output = String> + Send;
}

/// Which jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobsQuery {
    /// Only those of this account.
    pub account: Option<AccountId>,
    /// Only those in this state.
    pub state: Option<JobState>,
    /// Continue after this job.
    pub after: Option<JobId>,
    /// At most this many: 1 to [`LIST_ITEMS_MAX`](protocol::limits::LIST_ITEMS_MAX). Fewer means that there are no
    /// more.
    pub limit: u32,
}

/// Which tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TasksQuery {
    /// From this one on.
    pub from: TaskIndex,
    /// At most this many: 1 to [`LIST_ITEMS_MAX`](protocol::limits::LIST_ITEMS_MAX). Fewer means that there are no
    /// more.
    pub limit: u32,
}

/// Which entries of an account's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The account.
    pub account: AccountId,
    /// Continue before this ledger entry.
    pub before: Option<u64>,
    /// At most this many: 1 to [`LIST_ITEMS_MAX`](protocol::limits::LIST_ITEMS_MAX). Fewer means that there are no
    /// more.
    pub limit: u32,
}

/// Which receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptsQuery {
    /// Only those of this job.
    pub job: Option<JobId>,
    /// Only those of jobs of this account.
    pub account: Option<AccountId>,
    /// Continue after this one.
    pub after: Option<ReceiptId>,
    /// At most this many: 1 to [`LIST_ITEMS_MAX`](protocol::limits::LIST_ITEMS_MAX). Fewer means that there are no
    /// more.
    pub limit: u32,
}

/// Something out of the ledger, and as of when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtHeight<T> {
    /// As of when.
    pub ledger: LedgerPoint,
    /// What.
    pub value: T,
}

/// A job was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The job.
    pub job: Job,
    /// Whether it had been submitted before, by the same request.
    pub replayed: bool,
}

/// Which of the two that a task writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

/// Content to be sent.
pub struct Content {
    /// Its hash.
    pub hash: Hash,
    /// Its length, in bytes: exactly what the stream yields, unless it fails.
    pub bytes: u64,
    /// The content.
    pub stream: ByteStream,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({:?}, {} bytes)", self.hash, self.bytes)
    }
}
