//! Jobs as people see them.

use portal_api::{
    rfc3339,
    views::{Job, List, Plan, Task},
};

use crate::cli::{
    context::Context,
    error::CliError,
    exit::Exit,
    human,
    table::{Table, printable},
    work::follow::obstacles,
};

/// Prints a job that goes on without us: its id, so that scripts can take it.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn submitted(context: &Context, job: Job) -> Result<Exit, CliError> {
    context.screen.document(job, |job| job.id.to_string(), |job| format!("{}\n", job.id))?;
    Ok(Exit::SUCCESS)
}

/// Prints what would happen to a job.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn plan(context: &Context, plan: Plan) -> Result<(), CliError> {
    context.screen.document(
        plan,
        |plan| plan.tasks.to_string(),
        |plan| {
            let mut text = format!(
                "{} · holds up to {} of {} · {} of {} nodes can take a task now\nNothing was submitted.\n",
                human::plural(u64::from(plan.tasks), "task", "tasks"),
                plan.budget_ucr,
                plan.available_ucr,
                plan.nodes_able,
                plan.nodes_total
            );
            for line in obstacles(&plan.obstacles) {
                text.push_str(&printable(&line));
                text.push('\n');
            }
            text
        },
    )
}

/// A table of jobs.
#[must_use]
pub fn jobs(context: &Context, list: &List<Job>) -> Table {
    let wide = context.screen.is_wide();
    let mut table = Table::new(&["JOB", "NAME", "STATE", "TASKS", "FAILED", "COST", "SUBMITTED"]);
    for job in &list.items {
        let id = job.id.to_string();
        table.row([
            if wide { id } else { id.chars().take(12).collect() },
            job.name.clone(),
            job.state.name().to_owned(),
            format!("{}/{}", job.tasks.done, job.tasks.total),
            job.tasks.failed.to_string(),
            job.cost_ucr.to_string(),
            if wide { rfc3339::format(job.submitted_at) } else { ago(job.submitted_at) },
        ]);
    }
    table
}

/// One job, field by field.
#[must_use]
pub fn job(job: &Job) -> String {
    let tasks = job.tasks;
    let mut lines = vec![
        ("job", job.id.to_string()),
        ("name", job.name.clone()),
        ("state", job.state.name().to_owned()),
        (
            "tasks",
            format!(
                "{} of {} done, {} failed, {} running, {} retried",
                tasks.done, tasks.total, tasks.failed, tasks.running, tasks.retried
            ),
        ),
        ("cost", format!("{} of at most {}", job.cost_ucr, job.budget_ucr)),
        ("fuel", human::fuel(job.fuel)),
        ("module", job.module.to_string()),
        ("submitted", format!("{} ({})", rfc3339::format(job.submitted_at), ago(job.submitted_at))),
    ];
    if let Some(reason) = &job.reason {
        lines.push(("reason", reason.clone()));
    }
    if let Some(ended) = job.ended_at {
        lines.push(("ended", format!("{} ({})", rfc3339::format(ended), ago(ended))));
    }
    match job.receipts.as_slice() {
        [] => {}
        [one] => lines.push(("receipt", one.to_string())),
        many => {
            lines.push(("receipts", format!("{} (weft receipt list --job {})", many.len(), job.id)))
        }
    }
    fields(lines)
}

/// Names and values, one a line.
#[must_use]
pub fn fields(lines: impl IntoIterator<Item = (&'static str, String)>) -> String {
    lines.into_iter().map(|(name, value)| format!("{name:<12} {}\n", printable(&value))).collect()
}

/// A table of tasks.
#[must_use]
pub fn tasks(context: &Context, tasks: &[Task]) -> Table {
    let mut table = Table::new(&["TASK", "STATE", "ATTEMPTS", "WORKER", "OUTCOME", "FUEL", "COST"]);
    for task in tasks {
        let worker = task.worker.map(|worker| {
            if context.screen.is_wide() {
                worker.to_string()
            } else {
                format!("…{}", worker.short())
            }
        });
        table.row([
            task.task.to_string(),
            task.state.name().to_owned(),
            task.attempts.to_string(),
            worker.unwrap_or_default(),
            task.outcome.clone().or_else(|| task.reason.clone()).unwrap_or_default(),
            human::fuel(task.fuel),
            task.cost_ucr.to_string(),
        ]);
    }
    table
}

/// How long ago something was: `4m 12s ago`.
#[must_use]
pub fn ago(at: protocol::time::UnixMillis) -> String {
    format!("{} ago", human::duration(crate::cli::clock::now().saturating_since(at)))
}
