//! `weft map`: one program, once for each input, and the results together.

use std::path::PathBuf;

use portal_api::{ErrorCode, views::Reduce};

use super::{
    follow::{Watched, follow, succeeded},
    inputs::{self, Found, expand},
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
    let found = find(context, &args)?;
    let out = OutDir::prepare(&args.out)?;
    let mut client = context.client()?;
    // Reading the inputs may take long: it should not be in vain.
    client.text("/livez").await?;
    let inputs = read(context, found)?;
    let mut submission = Submission::new(module, inputs, args.args, (&args.task, &args.job))?;
    submission.request.allow_partial = args.allow_partial;
    match args.reduce {
        None => {}
        Some(ReduceWith::Concat) => submission.request.reduce = Some(Reduce::Concat),
        Some(ReduceWith::JsonSum) => submission.request.reduce = Some(Reduce::JsonSum),
        Some(ReduceWith::Last) => submission.request.reduce = Some(Reduce::Last),
        Some(ReduceWith::Itself | ReduceWith::Module(_)) => submission.reduce_with(reducer),
    }
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

/// Where the inputs are.
#[derive(Debug)]
enum Inputs {
    /// In these files.
    Files(Vec<Found>),
    /// In the lines of this one.
    Lines(PathBuf),
}

/// Finds and names the inputs, and tells people what was left out.
fn find(context: &Context, args: &MapArgs) -> Result<Inputs, CliError> {
    if args.by_line {
        return match args.inputs.as_slice() {
            [file] => Ok(Inputs::Lines(file.into())),
            _ => Err(CliError::new(ErrorCode::Usage, "--by-line reads one file")
                .help("for many files leave --by-line out: each is one input then")),
        };
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let matches = expand(&args.inputs, home.as_deref(), args.reduce.is_some())?;
    for skipped in &matches.skipped {
        context.screen.warn(&format!("{skipped}; left out"));
    }
    Ok(Inputs::Files(matches.files))
}

/// Reads and hashes the inputs, and tells people how much there is to do.
fn read(context: &Context, found: Inputs) -> Result<inputs::Inputs, CliError> {
    let screen = context.screen;
    let (inputs, unit) = match found {
        Inputs::Lines(file) => (inputs::Inputs::of_lines(&file)?, ("line", "lines")),
        Inputs::Files(files) => {
            let bytes = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.len));
            let hashing = Hashing::begin(screen, bytes);
            let inputs = inputs::Inputs::of_files(&files, &mut |read| hashing.step(read));
            hashing.end();
            (inputs?, ("file", "files"))
        }
    };
    let count = u64::try_from(inputs.tasks.len()).unwrap_or(u64::MAX);
    screen.news(&format!(
        "  Plan      {}, {} → {}",
        human::plural(count, unit.0, unit.1),
        human::bytes(inputs.bytes),
        human::plural(count, "task", "tasks"),
    ));
    Ok(inputs)
}
