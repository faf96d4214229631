//! `weft run`: one program, once, on the mesh.

use portal_api::{
    ErrorCode,
    views::{Job, TaskResult},
};

use super::{
    follow::{Watched, follow, succeeded},
    inputs::Inputs,
    module::Module,
    out_dir::OutDir,
    report::{Report, elapsed, tell_cost, tell_failures},
    results,
    submit::Submission,
};
use crate::cli::{
    args::RunArgs, client::Client, commands::show, context::Context, error::CliError, exit::Exit,
    interrupt::unless_interrupted,
};

/// Runs it.
///
/// # Errors
///
/// Everything that is wrong before the job ends; a job that failed is not an error but [`Exit::JOB_FAILED`].
pub async fn run(context: &Context, args: RunArgs) -> Result<Exit, CliError> {
    let module = Module::load(args.module.as_deref(), args.example.as_deref())?;
    let out = args.out.as_deref().map(OutDir::prepare).transpose()?;
    let inputs = Inputs::of_run(args.stdin.as_deref(), &args.inputs)?;
    let submission = Submission::new(module, inputs, args.args, (&args.task, &args.job))?;
    let mut client = context.client()?;
    let Some(job) = accept(context, &mut client, submission).await? else {
        return Ok(Exit::SUCCESS);
    };
    if args.job.detach {
        return show::submitted(context, job);
    }
    let job = match follow(context, &mut client, job.clone()).await? {
        Watched::Ended(job) => *job,
        Watched::Detached => return detached(context, &job),
    };
    let finished = finish(context, &mut client, job.clone(), (out.as_ref(), args.exit_code));
    match unless_interrupted(finished).await {
        Some(exit) => exit,
        None => detached(context, &job),
    }
}

/// Uploads and submits, unless only a plan is wanted. Until the mesh has accepted the job, Ctrl-C ends it all.
///
/// # Errors
///
/// `interrupted`, `timeout`, and everything else that can go wrong until then.
pub async fn accept(
    context: &Context,
    client: &mut Client,
    mut submission: Submission,
) -> Result<Option<Job>, CliError> {
    let work = async {
        submission.upload(context, client).await?;
        if context.dry_run() {
            let plan = submission.plan(client).await?;
            show::plan(context, plan)?;
            return Ok(None);
        }
        let job = submission.submit(client).await?;
        context.screen.news(&format!(
            "  Submitted {}  {}      (Ctrl-C detaches; the job keeps running)",
            job.id, job.name
        ));
        Ok(Some(job))
    };
    let timed = async {
        match context.timeout() {
            None => work.await,
            Some(timeout) => tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
                Err(CliError::new(ErrorCode::Timeout, "the job was not accepted in time"))
            }),
        }
    };
    let interrupted =
        || Err(CliError::new(ErrorCode::Interrupted, "interrupted before the job was accepted"));
    unless_interrupted(timed).await.unwrap_or_else(interrupted)
}

/// Says how to come back to a job that goes on.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn detached(context: &Context, job: &Job) -> Result<Exit, CliError> {
    if job.state.is_terminal() {
        context.screen.news("  Detached. The job has ended.");
    } else {
        context.screen.news(&format!("  Detached. The job goes on:  weft job wait {}", job.id));
    }
    context
        .screen
        .news(&format!("  its results, when it is done:  weft job results {} --out DIR", job.id));
    if context.screen.is_for_people() {
        Ok(Exit::SUCCESS)
    } else {
        show::submitted(context, job.clone())
    }
}

async fn finish(
    context: &Context,
    client: &mut Client,
    job: Job,
    (out, pass_exit_code): (Option<&OutDir>, bool),
) -> Result<Exit, CliError> {
    let results = results::page(client, job.id, None).await?;
    let task = results.items.into_iter().next();
    let output = task.as_ref().and_then(|item| item.task.output.as_ref());
    let mut report = Report::of(job);
    report.exit_code = task.as_ref().and_then(|item| item.task.exit_code);
    if let Some(output) = output {
        let stdout = results::bytes(client, output.stdout).await?;
        let stderr = results::bytes(client, output.stderr).await?;
        if context.screen.is_for_people() {
            context.screen.bytes(&stdout)?;
        } else {
            report.set_stdout(stdout);
        }
        crate::cli::screen::write_stderr_bytes(&stderr);
        if let Some(out) = out {
            results::write_files(client, output, out).await?;
            report.out = Some(out.path().display().to_string());
        }
    }
    tell(context, client, &report, task.as_ref()).await;
    let exit = exit_of(&report, pass_exit_code);
    if !context.screen.is_for_people() {
        context.screen.document(report, |report| report.job.id.to_string(), |_| String::new())?;
    }
    Ok(exit)
}

async fn tell(context: &Context, client: &mut Client, report: &Report, task: Option<&TaskResult>) {
    let job = &report.job;
    if succeeded(job.state) {
        let files = match &report.out {
            Some(out) => format!(" · files in {out}"),
            None => String::new(),
        };
        context.screen.success(&format!("Done in {}{files}", elapsed(job)));
    } else {
        let reason = job.reason.as_deref().unwrap_or("no reason is known");
        context.screen.warn(&format!("{} after {}: {reason}", job.state.name(), elapsed(job)));
        if let Some(item) = task {
            let mut failure = results::failure(client, item).await;
            // Its standard error has just been printed as it is.
            failure.stderr.clear();
            tell_failures(context, &[failure]);
        }
        context.screen.news(&format!("    why: weft job explain {}", job.id));
    }
    tell_cost(context, job);
    if let [receipt] = report.job.receipts.as_slice() {
        context
            .screen
            .news(&format!("    prove it: weft receipt export {receipt} --out receipt.json"));
    }
}

fn exit_of(report: &Report, pass_exit_code: bool) -> Exit {
    match report.exit_code {
        Some(code) if pass_exit_code => Exit::of_program(code),
        _ if succeeded(report.job.state) => Exit::SUCCESS,
        _ => Exit::JOB_FAILED,
    }
}
