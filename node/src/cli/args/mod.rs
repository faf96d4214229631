//! The grammar of the command line.
//!
//! Flags that every command takes stand in [`Globals`] and work before and after the command. What each command
//! does is its own file's business; here is only what can be said.

mod local;
mod mesh;
mod node;
mod work;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

pub use local::{DrainArgs, LimitsArgs, LimitsCommand, LimitsSetArgs, PauseArgs, WhichNode, YesNo};
pub use mesh::{
    CoordCommand, CreditsCommand, IdentityCommand, InviteArgs, InviteCommand, JoinArgs, LeaveArgs,
    NodeCommand, ReceiptCommand,
};
pub use node::{AreaArg, ConfigCommand, DoctorArgs, LogFormatArg, Mode, UpArgs};
pub use work::{ExecArgs, JobCommand, JobFlags, MapArgs, ReduceWith, RunArgs, ScopeArg, TaskFlags};

use crate::home::quantity::parse_duration;

/// What follows the list of commands.
const AFTER_HELP: &str = "\
Start here:  weft up      then, in another terminal:  weft run --example primes
Exit codes:  weft help exit-codes      an error code:  weft explain CODE";

/// The whole command line.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "weft",
    version,
    about = "A peer-to-peer compute mesh: your machines run each other's programs",
    after_help = AFTER_HELP,
    disable_help_subcommand = false,
    propagate_version = false,
    max_term_width = 110
)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// How results are printed: table, wide, json, jsonl or name
    #[arg(short, long, global = true, value_enum, hide_possible_values = true, default_value_t = Format::Table, value_name = "FORMAT")]
    pub output: Format,
    /// The same as -o json
    #[arg(long, global = true)]
    pub json: bool,
    /// Print tables without their first line
    #[arg(long, global = true)]
    pub no_header: bool,
    /// Whether to use colours: auto, always or never
    #[arg(long, global = true, value_enum, hide_possible_values = true, default_value_t = ColorWhen::Auto, value_name = "WHEN")]
    pub color: ColorWhen,
    /// How progress is shown: auto, bar, plain or none
    #[arg(long, global = true, value_enum, hide_possible_values = true, default_value_t = Progress::Auto, value_name = "HOW")]
    pub progress: Progress,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice: even more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Never ask; fail where an answer would be needed
    #[arg(long, global = true)]
    pub no_input: bool,
    /// Answer yes to every question
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Say what would be done and do nothing
    #[arg(short = 'n', long, global = true)]
    pub dry_run: bool,
    /// Give up after this long (exit code 124); a job that was accepted goes on
    #[arg(long, global = true, value_parser = parse_duration, value_name = "DURATION")]
    pub timeout: Option<Duration>,
    /// The node to talk to: a URL or unix:PATH. For `up`: HOST:PORT to listen on
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub api: Option<String>,
    /// The node's data directory
    #[arg(long, global = true, env = "WEFT_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For people, with everything whole: ids, absolute times
    Wide,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
    /// Ids only
    Name,
}

/// The format for programs that a command line asks for, also if the rest of it is not understood.
#[must_use]
pub fn asked_format(args: &[OsString]) -> Option<Format> {
    let args: Vec<_> = args.iter().skip(1).map(|arg| arg.to_string_lossy()).collect();
    let mut asked = None;
    let ours = args.iter().take_while(|arg| *arg != "--");
    for (at, arg) in ours.enumerate() {
        let next = || args.get(at.saturating_add(1)).map(|next| next.as_ref());
        let value = match arg.strip_prefix("--") {
            Some("json") => Some("json"),
            Some("output") => next(),
            Some(long) => long.strip_prefix("output="),
            None => match arg.strip_prefix('-').and_then(|flags| flags.split_once('o')) {
                Some((_, "")) => next(),
                Some((_, value)) => Some(value.trim_start_matches('=')),
                None => None,
            },
        };
        asked = match value {
            Some("json") => Some(Format::Json),
            Some("jsonl") => Some(Format::Jsonl),
            Some(_) | None => asked,
        };
    }
    asked
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, plain lines elsewhere
    Auto,
    /// A bar
    Bar,
    /// One line with a time for each change
    Plain,
    /// Not at all
    None,
}

/// What to do. The order is that of the help.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make the keys of this node, without starting it
    Init,
    /// Start this node; without one to join it makes a mesh of its own
    Up(Box<UpArgs>),
    /// Stop this node, after its tasks have ended or were handed back
    Down,
    /// This node and its mesh at a glance
    Status,
    /// Join the mesh of another node, and wait until somebody there has decided
    Join(JoinArgs),
    /// Leave the mesh and stop this node; what the mesh holds is kept
    Leave(LeaveArgs),
    /// What keeps this node from being as useful as it could be, and the way out
    #[command(alias = "diag")]
    Doctor(DoctorArgs),

    /// Run a program on the mesh
    Run(Box<RunArgs>),
    /// Run a program once for each input, and put the results together
    Map(Box<MapArgs>),
    /// Run a program on this machine only: no node, no mesh, no cost
    Exec(Box<ExecArgs>),
    /// Jobs: list, show, wait, logs, results, cancel, explain
    #[command(subcommand)]
    Job(JobCommand),

    /// Nodes of the mesh: list, show, approve, reject, block, suspend, label, drain, resume
    #[command(subcommand)]
    Node(NodeCommand),
    /// Make an invite that lets a machine in without asking; list, revoke
    Invite(InviteArgs),
    /// Nodes that this one is connected to
    Peers,
    /// Who this node is, and where others reach it
    Id,
    /// The keys of this node: show, rotate, export, import
    #[command(subcommand)]
    Identity(IdentityCommand),

    /// Coordinators, which keep the ledger: status, join, leave, transfer, snapshot, inspect
    #[command(subcommand)]
    Coord(CoordCommand),

    /// Credits: balance, history
    #[command(subcommand)]
    Credits(CreditsCommand),
    /// Receipts for work: list, show, export, verify
    #[command(subcommand)]
    Receipt(ReceiptCommand),

    /// What others may have of this machine: show, set
    Limits(LimitsArgs),
    /// Take no work of others on this machine, for a while or until `weft resume`
    Pause(PauseArgs),
    /// Take work of others on this machine again
    Resume,

    /// Settings: show, get, set, path, check
    #[command(subcommand)]
    Config(ConfigCommand),
    /// What a code means, and the way out; without a code: all of them
    Explain {
        /// The code, as printed after `Error:` or for a task that failed
        code: Option<String>,
    },
    /// Print a script that completes weft's commands in a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page of weft, or write those of all commands
    Man {
        /// Write one page for each command into this directory
        dir: Option<PathBuf>,
    },
    /// What this program is
    Version,
    /// What Kubo calls `peers`
    #[command(subcommand, hide = true)]
    Swarm(SwarmCommand),
    /// What Kubo calls `config get p2p.bootstrap`
    #[command(subcommand, hide = true)]
    Bootstrap(BootstrapCommand),
    /// What the exit codes mean
    #[command(hide = true, long_about = super::exit::HELP)]
    ExitCodes,
}

/// `weft swarm`, for whoever knows Kubo.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum SwarmCommand {
    /// Nodes that this one is connected to
    Peers,
}

/// `weft bootstrap`, for whoever knows Kubo.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum BootstrapCommand {
    /// Where this node joins
    List,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_and_after_the_command() {
        for line in [
            "weft -o json status",
            "weft status -o json",
            "weft job list --json",
            "weft --json job list",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.globals.json || cli.globals.output == Format::Json, "{line}");
        }
    }

    #[test]
    fn the_format_is_known_also_if_nothing_else_is_understood() {
        let asked =
            |line: &str| asked_format(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in [
            "weft nonsense -o json",
            "weft -ojson nonsense",
            "weft -qo json",
            "weft --output=json x",
            "weft --output json",
            "weft x --json",
            "weft x -o=json",
        ] {
            assert_eq!(asked(line), Some(Format::Json), "{line}");
        }
        assert_eq!(asked("weft x -o jsonl"), Some(Format::Jsonl));
        for line in ["weft", "weft run m.wasm -- -o json", "weft -o table", "weft -o"] {
            assert_eq!(asked(line), None, "{line}");
        }
    }

    #[test]
    fn up_takes_everything_that_a_script_needs() {
        let line = "weft up --data-dir /d --listen /ip4/127.0.0.1/tcp/0 --listen /ip4/127.0.0.1/udp/0/quic-v1 \
                    --api 127.0.0.1:0 --no-mdns --bootstrap /a --bootstrap /b --auto-approve --roles worker,relay \
                    --name otter --slots 2 --memory 1GiB -d --log-format json";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        assert_eq!(cli.globals.api.as_deref(), Some("127.0.0.1:0"));
        assert_eq!(cli.globals.data_dir, Some("/d".into()));
        let Command::Up(up) = cli.command else { panic!("not up") };
        assert_eq!((up.listen.len(), up.bootstrap.len()), (2, 2));
        assert_eq!(up.roles, Some("worker,relay".to_owned()));
        assert!(up.detach && up.auto_approve && up.no_mdns);
    }

    #[test]
    fn a_pattern_that_the_shell_expanded_is_many_inputs() {
        let line = "weft map m.wasm --in a b c --reduce --out d -- x --y";
        let Command::Map(map) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("not map")
        };
        assert_eq!(map.inputs, ["a", "b", "c"]);
        assert_eq!(map.args, ["x", "--y"]);
        assert_eq!(map.reduce, Some(ReduceWith::Itself));
        assert_eq!(map.module, "m.wasm");
    }

    #[test]
    fn reduce_names_a_builtin_or_a_module() {
        let reduce = |text: &str| {
            let line = ["weft", "map", "m.wasm", "--in", "a", text, "--out", "d"];
            let Command::Map(map) = Cli::try_parse_from(line).unwrap().command else {
                panic!("not map")
            };
            map.reduce
        };
        assert_eq!(reduce("--reduce=json-sum"), Some(ReduceWith::JsonSum));
        assert_eq!(reduce("--reduce=concat"), Some(ReduceWith::Concat));
        assert_eq!(reduce("--reduce=last"), Some(ReduceWith::Last));
        assert_eq!(reduce("--reduce=r.wasm"), Some(ReduceWith::Module("r.wasm".into())));
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "weft",
            "weft nonsense",
            "weft run",
            "weft run m.wasm --example primes",
            "weft run m.wasm --memory much",
            "weft run m.wasm --scope everybody",
            "weft map m.wasm --out d",
            "weft map m.wasm --in a",
            "weft up --mode worker --roles worker",
            "weft status --output xml",
            "weft up --listen",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
