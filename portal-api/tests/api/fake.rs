//! A node made of samples, in one of several moods.

use std::{future::pending, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use portal_api::{
    Backend, ErrorCode, Problem,
    backend::{
        Answer, AtHeight, Content, HistoryQuery, JobsQuery, Log, ReceiptsQuery, Submitted,
        TasksQuery,
    },
    reference::JobRef,
    views::{
        Balance, CoordinatorRequest, Coordinators, Decision, DrainRequest, Explain, Health,
        HistoryEntry, Identity, Invite, InvitePlan, Job, JobResults, JoinRequest, Joining,
        KeyChange, LabelChange, LeaveRequest, LedgerPoint, Left, LimitsChange, Node, OwnerLimits,
        Pause, PauseRequest, Peer, Plan, Receipt, ReceiptDetail, ReceiptFile, ShuttingDown, Status,
        SubmitRequest, Task,
    },
};
use protocol::{
    ids::{AccountId, Hash, InviteId, JobId, NodeId, ReceiptId, TaskIndex},
    wire::{
        enroll::Verdict,
        view::{Admission, Condition, JobState},
    },
};
use tokio::sync::Notify;

use crate::samples;

/// Tasks, entries and receipts that there are.
pub(crate) const ITEMS: u32 = 7;

/// How it answers.
#[derive(Debug, Clone, Default)]
pub(crate) enum Fake {
    /// As it should.
    #[default]
    Well,
    /// With this, whatever is asked.
    Fails(Problem),
    /// Not at all, and says when it begins not to.
    Hangs(Arc<Notify>),
    /// With a bug.
    Panics,
}

impl Fake {
    async fn answer<T>(&self, value: T) -> Answer<T> {
        match self {
            Self::Well => Ok(value),
            Self::Fails(problem) => Err(problem.clone()),
            Self::Hangs(begun) => {
                begun.notify_one();
                pending().await
            }
            Self::Panics => panic!("the sample bug"),
        }
    }

    async fn of_job<T>(&self, job: JobId, value: T) -> Answer<T> {
        match job {
            samples::JOB => self.answer(value).await,
            job => Err(Problem::new(ErrorCode::NotFound, format!("there is no job {job}"))),
        }
    }
}

fn content() -> Content {
    let pieces = samples::CONTENT.chunks(4).map(|piece| Ok(Bytes::from_static(piece)));
    Content {
        hash: Hash::of(samples::CONTENT),
        bytes: samples::CONTENT.len() as u64,
        stream: stream::iter(pieces).boxed(),
    }
}

/// `limit` of the indices from `from` on.
fn page(from: u32, limit: u32) -> impl Iterator<Item = u32> {
    (from..ITEMS).take(limit as usize)
}

fn at_height<T>(value: T) -> AtHeight<T> {
    let LedgerPoint { ledger_height, as_of } = samples::balance().ledger;
    AtHeight { ledger: LedgerPoint { ledger_height, as_of }, value }
}

impl Backend for Fake {
    fn account(&self) -> AccountId {
        samples::account()
    }

    async fn status(&self) -> Answer<Status> {
        self.answer(samples::status()).await
    }

    async fn identity(&self) -> Answer<Identity> {
        self.answer(samples::identity()).await
    }

    async fn peers(&self) -> Answer<Vec<Peer>> {
        self.answer(vec![samples::peer()]).await
    }

    async fn coordinators(&self) -> Answer<Coordinators> {
        self.answer(samples::coordinators()).await
    }

    async fn coordinate(&self, request: CoordinatorRequest) -> Answer<Coordinators> {
        let mut group = samples::coordinators();
        if let CoordinatorRequest::Transfer { to } = request {
            group.leader = to;
        }
        self.answer(group).await
    }

    async fn nodes(&self) -> Answer<Vec<Node>> {
        self.answer(samples::nodes()).await
    }

    async fn decide_node(
        &self,
        node: NodeId,
        verdict: Verdict,
        decision: Decision,
    ) -> Answer<Node> {
        if decision.code.is_some_and(|code| code != "417208") {
            return Err(Problem::new(ErrorCode::CodeMismatch, "the node shows another code"));
        }
        let admission = match verdict {
            Verdict::Approve | Verdict::Reinstate => Admission::Approved,
            Verdict::Suspend => Admission::Suspended,
            Verdict::Unblock | Verdict::Leave => Admission::Pending,
            Verdict::Reject | Verdict::Block => Admission::Blacklisted,
        };
        let known = samples::nodes().into_iter().find(|known| known.peer == node).unwrap();
        let roles = if decision.roles.is_empty() { known.roles.clone() } else { decision.roles };
        self.answer(Node { admission, roles, ..known }).await
    }

    async fn drain_node(&self, node: NodeId, drain: Option<DrainRequest>) -> Answer<Node> {
        let known = samples::nodes().into_iter().find(|known| known.peer == node).unwrap();
        let condition = if drain.is_some() { Condition::Maintenance } else { Condition::Online };
        self.answer(Node { condition, ..known }).await
    }

    async fn show_pause(&self) -> Answer<Pause> {
        self.answer(samples::pause()).await
    }

    async fn pause(&self, request: PauseRequest) -> Answer<Pause> {
        self.answer(Pause { message: request.message, ..samples::pause() }).await
    }

    async fn resume(&self) -> Answer<Pause> {
        self.answer(Pause { paused: false, ..samples::pause() }).await
    }

    async fn show_limits(&self) -> Answer<OwnerLimits> {
        self.answer(samples::limits()).await
    }

    async fn set_limits(&self, change: LimitsChange) -> Answer<OwnerLimits> {
        let limits = samples::limits();
        self.answer(OwnerLimits { cores: change.cores.unwrap_or(limits.cores), ..limits }).await
    }

    async fn label_node(&self, node: NodeId, change: LabelChange) -> Answer<Node> {
        let known = samples::nodes().into_iter().find(|known| known.peer == node).unwrap();
        self.answer(Node { labels: change.add, ..known }).await
    }

    async fn invites(&self) -> Answer<Vec<Invite>> {
        self.answer(samples::invites()).await
    }

    async fn invite(&self, plan: InvitePlan) -> Answer<Invite> {
        let invite = samples::invites().remove(0);
        let text = Some("weft1qqqq".to_owned());
        self.answer(Invite { uses: plan.uses, role: plan.role, invite: text, ..invite }).await
    }

    async fn revoke_invite(&self, invite: InviteId) -> Answer<Invite> {
        let known = samples::invites().into_iter().find(|known| known.id == invite);
        let known = known.ok_or_else(|| Problem::new(ErrorCode::NotFound, "no such invite"))?;
        self.answer(Invite { state: "REVOKED".to_owned(), ..known }).await
    }

    async fn rotate_key(&self) -> Answer<KeyChange> {
        self.answer(KeyChange { old: samples::otter(), new: samples::finch() }).await
    }

    async fn jobs(&self, query: JobsQuery) -> Answer<Vec<Job>> {
        let from = query.after.map_or(0, |after| u32::from(after.0[0]).saturating_add(1));
        let of =
            |index: u32| Job { id: JobId([u8::try_from(index).unwrap(); 16]), ..samples::job() };
        let account = query.account.unwrap_or_else(samples::account);
        let fits = |job: &Job| {
            job.account == account && query.state.is_none_or(|state| job.state == state)
        };
        let items = page(from, query.limit).map(of).filter(fits).collect();
        self.answer(items).await
    }

    async fn find_job(&self, job: &JobRef) -> Answer<JobId> {
        let prefix = job.to_string();
        let of_prefix = [samples::JOB, JobId([0xac; 16]), JobId([0xac; 16])];
        let of_prefix: Vec<_> =
            of_prefix.into_iter().filter(|id| id.to_string().starts_with(&prefix)).collect();
        self.answer(job.choose(&of_prefix, &[samples::job()])?).await
    }

    async fn job(&self, job: JobId) -> Answer<Job> {
        self.of_job(job, samples::job()).await
    }

    async fn watch_job(&self, job: JobId, version: u64, wait: Duration) -> Answer<Job> {
        if version >= samples::job().version {
            tokio::time::sleep(wait).await;
        }
        self.of_job(job, samples::job()).await
    }

    async fn submit(&self, request: SubmitRequest) -> Answer<Submitted> {
        let spec = request.spec(0)?;
        let id = request.job_id.unwrap_or(samples::JOB);
        let job = Job { id, name: spec.name, state: JobState::Queued, ..samples::job() };
        self.answer(Submitted { job, replayed: id == samples::JOB && request.job_id.is_some() })
            .await
    }

    async fn plan(&self, request: SubmitRequest) -> Answer<Plan> {
        request.spec(0)?;
        self.answer(samples::plan()).await
    }

    async fn cancel_job(&self, job: JobId) -> Answer<Job> {
        self.of_job(job, Job { state: JobState::Cancelled, ..samples::job() }).await
    }

    async fn tasks(&self, job: JobId, query: TasksQuery) -> Answer<Vec<Task>> {
        self.of_job(job, page(query.from.0, query.limit).map(samples::task).collect()).await
    }

    async fn results(&self, job: JobId, query: TasksQuery) -> Answer<JobResults> {
        let items = page(query.from.0, query.limit).map(samples::result).collect();
        self.of_job(job, samples::results(items)).await
    }

    async fn explain(&self, job: JobId) -> Answer<Explain> {
        self.of_job(job, samples::explain()).await
    }

    async fn log(&self, job: JobId, task: TaskIndex, log: Log) -> Answer<Content> {
        match (task.0, log) {
            (0..ITEMS, Log::Stdout) => self.of_job(job, content()).await,
            (0..ITEMS, Log::Stderr) => {
                self.of_job(job, Content { bytes: 0, stream: stream::empty().boxed(), ..content() })
                    .await
            }
            (ITEMS.., _) => Err(Problem::new(ErrorCode::NotFound, "there is no such task")),
        }
    }

    async fn put_blob(&self, content: portal_api::backend::ByteStream) -> Answer<(Hash, u64)> {
        let pieces: Vec<Bytes> = content.try_collect().await.map_err(|error| {
            Problem::new(ErrorCode::Internal, format!("the store saw: {error}"))
        })?;
        let content = pieces.concat();
        self.answer((Hash::of(&content), content.len() as u64)).await
    }

    async fn head_blob(&self, blob: Hash) -> Answer<u64> {
        self.get_blob(blob).await.map(|content| content.bytes)
    }

    async fn get_blob(&self, blob: Hash) -> Answer<Content> {
        if blob == content().hash {
            self.answer(content()).await
        } else {
            Err(Problem::new(ErrorCode::NotFound, "there is no such content"))
        }
    }

    async fn balance(&self, account: AccountId) -> Answer<Balance> {
        self.answer(Balance { account, ..samples::balance() }).await
    }

    async fn history(&self, query: HistoryQuery) -> Answer<AtHeight<Vec<HistoryEntry>>> {
        let before = query.before.unwrap_or_else(|| ITEMS.into());
        let items = (0..before).rev().take(query.limit as usize).map(samples::history).collect();
        self.answer(at_height(items)).await
    }

    async fn receipts(&self, query: ReceiptsQuery) -> Answer<AtHeight<Vec<Receipt>>> {
        let from = query.after.map_or(0, |after| after.task.0.saturating_add(1));
        let known = query.job.is_none_or(|job| job == samples::JOB);
        let items = page(from, query.limit).map(samples::receipt).filter(|_| known).collect();
        self.answer(at_height(items)).await
    }

    async fn receipt(&self, receipt: ReceiptId) -> Answer<AtHeight<Receipt>> {
        let detail = ReceiptDetail::try_from(&samples::proof()).unwrap();
        let value = Receipt { detail: Some(detail), ..samples::receipt(receipt.task.0) };
        self.of_job(receipt.job, at_height(value)).await
    }

    async fn export_receipt(&self, receipt: ReceiptId) -> Answer<ReceiptFile> {
        self.of_job(receipt.job, ReceiptFile::try_from(&samples::proof()).unwrap()).await
    }

    async fn join(&self, _: JoinRequest) -> Answer<Joining> {
        self.answer(samples::joining()).await
    }

    async fn leave(&self, request: LeaveRequest) -> Answer<Left> {
        self.answer(Left { mesh: request.mesh, ..samples::left() }).await
    }

    async fn shut_down(&self) -> Answer<ShuttingDown> {
        self.answer(ShuttingDown { tasks_running: 3 }).await
    }

    async fn health(&self) -> Health {
        match self.answer(samples::health(true)).await {
            Ok(health) => health,
            Err(_) => samples::health(false),
        }
    }

    async fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }
}
