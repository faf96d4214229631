//! The submitter role: signs for jobs in the owner's name, keeps their inputs, fetches what came of them.

use std::{collections::BTreeMap, time::Duration};

use portal_api::{
    backend::Submitted,
    problem::{ErrorCode, Problem},
    views::{Job, Plan, SubmitRequest},
};
use protocol::{
    codec::decode,
    ids::{Hash, JobId, NodeId, TaskIndex},
    sign::Signed,
    time::UnixMillis,
    units::Credits,
    wire::{
        client::{ClientRequest, ClientResponse, Query},
        job::{JobAuthorization, JobCancel, JobSpec},
        manifest::{BlobRef, InputManifest, InputPage},
        order::NodeOrder,
        view::{Answer, JobView, MeshView},
    },
};

use super::{Context, clock::NodeClock, leader::Leader};
use crate::blobs::{self, BlobError, ObtainError, Pin};

/// How long inputs are kept beyond the life of their job.
const INPUTS_KEPT: Duration = Duration::from_secs(3_600);
/// How far a coordinator's clock may be behind this node's when a job is submitted.
const CLOCK_SLACK_MS: u64 = 60_000;

/// The submitter of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Submitter {
    context: Context,
    leader: Leader,
}

impl Submitter {
    /// A submitter that reaches the leader this way.
    #[must_use]
    pub const fn new(context: Context, leader: Leader) -> Self {
        Self { context, leader }
    }

    /// Asks the leader a question.
    ///
    /// # Errors
    ///
    /// What the leader says, or that it does not answer.
    pub async fn ask(&self, query: Query) -> Result<Answer, Problem> {
        let response = self.leader.client(ClientRequest::Query(query)).await;
        match Problem::of_response(&response) {
            Some(problem) => Err(problem),
            None => match response {
                ClientResponse::Answer(answer) => Ok(*answer),
                ClientResponse::Committed { .. }
                | ClientResponse::Obeyed
                | ClientResponse::Candidate(_)
                | ClientResponse::Kept
                | ClientResponse::Rejected { .. } => Err(unexpected()),
            },
        }
    }

    /// Asks the leader for a change. Returns the ledger's height after it.
    ///
    /// # Errors
    ///
    /// What the leader says, or that it does not answer.
    pub async fn change(&self, request: ClientRequest) -> Result<u64, Problem> {
        let response = self.leader.client(request).await;
        match Problem::of_response(&response) {
            Some(problem) => Err(problem),
            None => match response {
                ClientResponse::Committed { height } => Ok(height),
                ClientResponse::Answer(_)
                | ClientResponse::Obeyed
                | ClientResponse::Candidate(_)
                | ClientResponse::Kept
                | ClientResponse::Rejected { .. } => Err(unexpected()),
            },
        }
    }

    /// Has the leader pass an order on.
    ///
    /// # Errors
    ///
    /// If it is refused, or the node cannot be reached.
    pub async fn order(&self, order: Signed<NodeOrder>) -> Result<(), Problem> {
        let response = self.leader.client(ClientRequest::Order(order)).await;
        match Problem::of_response(&response) {
            Some(problem) => Err(problem),
            None if response == ClientResponse::Obeyed => Ok(()),
            None => Err(unexpected()),
        }
    }

    /// The mesh as the leader sees it.
    ///
    /// # Errors
    ///
    /// See [`ask`](Self::ask).
    pub async fn mesh(&self) -> Result<MeshView, Problem> {
        let Answer::Mesh(mesh) = self.ask(Query::Mesh).await? else {
            return Err(unexpected());
        };
        Ok(mesh)
    }

    /// One job.
    ///
    /// # Errors
    ///
    /// See [`ask`](Self::ask).
    pub async fn job(&self, job: JobId) -> Result<JobView, Problem> {
        let Answer::Job(job) = self.ask(Query::Job(job)).await? else {
            return Err(unexpected());
        };
        Ok(*job)
    }

    async fn available(&self) -> Result<Credits, Problem> {
        let Answer::Balance(balance) =
            self.ask(Query::Balance(self.context.owner.account())).await?
        else {
            return Err(unexpected());
        };
        Ok(balance.available)
    }

    /// Signs for a job and submits it. The same id with the same content is the same job.
    ///
    /// # Errors
    ///
    /// What is wrong with the request, what is missing here, or what the leader says.
    pub async fn submit(&self, request: SubmitRequest) -> Result<Submitted, Problem> {
        let spec = request.spec(sandbox::PROFILE)?;
        let job = request.job_id.unwrap_or_else(|| JobId(crate::app::random()));
        if let Some(known) = self.replayed(job, &spec).await? {
            return Ok(known);
        }
        let inputs = self.check_inputs(&spec).await?;
        let mesh = self.mesh().await?;
        let available = self.available().await?;
        let budget = request.budget(&mesh.price, available)?;
        check_budget(&request, &mesh, budget, available)?;
        let authorization = JobAuthorization {
            job,
            account: self.context.owner.account(),
            spec: spec.hash(),
            budget,
            price: mesh.price,
            not_before: UnixMillis(NodeClock::wall().0.saturating_sub(CLOCK_SLACK_MS)),
            ttl_ms: u64::try_from(request.ttl().as_millis())
                .unwrap_or(u64::MAX)
                .saturating_add(CLOCK_SLACK_MS),
        };
        let pin = Pin { job, keep: request.ttl().saturating_add(INPUTS_KEPT) };
        self.context.blobs.pin(inputs, pin).map_err(|error| storage(&error))?;
        let authorization =
            Signed::sign(&authorization, self.context.mesh, self.context.owner.key());
        self.change(ClientRequest::Submit { authorization, spec: Box::new(spec) }).await?;
        let view = self.job(job).await?;
        Ok(Submitted { job: Job::from(&view), replayed: false })
    }

    async fn replayed(&self, job: JobId, spec: &JobSpec) -> Result<Option<Submitted>, Problem> {
        match self.job(job).await {
            Ok(known) if known.spec.hash() == spec.hash() => {
                Ok(Some(Submitted { job: Job::from(&known), replayed: true }))
            }
            Ok(_) => Err(Problem::new(
                ErrorCode::IdempotencyMismatch,
                "the same id was used for another job; a new job needs an id of its own",
            )),
            Err(problem) if problem.code == ErrorCode::NotFound => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// What would happen to a job. Nothing is submitted.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub async fn plan(&self, request: SubmitRequest) -> Result<Plan, Problem> {
        let spec = request.spec(sandbox::PROFILE)?;
        let mesh = self.mesh().await?;
        let available = self.available().await?;
        let Answer::Nodes(nodes) = self.ask(Query::Nodes).await? else {
            return Err(unexpected());
        };
        let able = nodes.iter().filter(|node| {
            node.advert.as_ref().is_some_and(|advert| {
                advert.isolation >= spec.isolation
                    && advert.memory_bytes >= spec.limits.memory.bytes()
            })
        });
        Ok(Plan {
            tasks: spec.tasks_with_reduce(),
            budget_ucr: request.budget(&mesh.price, available)?,
            available_ucr: available,
            nodes_able: u32::try_from(able.count()).unwrap_or(u32::MAX),
            nodes_total: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
            obstacles: Vec::new(),
        })
    }

    /// Gives a job up.
    ///
    /// # Errors
    ///
    /// What the leader says.
    pub async fn cancel(&self, job: JobId) -> Result<JobView, Problem> {
        let cancel = JobCancel { job, at: NodeClock::wall() };
        let cancel = Signed::sign(&cancel, self.context.mesh, self.context.owner.key());
        self.change(ClientRequest::Cancel(cancel)).await?;
        self.job(job).await
    }

    /// Everything a job needs must be here before anything is promised. Returns what to keep.
    async fn check_inputs(&self, spec: &JobSpec) -> Result<Vec<Hash>, Problem> {
        let mut needed = vec![spec.module, spec.manifest];
        needed.extend(spec.reduce_task().map(|(_, module)| module));
        let manifest = self.manifest(spec.manifest).await?;
        let inputs = manifest.pages.iter().map(|page| page.hash);
        needed.extend(inputs);
        let mut described = 0_u32;
        for page in &manifest.pages {
            let page = self.page(page).await?;
            described =
                described.saturating_add(u32::try_from(page.inputs.len()).unwrap_or(u32::MAX));
            needed.extend(
                page.inputs
                    .iter()
                    .flat_map(protocol::wire::manifest::TaskInput::blobs)
                    .map(|blob| blob.hash),
            );
        }
        if described != spec.tasks {
            let detail = format!(
                "the manifest describes {described} inputs, but the job has {} tasks",
                spec.tasks
            );
            return Err(Problem::new(ErrorCode::ValidationFailed, detail));
        }
        for hash in &needed {
            if !self.context.blobs.has(hash).map_err(|error| storage(&error))? {
                let detail =
                    format!("{hash} was not uploaded to this node: POST /api/v1/blobs first");
                return Err(Problem::new(ErrorCode::BlobMissing, detail));
            }
        }
        Ok(needed)
    }

    async fn manifest(&self, hash: Hash) -> Result<InputManifest, Problem> {
        decode(&self.read(hash).await?).map_err(|error| {
            Problem::new(ErrorCode::ValidationFailed, format!("the manifest is malformed: {error}"))
        })
    }

    async fn page(&self, page: &BlobRef) -> Result<InputPage, Problem> {
        decode(&self.read(page.hash).await?).map_err(|error| {
            Problem::new(
                ErrorCode::ValidationFailed,
                format!("a page of the manifest is malformed: {error}"),
            )
        })
    }

    /// The names of some tasks' inputs.
    ///
    /// # Errors
    ///
    /// If the job's manifest is nowhere to be had.
    pub async fn names(
        &self,
        spec: &JobSpec,
        tasks: Vec<TaskIndex>,
    ) -> Result<BTreeMap<TaskIndex, String>, Problem> {
        let manifest = self.manifest(spec.manifest).await?;
        let mut names = BTreeMap::new();
        let mut known: Option<(BlobRef, InputPage)> = None;
        for task in tasks {
            let Some((page, place)) = manifest.locate(task.0).filter(|_| task.0 < spec.tasks)
            else {
                names.insert(task, "reduce".to_owned());
                continue;
            };
            if known.as_ref().is_none_or(|(have, _)| *have != page) {
                known = Some((page, self.page(&page).await?));
            }
            let input = known.as_ref().and_then(|(_, page)| page.inputs.get(place));
            names.insert(task, input.map(|input| input.name.clone()).unwrap_or_default());
        }
        Ok(names)
    }

    /// Makes sure that some content is here: fetched from the leader or other members if need be.
    ///
    /// # Errors
    ///
    /// `not-found` if it is nowhere to be had.
    pub async fn obtain(&self, hash: Hash) -> Result<(), Problem> {
        let providers = self.providers().await;
        blobs::obtain(&self.context.blobs, &self.context.net, &providers, [hash])
            .await
            .map_err(|error| missing(&error))
    }

    async fn read(&self, hash: Hash) -> Result<std::sync::Arc<[u8]>, Problem> {
        let providers = self.providers().await;
        blobs::read(&self.context.blobs, &self.context.net, &providers, hash)
            .await
            .map_err(|error| missing(&error))
    }

    /// Whom to ask for content: the leader, then members that are connected.
    async fn providers(&self) -> Vec<NodeId> {
        let leader = *self.leader.watch().borrow();
        let peers = self.context.net.peers().await;
        let members = peers.into_iter().filter(|peer| peer.member).map(|peer| peer.node);
        let others = members.filter(|node| Some(*node) != leader).take(8);
        leader.into_iter().chain(others).collect()
    }
}

/// A budget that does not even cover one task's limits is refused before anything is signed.
fn check_budget(
    request: &SubmitRequest,
    mesh: &MeshView,
    budget: Credits,
    available: Credits,
) -> Result<(), Problem> {
    let limits = protocol::wire::job::TaskLimits::from(request.limits);
    let one = mesh.price.task_max(limits.fuel).unwrap_or(Credits::ENTRY_MAX);
    if budget >= one {
        return Ok(());
    }
    let (reason, there) =
        (protocol::reject::RejectReason::InsufficientCredits, available.min(budget));
    let detail = if request.max_credits_ucr.is_some_and(|most| most < one) {
        format!("one task may cost up to {one} at its fuel limit, more than --max-credits allows")
    } else {
        format!(
            "one task may cost up to {one} at its fuel limit, and half of the {available} that are there can be held"
        )
    };
    Err(Problem::rejected(reason, &detail, Some((one.micros(), there.micros()))))
}

fn unexpected() -> Problem {
    Problem::new(ErrorCode::Internal, "the coordinator answered another question")
}

fn missing(error: &ObtainError) -> Problem {
    match error {
        ObtainError::Missing { .. } => Problem::new(ErrorCode::NotFound, error.to_string()),
        ObtainError::Store(error) => storage(error),
    }
}

/// What the store's trouble means to whoever asked.
#[must_use]
pub fn storage(error: &BlobError) -> Problem {
    let code = match error {
        BlobError::Full { .. } => ErrorCode::StorageFull,
        BlobError::Database { .. } | BlobError::File { .. } | BlobError::WrongHash { .. } => {
            ErrorCode::Internal
        }
    };
    Problem::new(code, crate::app::chain(error))
}
