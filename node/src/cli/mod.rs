//! The command line.
//!
//! [`args`] is what can be said, [`commands`] and [`work`] are what is done, [`screen`] is where results are
//! printed, [`error`] what a person is told when something does not work. A command talks to its node over HTTP
//! ([`client`]); only `up`, `init`, `exec`, `config` and `receipt verify` need none.
//!
//! # Invariants
//!
//! 1. With `-o json` standard output holds exactly one document: the result, or the error if there is none.
//! 2. The exit code is one of [`exit::HELP`].
//! 3. Nothing is submitted before everything that can be known here has been checked.

pub mod args;
mod bug;
pub mod client;
mod clock;
pub mod codes;
pub mod commands;
pub mod context;
pub mod error;
pub mod exit;
pub mod human;
mod interrupt;
mod logging;
mod pages;
pub mod screen;
pub mod table;
pub mod work;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser as _;
use portal_api::ErrorCode;
use tokio::runtime::{Builder, Runtime};

use self::{
    args::{BootstrapCommand, Cli, Command, ConfigCommand, SwarmCommand},
    commands::{
        about, config, coord, credits, daemon, doctor, identity, invites, jobs, joining, local,
        man, nodes, overview, receipts,
    },
    context::Context,
    error::CliError,
    exit::Exit,
    screen::Screen,
    work::{exec, map, run},
};

/// Runs the command line `args`, whose first item is the name of the program, and says what the shell sees.
///
/// Never panics: a bug that is caught is an error like others, with a file for the report.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    bug::watch();
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error, &args),
    };
    let context = Context::new(cli.globals);
    let exit = bug::caught(|| perform(&context, cli.command)).unwrap_or_else(|error| {
        context.screen.error(&error);
        error.exit()
    });
    exit.into()
}

/// Help and version are errors to the parser, but not to anybody else.
fn misunderstood(error: &clap::Error, args: &[OsString]) -> ExitCode {
    match args::asked_format(args) {
        Some(format) if error.exit_code() != 0 => {
            Screen::of_format(format).error(&CliError::usage(error));
        }
        Some(_) | None => {
            // Nobody to tell if this fails.
            let _ = error.print();
        }
    }
    Exit(u8::try_from(error.exit_code()).unwrap_or(2)).into()
}

fn perform(context: &Context, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Init => daemon::init(context),
        Command::Up(args) => daemon::up(context, &args),
        Command::Down => block_on(daemon::down(context)),
        Command::Status => ask(context, overview::status(context)),
        Command::Join(args) => ask(context, joining::join(context, &args)),
        Command::Leave(args) => block_on(joining::leave(context, &args)),
        Command::Doctor(args) => ask(context, doctor::doctor(context, &args)),
        Command::Run(args) => block_on(run::run(context, *args)),
        Command::Map(args) => block_on(map::map(context, *args)),
        Command::Exec(args) => block_on(exec::exec(context, *args)),
        Command::Job(command) => block_on(jobs::job(context, command)),
        Command::Node(command) => ask(context, nodes::node(context, command)),
        Command::Invite(args) => ask(context, invites::invite(context, args)),
        Command::Peers => ask(context, overview::peers(context)),
        Command::Id => ask(context, overview::id(context)),
        Command::Coord(command) => ask(context, coord::coord(context, command)),
        Command::Identity(command) => ask(context, identity::identity(context, command)),
        Command::Credits(command) => ask(context, credits::credits(context, command)),
        Command::Receipt(command) => ask(context, receipts::receipt(context, command)),
        Command::Limits(args) => ask(context, local::limits(context, args)),
        Command::Pause(args) => ask(context, local::pause(context, args)),
        Command::Resume => ask(context, local::resume(context)),
        Command::Config(command) => config::config(context, command),
        Command::Explain { code } => about::explain(context, code.as_deref()),
        Command::Completions { shell } => about::completions(context, shell),
        Command::Man { dir } => man::man(context, dir.as_deref()),
        Command::Version => about::version(context),
        Command::Swarm(SwarmCommand::Peers) => ask(context, overview::peers(context)),
        Command::Bootstrap(BootstrapCommand::List) => {
            config::config(context, ConfigCommand::Get { key: "p2p.bootstrap".to_owned() })
        }
        Command::ExitCodes => about::exit_codes(context),
    }
}

/// Asks a node: all of it takes at most as long as `--timeout` says.
fn ask(
    context: &Context,
    question: impl Future<Output = Result<Exit, CliError>>,
) -> Result<Exit, CliError> {
    block_on(async {
        let Some(timeout) = context.timeout() else { return question.await };
        let late = |_| Err(CliError::new(ErrorCode::Timeout, "the node has not answered in time"));
        tokio::time::timeout(timeout, question).await.unwrap_or_else(late)
    })
}

/// Runs what knows its own time limit.
fn block_on(work: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    let runtime = runtime()?;
    let exit = runtime.block_on(work);
    // What still blocks a thread, such as waiting for a node that does not stop, is not waited for.
    runtime.shutdown_background();
    exit
}

fn runtime() -> Result<Runtime, CliError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CliError::internal(format!("the runtime did not start: {error}")))
}
