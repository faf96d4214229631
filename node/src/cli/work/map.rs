//! `weft map`: one program, once for each input, and the results together.

use std::path::{Path, PathBuf};

use portal_api::{ErrorCode, views::Reduce};

use super::{
    follow::{Watched, follow, succeeded},
    inputs::{Inputs, expand},
    module::Module,
    out_dir::OutDir,
    progress::Hashing,
    report::{Report, tell_map},
    results,
    run::{accept, detached},
    submit::Submission,
};
use crate::cli::{
    args::{MapArgs, ReduceWith},
    commands::show,
    context::Context,
    error::CliError,
    exit::Exit,
    human,
    interrupt::unless_interrupted,
};

/// Maps.
///
/// # Errors
///
/// Everything that is wrong before the job ends; a job that failed is not an error but [`Exit::JOB_FAILED`].
pub async fn map(context: &Context, args: MapArgs) -> Result<Exit, CliError> {
    let module = Module::load(Some(&args.module), None)?;
    let reducer = match &args.reduce {
        Some(ReduceWith::Module(path)) => Some(Module::read(path)?),
        Some(ReduceWith::Itself | ReduceWith::Concat | ReduceWith::JsonSum | ReduceWith::Last)
        | None => None,
    };
    let inputs = read_inputs(context, &args)?;
    let out = OutDir::prepare(&args.out)?;
    let mut submission = Submission::new(module, inputs, args.args, (&args.task, &args.job))?;
    submission.request.allow_partial = args.allow_partial;
    match args.reduce {
        None => {}
        Some(ReduceWith::Concat) => submission.request.reduce = Some(Reduce::Concat),
        Some(ReduceWith::JsonSum) => submission.request.reduce = Some(Reduce::JsonSum),
        Some(ReduceWith::Last) => submission.request.reduce = Some(Reduce::Last),
        Some(ReduceWith::Itself | ReduceWith::Module(_)) => submission.reduce_with(reducer),
    }
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
    let collecting = results::collect(context, &mut client, &job, &out);
    let Some(collected) = unless_interrupted(collecting).await else {
        return detached(context, &job);
    };
    let collected = collected?;
    let shown = out.path().display().to_string();
    tell_map(context, &job, &collected, &shown);
    let exit = if succeeded(job.state) { Exit::SUCCESS } else { Exit::JOB_FAILED };
    if !context.screen.is_for_people() {
        let report = Report { out: Some(shown), result: collected.reduced, ..Report::of(job) };
        context.screen.document(report, |report| report.job.id.to_string(), |_| String::new())?;
    }
    Ok(exit)
}

/// Finds, names and hashes the inputs, and tells people how many there are.
fn read_inputs(context: &Context, args: &MapArgs) -> Result<Inputs, CliError> {
    let screen = context.screen;
    let inputs = if args.by_line {
        let [file] = args.inputs.as_slice() else {
            return Err(CliError::new(ErrorCode::Usage, "--by-line reads one file")
                .help("for many files leave --by-line out: each is one input then"));
        };
        Inputs::of_lines(Path::new(file))?
    } else {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let matches = expand(&args.inputs, home.as_deref(), args.reduce.is_some())?;
        for skipped in &matches.skipped {
            screen.warn(&format!("{skipped}; left out"));
        }
        let bytes = matches.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.len));
        let hashing = Hashing::begin(screen, bytes);
        let inputs = Inputs::of_files(&matches.files, &mut |read| hashing.step(read));
        hashing.end();
        inputs?
    };
    let count = u64::try_from(inputs.tasks.len()).unwrap_or(u64::MAX);
    let what = if args.by_line { ("line", "lines") } else { ("file", "files") };
    let tasks = if args.reduce.is_some() { " and a reduction" } else { "" };
    screen.news(&format!(
        "  Plan      {}, {} → {}{tasks}",
        human::plural(count, what.0, what.1),
        human::bytes(inputs.bytes),
        human::plural(count, "task", "tasks"),
    ));
    Ok(inputs)
}
