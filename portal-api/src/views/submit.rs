//! Submitting a job.

use std::time::Duration;

use protocol::{
    ids::{Hash, JobId},
    limits,
    price::Price,
    units::{Credits, Fuel, Pages},
    wire::{
        advert::Isolation,
        is_name, is_tag,
        job::{EndPolicy, JobSpec, Scope, TaskLimits},
    },
};
use serde::{Deserialize, Serialize};

use super::{Kind, Obstacle, Reduce};
use crate::{
    names,
    problem::{ErrorCode, FieldError, Problem},
    text,
};

/// What is sent to submit a job. The module, the manifest and its blobs were uploaded before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// The id of the job: random, so that sending the request again does not run it twice. If it is left out,
    /// the `Idempotency-Key` makes it, and without one the node draws it.
    #[serde(with = "text::option", default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// What people call it.
    pub name: String,
    /// The module.
    #[serde(with = "text")]
    pub module: Hash,
    /// The arguments after the program's name. `{}` becomes the path of the task's input.
    #[serde(default)]
    pub args: Vec<String>,
    /// The environment: pairs of name and value.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// The manifest of the inputs: the hash of an encoded
    /// [`InputManifest`](protocol::wire::manifest::InputManifest).
    #[serde(with = "text")]
    pub manifest: Hash,
    /// How many tasks there are, without the reducing one.
    pub tasks: u32,
    /// How their outputs become one.
    #[serde(default)]
    pub reduce: Option<Reduce>,
    /// What one task may use.
    #[serde(default)]
    pub limits: Limits,
    /// Whether the job may end as partially completed. Else one failed task fails it.
    #[serde(default)]
    pub allow_partial: bool,
    /// Whose machines may run it: `mine` or `mesh`.
    #[serde(default)]
    pub scope: ScopeName,
    /// The most that it may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_credits_ucr: Option<Credits>,
    /// How long it may wait and run; a day unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// Labels that a worker must have, all of them.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The least isolation that it may run under; `B` unless said otherwise.
    #[serde(with = "names::option", default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What one task may use; the defaults of the mesh where left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Fuel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<Fuel>,
    /// Linear memory, in pages of 64 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_pages: Option<Pages>,
    /// Wall-clock time, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u32>,
    /// All output together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
}

/// Whose machines may run a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScopeName {
    /// Only those of the submitter's account.
    Mine,
    /// All members of the mesh.
    #[default]
    Mesh,
}

impl From<Limits> for TaskLimits {
    fn from(limits: Limits) -> Self {
        let default = Self::default();
        Self {
            fuel: limits.fuel.unwrap_or(default.fuel),
            memory: limits.memory_pages.unwrap_or(default.memory),
            timeout_ms: limits.timeout_ms.unwrap_or(default.timeout_ms),
            output_bytes: limits.output_bytes.unwrap_or(default.output_bytes),
        }
    }
}

impl From<ScopeName> for Scope {
    fn from(scope: ScopeName) -> Self {
        match scope {
            ScopeName::Mine => Self::Mine,
            ScopeName::Mesh => Self::Mesh,
        }
    }
}

impl SubmitRequest {
    /// The specification that is asked for, to run under an engine profile.
    ///
    /// # Errors
    ///
    /// `validation-failed` with one entry for each field that is out of bounds.
    pub fn spec(&self, profile: u16) -> Result<JobSpec, Problem> {
        let mut errors = Vec::new();
        self.check_texts(&mut errors);
        self.check_numbers(&mut errors);
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        let spec = JobSpec {
            name: self.name.clone(),
            module: self.module,
            profile,
            args: self.args.clone(),
            env: self.env.clone(),
            manifest: self.manifest,
            tasks: self.tasks,
            reduce: self.reduce.map(Into::into),
            limits: self.limits.into(),
            end: if self.allow_partial { EndPolicy::AllowPartial } else { EndPolicy::AllOrNothing },
            scope: self.scope.into(),
            isolation: self.isolation.unwrap_or(Isolation::B),
            tags: self.tags.clone(),
        };
        if let Err(error) = protocol::codec::try_encode(&spec) {
            let detail =
                format!("arguments, environment and labels together are too long: {error}");
            return Err(Problem::invalid(vec![FieldError::new("/args", "too-large", detail)]));
        }
        Ok(spec)
    }

    /// The most that the job may cost: all tasks at their limit, or what the request allows, or half of what is
    /// `available`, whichever is least.
    ///
    /// # Errors
    ///
    /// `amount-overflow` if no such amount can be held.
    pub fn budget(&self, price: &Price, available: Credits) -> Result<Credits, Problem> {
        let limits = TaskLimits::from(self.limits);
        let tasks = match self.reduce {
            Some(Reduce::Module(_)) => u64::from(self.tasks).saturating_add(1),
            Some(Reduce::Concat | Reduce::JsonSum | Reduce::Last) | None => u64::from(self.tasks),
        };
        let most = price.task_max(limits.fuel).map(|task| task.saturating_mul(tasks)).ok_or_else(
            || {
                Problem::new(
                    ErrorCode::AmountOverflow,
                    "one task at its fuel limit costs more than can be held",
                )
            },
        )?;
        let half = Credits::from_micros(available.micros().div_ceil(2));
        Ok(most.min(self.max_credits_ucr.unwrap_or(most)).min(half).min(Credits::ENTRY_MAX))
    }

    /// How long the job may wait and run.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl_seconds.map_or(limits::JOB_TTL_DEFAULT, Duration::from_secs)
    }

    fn check_texts(&self, errors: &mut Vec<FieldError>) {
        if !is_name(&self.name) {
            let detail =
                "1 to 63 letters, digits, `-`, `_` and `.`, beginning with a letter or digit";
            errors.push(FieldError::new("/name", "bad-name", detail));
        }
        for (at, arg) in self.args.iter().enumerate() {
            if arg.contains('\0') {
                errors.push(FieldError::new(
                    format!("/args/{at}"),
                    "bad-text",
                    "contains a NUL character",
                ));
            }
        }
        for (at, (key, value)) in self.env.iter().enumerate() {
            if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
                let detail = "a name without `=`, and no NUL characters";
                errors.push(FieldError::new(format!("/env/{at}"), "bad-text", detail));
            }
        }
        if self.tags.len() > limits::TAGS_MAX {
            let detail = format!("at most {} labels", limits::TAGS_MAX);
            errors.push(FieldError::new("/tags", "too-large", detail));
        }
        for (at, tag) in self.tags.iter().enumerate() {
            if !is_tag(tag) {
                let detail = "1 to 64 letters, digits, `-`, `_`, `.` and `:`, beginning with a letter or digit";
                errors.push(FieldError::new(format!("/tags/{at}"), "bad-name", detail));
            }
        }
    }

    fn check_numbers(&self, errors: &mut Vec<FieldError>) {
        let limits = TaskLimits::from(self.limits);
        let timeout_max = u64::try_from(limits::TASK_TIMEOUT_MAX.as_millis()).unwrap_or(u64::MAX);
        let checks = [
            ("/tasks", u64::from(self.tasks), 1, u64::from(limits::JOB_TASKS_MAX)),
            ("/limits/fuel", limits.fuel.0, 1, limits::TASK_FUEL_MAX.0),
            (
                "/limits/memory_pages",
                u64::from(limits.memory.0),
                1,
                u64::from(limits::TASK_MEMORY_MAX.0),
            ),
            ("/limits/timeout_ms", u64::from(limits.timeout_ms), 1, timeout_max),
            ("/limits/output_bytes", limits.output_bytes, 0, limits::TASK_OUTPUT_BYTES_MAX),
            ("/ttl_seconds", self.ttl().as_secs(), 1, limits::JOB_TTL_MAX.as_secs()),
        ];
        for (pointer, found, min, max) in checks {
            if !(min..=max).contains(&found) {
                let code = if found < min { "too-small" } else { "too-large" };
                errors.push(FieldError::new(
                    pointer,
                    code,
                    format!("{found} is not within {min} to {max}"),
                ));
            }
        }
    }
}

/// What would happen to a job: the answer to a request with `dry_run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Tasks, with the reducing one.
    pub tasks: u32,
    /// What would be held: the most that it may cost.
    pub budget_ucr: Credits,
    /// What can be spent now.
    pub available_ucr: Credits,
    /// Nodes that could take a task now.
    pub nodes_able: u32,
    /// Nodes there are.
    pub nodes_total: u32,
    /// Why the others cannot.
    pub obstacles: Vec<Obstacle>,
}

impl Kind for Plan {
    const KIND: &'static str = "JobPlan";
}
