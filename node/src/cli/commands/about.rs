//! What this program says about itself.

use clap::CommandFactory as _;
use portal_api::{
    ErrorCode,
    views::{Kind, Version},
};
use protocol::outcome::{Interruption, Outcome, Trap};
use serde::Serialize;

use crate::{
    cli::{args::Cli, context::Context, error::CliError, exit, exit::Exit},
    home::nearest,
};

/// What a code means, for programs.
#[derive(Debug, Serialize)]
struct Explained {
    code: String,
    title: String,
    help: String,
    exit_code: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
}

impl Kind for Explained {
    const KIND: &'static str = "Explanation";
}

/// Why tasks fail: the outcome, what it means, and the way out.
const TASK_REASONS: [(Outcome, &str, &str); 10] = [
    (
        Outcome::Exit(1),
        "The program ended with a code other than 0",
        "`weft job logs JOB` shows what it said.",
    ),
    (
        Outcome::Trap(Trap::Unreachable),
        "The program did what WebAssembly forbids, or it panicked",
        "`weft job logs JOB` shows what it said. Try it on this machine with `weft exec`.",
    ),
    (
        Outcome::OutOfFuel,
        "The program used up its fuel",
        "Give it more with `--fuel`, or split its input.",
    ),
    (
        Outcome::OutputTooLarge,
        "The program put out more than it may",
        "Give it more with `--output-limit`.",
    ),
    (
        Outcome::DepthExceeded,
        "The program called itself too deeply",
        "Look for a recursion without end.",
    ),
    (Outcome::Refused, "The module was not admitted", "Build it for `wasm32-wasip1` as a command."),
    (
        Outcome::Indeterminate(Interruption::Timeout),
        "The program ran longer than it may",
        "Give it more with `--task-timeout`, or split its input.",
    ),
    (
        Outcome::Indeterminate(Interruption::RunnerCrashed),
        "The process that ran the program died",
        "It was tried again elsewhere. If it always ends so, please report the module.",
    ),
    (
        Outcome::Indeterminate(Interruption::InputMissing),
        "The module or an input could not be fetched",
        "Keep the node running that submitted the job: it serves the inputs.",
    ),
    (
        Outcome::Indeterminate(Interruption::CompileBudget),
        "Compiling the module took too long",
        "Make its functions smaller: a lower optimisation level, or less inlining.",
    ),
];

/// `weft explain`.
///
/// # Errors
///
/// `not-found` if there is no such code.
pub fn explain(context: &Context, code: &str) -> Result<Exit, CliError> {
    let explained = ErrorCode::by_code(code)
        .map(of_error)
        .or_else(|| of_task(code))
        .ok_or_else(|| unknown(code))?;
    context.screen.document(
        explained,
        |explained| explained.code.clone(),
        |explained| {
            let status = explained
                .http_status
                .map(|status| format!(", HTTP status {status}"))
                .unwrap_or_default();
            format!(
                "{}: {}\n\n  {}\n\n  exit code {}{status}\n",
                explained.code, explained.title, explained.help, explained.exit_code
            )
        },
    )?;
    Ok(Exit::SUCCESS)
}

fn of_error(code: ErrorCode) -> Explained {
    Explained {
        code: code.code().to_owned(),
        title: code.title().to_owned(),
        help: code.help().to_owned(),
        exit_code: u32::from(code.exit_code()),
        http_status: code.status().map(|status| status.as_u16()),
    }
}

fn of_task(code: &str) -> Option<Explained> {
    let (outcome, title, help) =
        TASK_REASONS.iter().find(|(outcome, _, _)| outcome.reason() == code)?;
    Some(Explained {
        code: code.to_owned(),
        title: (*title).to_owned(),
        help: (*help).to_owned(),
        exit_code: outcome.exit_code(),
        http_status: None,
    })
}

fn unknown(code: &str) -> CliError {
    let tasks = TASK_REASONS.iter().map(|(outcome, _, _)| outcome.reason());
    let codes = ErrorCode::ALL.iter().map(|code| code.code()).chain(tasks);
    let detail = match nearest(code, codes) {
        Some(near) => format!("there is no code `{code}`; did you mean `{near}`?"),
        None => format!("there is no code `{code}`"),
    };
    CliError::new(ErrorCode::NotFound, detail)
        .help("a code stands after `Error:`, such as daemon-unreachable")
}

/// `weft completions`.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn completions(context: &Context, shell: clap_complete::Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weft", &mut script);
    context.screen.bytes(&script)?;
    Ok(Exit::SUCCESS)
}

/// `weft version`.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn version(context: &Context) -> Result<Exit, CliError> {
    context.screen.document(
        Version::of_this_build(),
        |version| version.version.clone(),
        |version| {
            format!(
                "weft {} · protocol {} · {} {}\n",
                version.version, version.protocol, version.os, version.arch
            )
        },
    )?;
    Ok(Exit::SUCCESS)
}

/// `weft exit-codes`, and `weft help exit-codes`.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn exit_codes(context: &Context) -> Result<Exit, CliError> {
    context.screen.text(&format!("{}\n", exit::HELP))?;
    Ok(Exit::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_and_every_reason_is_explained() {
        for code in ErrorCode::ALL {
            assert!(!of_error(*code).help.is_empty());
        }
        for reason in
            ["trap", "fuel-limit", "timeout", "output-too-large", "exit-nonzero", "runner-crashed"]
        {
            assert!(of_task(reason).is_some(), "{reason}");
        }
        assert!(
            unknown("daemon-unreachabel").render().contains("did you mean `daemon-unreachable`?")
        );
    }
}
