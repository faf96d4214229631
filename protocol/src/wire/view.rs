//! Answers to [questions](super::client::Query): the replicated state and what the leader knows, from outside.

use serde::{Deserialize, Serialize};

use crate::{
    batch::Batch,
    code::Code,
    ids::{AccountId, Hash, InviteId, JobId, MeshId, NodeId, ReceiptId, TaskIndex},
    merkle::Digest,
    outcome::Outcome,
    price::Price,
    sign::Signed,
    time::UnixMillis,
    units::{Credits, Fuel, Pages},
    wire::{
        advert::Advert,
        availability::{Advice, Availability},
        enroll::{BlockReason, NodeAddress, Role},
        genesis::{Genesis, Joining},
        group::{CoordinatorView, GroupView},
        job::{JobAuthorization, JobSpec},
        manifest::OutputManifest,
        owner::Delegation,
        receipt::{ReceiptHeader, TaskReceipt},
    },
};

mod states;

pub use states::{Admission, Condition, JobState, Liveness, TaskState};

/// An answer, with the kind of the question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To `Mesh`.
    Mesh(MeshView),
    /// To `Jobs`.
    Jobs(Vec<JobView>),
    /// To `Job` and `Watch`.
    Job(Box<JobView>),
    /// To `JobPrefix`.
    JobIds(Vec<JobId>),
    /// To `Tasks`.
    Tasks(Vec<TaskView>),
    /// To `Explain`.
    Explain(ExplainView),
    /// To `Nodes`.
    Nodes(Vec<NodeView>),
    /// To `Balance`.
    Balance(BalanceView),
    /// To `History`.
    History(Vec<HistoryView>),
    /// To `Receipts`.
    Receipts(Vec<ReceiptView>),
    /// To `Receipt`.
    Receipt(Box<ReceiptProof>),
    /// To `Addresses`.
    Addresses(Vec<NodeAddress>),
    /// To `Group`.
    Group(GroupView),
    /// To `Invites`.
    Invites(Vec<InviteView>),
}

/// The mesh as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshView {
    /// Its id.
    pub mesh: MeshId,
    /// Its name.
    pub name: String,
    /// Counts recoveries.
    pub epoch: u32,
    /// Who leads.
    pub leader: Option<NodeId>,
    /// The leader's term.
    pub term: u64,
    /// The last committed log index.
    pub commit_index: u64,
    /// Entries in the ledger.
    pub height: u64,
    /// The time of the newest entry.
    pub height_at: UnixMillis,
    /// What work costs.
    pub price: Price,
    /// How machines get in.
    pub joining: Joining,
    /// Tasks that wait.
    pub tasks_queued: u64,
    /// Tasks that are leased.
    pub tasks_leased: u64,
    /// Jobs that are open.
    pub jobs_open: u32,
    /// Voters and learners of the coordinator group.
    pub coordinators: Vec<CoordinatorView>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub job: JobId,
    /// Who pays.
    pub account: AccountId,
    /// What.
    pub spec: JobSpec,
    /// Its state.
    pub state: JobState,
    /// For a failed job: the first reason, as a code.
    pub reason: Option<String>,
    /// Tasks, with the reducing one.
    pub total: u32,
    /// Of those, succeeded.
    pub done: u32,
    /// Of those, ended otherwise.
    pub failed: u32,
    /// Of those, leased now.
    pub leased: u32,
    /// Attempts after the first ones.
    pub retried: u32,
    /// The most that it may cost.
    pub budget: Credits,
    /// What it has cost.
    pub captured: Credits,
    /// Fuel that was paid for.
    pub fuel: Fuel,
    /// When it was submitted.
    pub submitted: UnixMillis,
    /// When it ended.
    pub ended: Option<UnixMillis>,
    /// Grows with every change that a watcher should see.
    pub version: u64,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// Which.
    pub task: TaskIndex,
    /// Its state.
    pub state: TaskState,
    /// How often it was tried.
    pub attempts: u16,
    /// Who has it, or had it.
    pub worker: Option<NodeId>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it failed or waits, as a code.
    pub reason: Option<String>,
    /// The fuel that it used.
    pub fuel: Fuel,
    /// What it cost.
    pub cost: Credits,
    /// What it put out.
    pub output: Option<OutputManifest>,
}

/// Why a job is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainView {
    /// The job.
    pub job: JobId,
    /// Its state.
    pub state: JobState,
    /// Tasks that wait.
    pub waiting: u32,
    /// Tasks that are leased.
    pub leased: u32,
    /// How long nothing has been handed out, in milliseconds.
    pub waiting_ms: u64,
    /// Nodes that can take a task now.
    pub nodes_able: u32,
    /// Nodes there are.
    pub nodes_total: u32,
    /// Why nodes cannot: the code, how many, and a sentence.
    pub obstacles: Vec<Obstacle>,
    /// The last decisions of the scheduler about this job, newest first: sentences.
    pub decisions: Vec<String>,
    /// If no node could ever run a task because of its memory: what a task may ask for at most, in bytes, so that one can.
    pub memory_fits_bytes: Option<u64>,
}

/// Why nodes cannot take a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// A stable code.
    pub code: String,
    /// How many nodes.
    pub nodes: u32,
    /// For people.
    pub detail: String,
    /// Whether waiting cannot help.
    pub permanent: bool,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Which.
    pub node: NodeId,
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub account: AccountId,
    /// Whether it is a member.
    pub admission: Admission,
    /// Whether it is heard from.
    pub liveness: Liveness,
    /// Whether it can take work.
    pub condition: Condition,
    /// What it may do.
    pub roles: Vec<Role>,
    /// What it says it has to offer.
    pub advert: Option<Advert>,
    /// How long ago it was heard from, in milliseconds.
    pub seen_ms_ago: Option<u64>,
    /// Round trip from the leader, in microseconds.
    pub rtt_us: Option<u64>,
    /// Tasks that it holds.
    pub tasks: u32,
    /// What it has for other owners and why not more, as it said last.
    pub availability: Option<Availability>,
    /// Whether it is well: it can take work, and was heard from within a minute.
    pub healthy: bool,
    /// Whether it comes and goes: then it gets work last.
    pub flapping: bool,
    /// What to do about it.
    pub advice: Option<Advice>,
    /// Labels that operators gave it.
    pub labels: Vec<String>,
    /// While it waits: the code that it shows too, once both sides have said their part of it.
    pub code: Option<Code>,
    /// Whether it acts for an owner that is not its own.
    pub delegated: bool,
    /// Why it was blocked.
    pub reason: Option<BlockReason>,
    /// What was written beside the last decision.
    pub note: String,
    /// The node that it goes on as, where its key was replaced.
    pub replaced_by: Option<NodeId>,
}

/// An invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteView {
    /// Which.
    pub invite: InviteId,
    /// Who made it.
    pub sponsor: AccountId,
    /// What the nodes may do, besides submitting jobs.
    pub role: Role,
    /// How many nodes it lets in.
    pub uses: u16,
    /// How many have joined with it.
    pub used: u16,
    /// When it was made.
    pub at: UnixMillis,
    /// Until when it is good.
    pub expires: UnixMillis,
    /// Whether it was taken back.
    pub revoked: bool,
    /// For people: whom it is for.
    pub hint: String,
}

/// A balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceView {
    /// Whose.
    pub account: AccountId,
    /// What can be spent.
    pub available: Credits,
    /// What open jobs hold.
    pub held: Credits,
    /// Everything that work earned.
    pub earned: Credits,
    /// Everything that jobs cost.
    pub spent: Credits,
    /// The ledger's height.
    pub height: u64,
    /// The time of its newest entry.
    pub height_at: UnixMillis,
}

/// What an entry did to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryView {
    /// The entry.
    pub seq: u64,
    /// Its time.
    pub at: UnixMillis,
    /// What it is: `grant`, `hold`, `refund`, `earning`, `transfer`.
    pub kind: String,
    /// What came.
    pub credit: Credits,
    /// What went.
    pub debit: Credits,
    /// The job that it is about.
    pub job: Option<JobId>,
    /// The other account.
    pub other: AccountId,
}

/// A receipt in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptView {
    /// Which.
    pub receipt: ReceiptId,
    /// Who did the work.
    pub worker: NodeId,
    /// How it ended.
    pub outcome: Outcome,
    /// The fuel that it used.
    pub fuel: Fuel,
    /// The most memory that it had.
    pub peak: Pages,
    /// What it cost.
    pub cost: Credits,
    /// The hash of what it put out.
    pub output: Hash,
    /// The ledger entry that settled it.
    pub entry: u64,
    /// When.
    pub at: UnixMillis,
}

/// A receipt and everything that proves it, against Genesis alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptProof {
    /// Which.
    pub receipt: ReceiptId,
    /// The founding statement: its hash is the mesh id, its coordinator signs checkpoints.
    pub genesis: Signed<Genesis>,
    /// What the submitter signed.
    pub authorization: Signed<JobAuthorization>,
    /// Where a node signed it that acts for the submitter: what allows it to.
    pub delegation: Option<Signed<Delegation>>,
    /// The job.
    pub spec: JobSpec,
    /// The header that the worker signed.
    pub header: Signed<ReceiptHeader>,
    /// The receipt itself.
    pub item: TaskReceipt,
    /// Its place in the batch.
    pub item_index: u32,
    /// The path from it to the root in the header.
    pub item_path: Vec<Digest>,
    /// The ledger entry that settled it: the encoded leaf.
    pub entry: Vec<u8>,
    /// The entry's place in the ledger.
    pub entry_index: u64,
    /// The path from it to the root in the checkpoint.
    pub entry_path: Vec<Digest>,
    /// The checkpoint: a C2SP signed note.
    pub checkpoint: String,
    /// What it put out.
    pub output: Option<OutputManifest>,
}

/// A batch as its worker signed it.
pub type ReceiptBatch = Batch<ReceiptHeader, TaskReceipt>;
