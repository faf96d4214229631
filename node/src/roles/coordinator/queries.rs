//! Questions, answered from the records and from what the leader knows besides.

use std::collections::BTreeSet;

use ledger::{
    records::{ReadError, Records},
    replica::MemberRole,
    state::query,
};
use protocol::{
    codec::{decode, try_encode},
    ids::{Hash, JobId, NodeId},
    reject::RejectReason,
    time::Clock as _,
    wire::{
        client::{ClientResponse, Query},
        enroll::NodeAddress,
        group::CoordinatorView,
        manifest::OutputManifest,
        view::{Answer, ExplainView, JobState, JobView, Liveness, MeshView, NodeView, TaskView},
    },
};

use super::Coordinator;
use crate::core::transitions;

/// Job ids that a prefix may stand for before the list is cut.
const PREFIX_IDS_MAX: u32 = 16;

/// Why there is no answer.
enum Unanswered {
    /// The records cannot be read.
    Read(ReadError),
    /// There is no such thing.
    NotFound(&'static str),
}

impl From<ReadError> for Unanswered {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl Coordinator {
    /// Answers a question.
    pub(super) async fn answer(&self, from: NodeId, query: Query) -> ClientResponse {
        tracing::trace!(%from, ?query, "question");
        match self.look_up(query).await {
            Ok(answer) => fitting(answer),
            Err(Unanswered::NotFound(what)) => {
                ClientResponse::rejected(RejectReason::NotFound, format!("there is no such {what}"))
            }
            Err(Unanswered::Read(error)) => {
                tracing::error!(error = %crate::app::chain(&error), "a question could not be answered");
                ClientResponse::rejected(
                    RejectReason::Internal,
                    "the replicated state could not be read",
                )
            }
        }
    }

    async fn look_up(&self, query: Query) -> Result<Answer, Unanswered> {
        let records = self.shared.consensus.records();
        let records = records.as_ref();
        Ok(match query {
            Query::Mesh => Answer::Mesh(self.mesh(records).await?),
            Query::Jobs { account, after, limit } => {
                let mut jobs = query::jobs(records, account, after, limit)?;
                self.complete_jobs(&mut jobs).await;
                Answer::Jobs(jobs)
            }
            Query::Job(job) | Query::Watch { job, .. } => {
                Answer::Job(Box::new(self.job(records, job).await?))
            }
            Query::JobPrefix(prefix) => {
                Answer::JobIds(query::job_ids(records, &prefix, PREFIX_IDS_MAX)?)
            }
            Query::Tasks { job, from, limit } => {
                Answer::Tasks(self.tasks(records, job, from, limit).await?)
            }
            Query::Explain(job) => Answer::Explain(self.explain(records, job).await?),
            Query::Nodes => Answer::Nodes(self.nodes(records).await?),
            Query::Balance(account) => Answer::Balance(query::balance(records, account)?),
            Query::History { account, before, limit } => {
                Answer::History(query::history(records, account, before, limit)?)
            }
            Query::Receipts { job, account, after, limit } => {
                Answer::Receipts(query::receipts(records, job, account, after, limit)?)
            }
            Query::Receipt(receipt) => {
                let proof = query::receipt_proof(records, receipt)?
                    .ok_or(Unanswered::NotFound("receipt"))?;
                let mut proof = proof.sign(&self.shared.context.keys.node);
                proof.output = self.output(proof.item.output).await;
                Answer::Receipt(Box::new(proof))
            }
            Query::Addresses(nodes) => Answer::Addresses(self.addresses(&nodes).await),
            Query::Group => Answer::Group(self.group_view()),
            Query::Invites => Answer::Invites(query::invites(records)?),
        })
    }

    async fn mesh(&self, records: &(dyn Records + Send + Sync)) -> Result<MeshView, Unanswered> {
        let facts = query::mesh(records)?.ok_or(Unanswered::NotFound("mesh"))?;
        let status = self.shared.consensus.status();
        let (tasks_queued, tasks_leased) =
            self.inspect(|dispatch, _| dispatch.totals()).await.unwrap_or_default();
        let coordinators = status.members.iter().map(|member| CoordinatorView {
            node: member.node,
            voter: member.role == MemberRole::Voter,
            lag: member.lag,
        });
        Ok(MeshView {
            mesh: facts.policy.mesh,
            name: facts.policy.name,
            epoch: self.shared.context.epoch,
            leader: status.leadership.leader_node,
            term: status.leadership.term,
            commit_index: status.commit_index,
            height: facts.height,
            height_at: facts.time,
            price: facts.policy.price,
            joining: facts.policy.joining,
            tasks_queued,
            tasks_leased,
            jobs_open: facts.open_jobs,
            coordinators: coordinators.collect(),
        })
    }

    async fn job(
        &self,
        records: &(dyn Records + Send + Sync),
        job: JobId,
    ) -> Result<JobView, Unanswered> {
        let mut views = vec![query::job(records, &job)?.ok_or(Unanswered::NotFound("job"))?];
        self.complete_jobs(&mut views).await;
        views.pop().ok_or(Unanswered::NotFound("job"))
    }

    /// Adds what only the leader knows.
    async fn complete_jobs(&self, jobs: &mut [JobView]) {
        let open: Vec<_> =
            jobs.iter().filter(|job| !job.state.is_terminal()).map(|job| job.job).collect();
        if open.is_empty() {
            return;
        }
        let infos = self
            .inspect(move |dispatch, _| {
                open.iter()
                    .filter_map(|job| Some((*job, dispatch.job_info(job)?)))
                    .collect::<Vec<_>>()
            })
            .await
            .unwrap_or_default();
        for (id, info) in infos {
            let Some(job) = jobs.iter_mut().find(|job| job.job == id) else { continue };
            job.leased = info.leased;
            job.retried = job.retried.max(info.retried);
            job.version = info.version;
            if info.started && job.state == JobState::Queued {
                job.state = JobState::Running;
            }
        }
    }

    async fn tasks(
        &self,
        records: &(dyn Records + Send + Sync),
        job: JobId,
        from: u32,
        limit: u32,
    ) -> Result<Vec<TaskView>, Unanswered> {
        let rows = query::tasks(records, &job, from, limit)?.ok_or(Unanswered::NotFound("job"))?;
        let open: BTreeSet<_> = rows
            .iter()
            .filter(|row| !row.view.state.is_terminal())
            .map(|row| row.view.task)
            .collect();
        let infos = if open.is_empty() {
            None
        } else {
            self.inspect(move |dispatch, _| dispatch.task_infos(&job, &open)).await
        };
        let infos = infos.unwrap_or_default();
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            let mut view = row.view;
            if let Some(info) = infos.get(&view.task) {
                // A task may have ended between the two looks.
                if transitions::leads_to(view.state, info.state) {
                    view.state = info.state;
                }
                view.worker = info.worker;
                view.attempts = view.attempts.max(info.attempts);
            }
            view.output = match row.output {
                Some(output) => self.output(output).await,
                None => None,
            };
            views.push(view);
        }
        Ok(views)
    }

    /// What a task put out, if a coordinator still has it.
    async fn output(&self, hash: Hash) -> Option<OutputManifest> {
        let bytes = self.shared.kept_content(hash).await.ok()?;
        decode(&bytes).ok()
    }

    async fn explain(
        &self,
        records: &(dyn Records + Send + Sync),
        job: JobId,
    ) -> Result<ExplainView, Unanswered> {
        let view = query::job(records, &job)?.ok_or(Unanswered::NotFound("job"))?;
        let explained =
            self.inspect(move |dispatch, now| dispatch.explain(now, &job)).await.flatten();
        Ok(explained.unwrap_or_else(|| ExplainView {
            job,
            state: view.state,
            waiting: 0,
            leased: 0,
            waiting_ms: 0,
            nodes_able: 0,
            nodes_total: 0,
            obstacles: Vec::new(),
            decisions: view.reason.into_iter().collect(),
            memory_fits_bytes: None,
        }))
    }

    async fn nodes(
        &self,
        records: &(dyn Records + Send + Sync),
    ) -> Result<Vec<NodeView>, Unanswered> {
        let mut nodes = query::nodes(records)?;
        self.add_codes(&mut nodes);
        let ids: Vec<_> = nodes.iter().map(|node| node.node).collect();
        let infos = self
            .inspect(move |dispatch, now| {
                ids.iter().map(|node| dispatch.node_info(now, node)).collect::<Vec<_>>()
            })
            .await
            .unwrap_or_default();
        let rtts = self.shared.context.net.peers().await;
        let now = self.shared.context.clock.now();
        for (node, info) in nodes.iter_mut().zip(infos) {
            node.rtt_us =
                rtts.iter().find(|peer| peer.node == node.node).and_then(|peer| peer.rtt_us);
            let Some(info) = info else { continue };
            node.liveness = info.liveness;
            node.condition = info.condition;
            node.advert = info.advert;
            node.tasks = info.tasks;
            node.availability = info.availability;
            node.healthy = info.healthy;
            node.flapping = info.flapping;
            node.advice = info.advice;
            let seen = info.heard.map(|heard| now.saturating_since(heard).as_millis());
            node.seen_ms_ago = seen.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX));
            if node.node == self.shared.context.net.local() {
                node.liveness = Liveness::Healthy;
                node.seen_ms_ago = Some(0);
            }
        }
        Ok(nodes)
    }

    async fn addresses(&self, nodes: &[NodeId]) -> Vec<NodeAddress> {
        let peers = self.shared.context.net.peers().await;
        peers
            .iter()
            .filter(|peer| nodes.contains(&peer.node))
            .map(crate::net::PeerInfo::node_address)
            .collect()
    }
}

/// An answer that fits in a message: lists are cut, and whoever asked asks for the rest.
fn fitting(mut answer: Answer) -> ClientResponse {
    loop {
        let response = ClientResponse::Answer(Box::new(answer));
        if try_encode(&response).is_ok() {
            return response;
        }
        let ClientResponse::Answer(cut) = response else { return response };
        answer = *cut;
        let shortened = match &mut answer {
            Answer::Jobs(list) => halve(list),
            Answer::Tasks(list) => halve(list),
            Answer::Nodes(list) => halve(list),
            Answer::History(list) => halve(list),
            Answer::Receipts(list) => halve(list),
            Answer::Invites(list) => halve(list),
            Answer::Receipt(proof) => proof.output.take().is_some(),
            Answer::Mesh(_)
            | Answer::Job(_)
            | Answer::JobIds(_)
            | Answer::Explain(_)
            | Answer::Balance(_)
            | Answer::Addresses(_)
            | Answer::Group(_) => false,
        };
        if !shortened {
            return ClientResponse::rejected(
                RejectReason::TooLarge,
                "the answer does not fit in a message",
            );
        }
    }
}

/// Cuts a list in half; says whether there was anything to cut.
fn halve<T>(list: &mut Vec<T>) -> bool {
    let half = list.len() >> 1;
    list.truncate(half);
    half > 0
}
