//! What a submitter asks for, and what it signs for (`docs/protocol.md`, "Jobs").

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    codec::encode,
    ids::{AccountId, Hash, JobId, TaskIndex},
    limits,
    price::Price,
    time::UnixMillis,
    units::{Credits, Fuel, Pages},
    wire::{advert::Isolation, canonical, is_name},
};

/// What one task may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLimits {
    /// Fuel.
    pub fuel: Fuel,
    /// Linear memory.
    pub memory: Pages,
    /// Wall-clock time from start to end, in milliseconds.
    pub timeout_ms: u32,
    /// stdout, stderr and all files together, in bytes. More is an outcome, not a cut.
    pub output_bytes: u64,
}

impl TaskLimits {
    /// The time limit.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms as u64)
    }
}

impl Default for TaskLimits {
    fn default() -> Self {
        Self {
            fuel: limits::TASK_FUEL_DEFAULT,
            memory: limits::TASK_MEMORY_DEFAULT,
            timeout_ms: u32::try_from(limits::TASK_TIMEOUT_DEFAULT.as_millis()).unwrap_or(u32::MAX),
            output_bytes: limits::TASK_OUTPUT_BYTES_DEFAULT,
        }
    }
}

/// How the outputs of all tasks become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reduce {
    /// One after the other, in the order of the tasks. Done by whoever fetches them.
    Concat,
    /// JSON objects of numbers, added key by key. Done by whoever fetches them.
    JsonSum,
    /// The last that is not empty. Done by whoever fetches them.
    Last,
    /// One more task: this module with the single argument `reduce` and all outputs in `/in`.
    Module(Hash),
}

/// When a job counts as done although a task failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndPolicy {
    /// Never: one failed task fails the job; what was not captured is refunded.
    AllOrNothing,
    /// The job ends as partially completed.
    AllowPartial,
}

/// Whose machines may run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Only those of the submitter's account.
    Mine,
    /// All members of the mesh.
    Mesh,
}

/// A job, as its submitter describes it. Its hash is in the authorization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// What people call it.
    pub name: String,
    /// The module.
    pub module: Hash,
    /// The profile of the engine that results are made and compared under.
    pub profile: u16,
    /// The arguments after the program's name. `{}` becomes the path of the task's input.
    pub args: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// The [manifest](crate::wire::manifest::InputManifest) of the inputs.
    pub manifest: Hash,
    /// How many tasks there are, without the reducing one.
    pub tasks: u32,
    /// How their outputs become one.
    pub reduce: Option<Reduce>,
    /// What one task may use.
    pub limits: TaskLimits,
    /// What happens when a task fails.
    pub end: EndPolicy,
    /// Whose machines may run it.
    pub scope: Scope,
    /// The least isolation that it may run under.
    pub isolation: Isolation,
    /// Labels that a worker must have, all of them.
    pub tags: Vec<String>,
}

impl JobSpec {
    /// The hash that the authorization names.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&encode(self))
    }

    /// How many tasks there are, with the reducing one.
    #[must_use]
    pub const fn tasks_with_reduce(&self) -> u32 {
        match self.reduce {
            Some(Reduce::Module(_)) => self.tasks.saturating_add(1),
            Some(Reduce::Concat | Reduce::JsonSum | Reduce::Last) | None => self.tasks,
        }
    }

    /// The reducing task, if there is one: it waits for all others.
    #[must_use]
    pub const fn reduce_task(&self) -> Option<(TaskIndex, Hash)> {
        match self.reduce {
            Some(Reduce::Module(module)) => Some((TaskIndex(self.tasks), module)),
            Some(Reduce::Concat | Reduce::JsonSum | Reduce::Last) | None => None,
        }
    }

    /// Whether all parts are within their bounds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let limits = &self.limits;
        is_name(&self.name)
            && (1..=limits::JOB_TASKS_MAX).contains(&self.tasks)
            && (1..=limits::TASK_FUEL_MAX.0).contains(&limits.fuel.0)
            && (1..=limits::TASK_MEMORY_MAX.0).contains(&limits.memory.0)
            && limits.timeout_ms > 0
            && limits.timeout() <= limits::TASK_TIMEOUT_MAX
            && limits.output_bytes <= limits::TASK_OUTPUT_BYTES_MAX
            && self.tags.len() <= limits::TAGS_MAX
            && self.tags.iter().all(|tag| super::is_tag(tag))
            && self.args.iter().all(|arg| !arg.contains('\0'))
            && self.env.iter().all(|(key, value)| {
                !key.is_empty() && !key.contains(['=', '\0']) && !value.contains('\0')
            })
    }
}

/// Allows a job and its budget. Signed by the account that pays. Nothing else can spend its credits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobAuthorization {
    /// The job: random, so that a deliberate re-run is possible and a replay is recognised.
    pub job: JobId,
    /// The account: the signer.
    pub account: AccountId,
    /// The [`JobSpec`]'s hash.
    pub spec: Hash,
    /// The most that the job may cost.
    pub budget: Credits,
    /// The price that the submitter agreed to. The job is refused where the mesh asks for more.
    pub price: Price,
    /// Not before this time.
    pub not_before: UnixMillis,
    /// Not after this long from then, in milliseconds; then what is left expires and is refunded.
    pub ttl_ms: u64,
}

/// Gives a job up. Signed by the account that pays for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCancel {
    /// The job.
    pub job: JobId,
    /// When.
    pub at: UnixMillis,
}

/// Moves credits. Signed by the account that they leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Chosen by the sender: the same id is never applied twice.
    pub id: [u8; 16],
    /// The signer.
    pub from: AccountId,
    /// Who gets them.
    pub to: AccountId,
    /// How many.
    pub amount: Credits,
    /// Not after this time.
    pub valid_until: UnixMillis,
}

canonical! {
    JobSpec: limits::JOB_SPEC_BYTES_MAX;
    JobAuthorization: 1024, signed as JobAuthorization;
    JobCancel: 256, signed as JobCancel;
    Transfer: 512, signed as Transfer;
}
