//! From a module and inputs to a job that the mesh has accepted.

use std::collections::BTreeMap;

use bytes::Bytes;
use portal_api::{
    ErrorCode,
    views::{Job, Limits, Plan, Reduce, ScopeName, SubmitRequest},
};
use protocol::{
    codec::try_encode,
    ids::{Hash, JobId},
    wire::manifest::{BlobRef, paginate},
};

use super::{content::Content, inputs::Inputs, module::Module, progress::Transfer};
use crate::cli::{
    args::{JobFlags, ScopeArg, TaskFlags},
    client::{Client, Upload},
    context::Context,
    error::CliError,
};

/// How often the mesh is asked again while it is busy or has no leader. The node itself waits up to 3 s each time.
const BUSY_ATTEMPTS_MAX: u32 = 10;

/// A job before it is submitted.
#[derive(Debug)]
pub struct Submission {
    /// The program.
    pub module: Module,
    /// The program that reduces, if it is another one.
    pub reducer: Option<Module>,
    /// What the tasks read.
    pub inputs: Inputs,
    /// What is asked for.
    pub request: SubmitRequest,
}

impl Submission {
    /// Puts everything together.
    ///
    /// # Errors
    ///
    /// `usage` or `validation-failed` if something that was asked for is out of bounds.
    pub fn new(
        module: Module,
        inputs: Inputs,
        args: Vec<String>,
        flags: (&TaskFlags, &JobFlags),
    ) -> Result<Self, CliError> {
        let (task, job) = flags;
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|_| CliError::internal("the operating system gave no random bytes"))?;
        let tasks = u32::try_from(inputs.tasks.len()).unwrap_or(u32::MAX);
        let request = SubmitRequest {
            job_id: Some(JobId(id)),
            name: job.name.clone().unwrap_or_else(|| module.name.clone()),
            module: module.hash,
            args,
            env: task.env.clone(),
            manifest: Hash([0; 32]),
            tasks,
            reduce: None,
            limits: Limits {
                fuel: task.fuel,
                memory_pages: task.memory,
                timeout_ms: task.timeout_ms(),
                output_bytes: task.output_limit,
            },
            allow_partial: false,
            scope: match job.scope {
                ScopeArg::Mine => ScopeName::Mine,
                ScopeArg::Mesh => ScopeName::Mesh,
            },
            max_credits_ucr: job.max_credits,
            ttl_seconds: job.deadline.map(|deadline| deadline.as_secs().max(1)),
            tags: job.tags.clone(),
            isolation: job.isolation,
            dry_run: false,
        };
        // The node checks the same; here it costs nothing to know at once.
        request.spec(sandbox::PROFILE)?;
        Ok(Self { module, reducer: None, inputs, request })
    }

    /// Reduces with a program. `None`: with the mapped one itself.
    pub fn reduce_with(&mut self, reducer: Option<Module>) {
        let hash = reducer.as_ref().unwrap_or(&self.module).hash;
        self.reducer = reducer;
        self.request.reduce = Some(Reduce::Module(hash));
    }

    /// Everything that the node must have before the job: hash and content, each once.
    fn uploads(&mut self) -> Result<Vec<(Hash, Content)>, CliError> {
        let too_large = |_| {
            CliError::new(
                ErrorCode::PayloadTooLarge,
                "the description of one input is larger than 1 MiB",
            )
            .help("give one task fewer or smaller files")
        };
        let (manifest, pages) = paginate(&self.inputs.tasks).map_err(too_large)?;
        let manifest = try_encode(&manifest).map_err(too_large)?;
        self.request.manifest = Hash::of(&manifest);
        let mut uploads: BTreeMap<Hash, Content> = BTreeMap::new();
        for module in std::iter::once(&self.module).chain(&self.reducer) {
            uploads.insert(module.hash, Content::Bytes(module.bytes.clone()));
        }
        uploads.extend(std::mem::take(&mut self.inputs.contents));
        for page in pages {
            uploads.insert(BlobRef::to(&page).hash, Content::Bytes(page.into()));
        }
        uploads.insert(self.request.manifest, Content::Bytes(manifest.into()));
        Ok(uploads.into_iter().collect())
    }

    /// Uploads what the node does not have.
    ///
    /// Cancel safe: what was uploaded stays, and is not uploaded again.
    ///
    /// # Errors
    ///
    /// If the node cannot be reached or has no room, or a file cannot be read or changed meanwhile.
    pub async fn upload(&mut self, context: &Context, client: &mut Client) -> Result<(), CliError> {
        let uploads = self.uploads()?;
        let mut transfer = Transfer::begin(context.screen, "Uploading", uploads.len());
        for (hash, content) in &uploads {
            if client.has_blob(*hash).await? {
                transfer.skip();
                continue;
            }
            let stored = match content {
                Content::Bytes(bytes) => {
                    client.put_blob(Upload::Bytes(Bytes::clone(bytes))).await?
                }
                Content::File(path) => client.put_blob(Upload::File(path)).await?,
            };
            if stored != *hash {
                let what = match content {
                    Content::File(path) => format!("{} changed while it was read", path.display()),
                    Content::Bytes(_) => "the node stored something else than was sent".to_owned(),
                };
                return Err(CliError::new(ErrorCode::FileUnreadable, what).help("try again"));
            }
            transfer.step();
        }
        transfer.end();
        Ok(())
    }

    /// Asks what would happen to the job.
    ///
    /// # Errors
    ///
    /// Whatever the mesh says.
    pub async fn plan(&mut self, client: &mut Client) -> Result<Plan, CliError> {
        self.request.dry_run = true;
        client.post("/api/v1/jobs", Some(&self.request)).await
    }

    /// Submits the job. Its id makes asking again harmless, so a mesh that is busy is asked again.
    ///
    /// # Errors
    ///
    /// Whatever the mesh says.
    pub async fn submit(&self, client: &mut Client) -> Result<Job, CliError> {
        let mut attempt = 1;
        loop {
            match client.post("/api/v1/jobs", Some(&self.request)).await {
                Err(error) if is_transient(&error) && attempt < BUSY_ATTEMPTS_MAX => {
                    attempt = attempt.saturating_add(1);
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
                answer => return answer,
            }
        }
    }
}

/// Whether asking again may help.
#[must_use]
pub fn is_transient(error: &CliError) -> bool {
    matches!(
        error.code(),
        ErrorCode::NoLeader | ErrorCode::NotReady | ErrorCode::QueueFull | ErrorCode::RateLimited
    )
}
