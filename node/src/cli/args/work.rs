//! Running programs.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use protocol::{
    ids::TaskIndex,
    limits,
    units::{Credits, Fuel, Pages},
    wire::{advert::Isolation, job::TaskLimits},
};

use crate::home::quantity::{parse_bytes, parse_credits, parse_duration, parse_fuel};

/// What one task may use.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits of one task")]
pub struct TaskFlags {
    /// Memory [default: 128MiB]
    #[arg(long, value_parser = parse_pages, value_name = "SIZE")]
    pub memory: Option<Pages>,
    /// Fuel: the work that it may do; 1M is about a millisecond [default: 2G]
    #[arg(long, value_parser = parse_task_fuel, value_name = "N")]
    pub fuel: Option<Fuel>,
    /// Time [default: 30s]
    #[arg(long, value_parser = parse_task_timeout, value_name = "DURATION")]
    pub task_timeout: Option<Duration>,
    /// Everything that it puts out together [default: 16MiB]
    #[arg(long, value_parser = parse_output, value_name = "SIZE")]
    pub output_limit: Option<u64>,
    /// A variable of its environment; may be repeated
    #[arg(long = "env", value_parser = parse_env, value_name = "NAME=VALUE")]
    pub env: Vec<(String, String)>,
}

impl TaskFlags {
    /// The limits that are asked for.
    #[must_use]
    pub fn limits(&self) -> TaskLimits {
        let default = TaskLimits::default();
        TaskLimits {
            fuel: self.fuel.unwrap_or(default.fuel),
            memory: self.memory.unwrap_or(default.memory),
            timeout_ms: self.timeout_ms().unwrap_or(default.timeout_ms),
            output_bytes: self.output_limit.unwrap_or(default.output_bytes),
        }
    }

    /// The time limit, if one is asked for.
    #[must_use]
    pub fn timeout_ms(&self) -> Option<u32> {
        self.task_timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX))
    }
}

/// How a job is placed and paid.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The job")]
pub struct JobFlags {
    /// What people call it [default: the module's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The most that it may cost [default: all tasks at their limits, at most half of the balance]
    #[arg(long, value_parser = parse_credits, value_name = "CREDITS")]
    pub max_credits: Option<Credits>,
    /// Whose machines may run it: mine (only one's own: free) or mesh
    #[arg(long, value_enum, hide_possible_values = true, default_value_t = ScopeArg::Mesh, value_name = "SCOPE")]
    pub scope: ScopeArg,
    /// The least isolation that it may run under: A, B or C
    #[arg(long, value_parser = parse_isolation, value_name = "GRADE")]
    pub isolation: Option<Isolation>,
    /// A label that the worker must have; may be repeated
    #[arg(long = "tag", value_name = "LABEL")]
    pub tags: Vec<String>,
    /// What has not run after this long expires [default: 1d]
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    pub deadline: Option<Duration>,
    /// Submit it and return at once; its id is printed
    #[arg(short, long)]
    pub detach: bool,
}

/// Whose machines may run a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScopeArg {
    /// Only one's own: nothing leaves them, and nothing is paid
    Mine,
    /// All members of the mesh
    Mesh,
}

/// `weft run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The program: a WebAssembly file (wasm32-wasip1)
    #[arg(required_unless_present = "example", conflicts_with = "example", value_name = "MODULE")]
    pub module: Option<String>,
    /// A program that is built in: wordfreq, primes, mandelbrot
    #[arg(long, value_name = "NAME")]
    pub example: Option<String>,
    /// A file that the program finds as /in/NAME; may be repeated
    #[arg(long = "in", num_args = 1.., value_name = "FILE")]
    pub inputs: Vec<PathBuf>,
    /// Its standard input: a file, or - for that of this command
    #[arg(long, value_name = "FILE")]
    pub stdin: Option<PathBuf>,
    /// Where the files go that the program leaves in /out
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Exit with the program's own exit code instead of 3 if it fails
    #[arg(long)]
    pub exit_code: bool,
    /// What one task may use.
    #[command(flatten)]
    pub task: TaskFlags,
    /// How the job is placed and paid.
    #[command(flatten)]
    pub job: JobFlags,
    /// Arguments of the program
    #[arg(last = true, help_heading = "Arguments", value_name = "ARGS")]
    pub args: Vec<String>,
}

/// `weft map`.
#[derive(Debug, Clone, Args)]
pub struct MapArgs {
    /// The program: a WebAssembly file (wasm32-wasip1)
    #[arg(value_name = "MODULE")]
    pub module: String,
    /// Files, as patterns in quotes (* ? [] **); each is one task's standard input and /in/NAME
    #[arg(long = "in", num_args = 1.., required = true, value_name = "GLOB")]
    pub inputs: Vec<String>,
    /// Each line of the one file is an input
    #[arg(long)]
    pub by_line: bool,
    /// Make one result of all: with the program itself, called with the argument `reduce`; or with concat,
    /// json-sum, last, or another module
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        value_name = "HOW|MODULE"
    )]
    pub reduce: Option<ReduceWith>,
    /// Where the results go
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// End as partially completed where tasks fail; else the first one that fails ends the job
    #[arg(long)]
    pub allow_partial: bool,
    /// What one task may use.
    #[command(flatten)]
    pub task: TaskFlags,
    /// How the job is placed and paid.
    #[command(flatten)]
    pub job: JobFlags,
    /// Arguments of the program; {} becomes the path of the task's input
    #[arg(last = true, help_heading = "Arguments", value_name = "ARGS")]
    pub args: Vec<String>,
}

/// How the outputs of all tasks become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReduceWith {
    /// The mapped program itself.
    Itself,
    /// One after the other.
    Concat,
    /// JSON objects of numbers, added key by key.
    JsonSum,
    /// The last that is not empty.
    Last,
    /// Another program.
    Module(PathBuf),
}

impl FromStr for ReduceWith {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "" => Self::Itself,
            "concat" => Self::Concat,
            "json-sum" => Self::JsonSum,
            "last" => Self::Last,
            path => Self::Module(path.into()),
        })
    }
}

/// `weft exec`.
#[derive(Debug, Clone, Args)]
pub struct ExecArgs {
    /// The program: a WebAssembly file (wasm32-wasip1)
    #[arg(required_unless_present = "example", conflicts_with = "example", value_name = "MODULE")]
    pub module: Option<String>,
    /// A program that is built in: wordfreq, primes, mandelbrot
    #[arg(long, value_name = "NAME")]
    pub example: Option<String>,
    /// A file that the program finds as /in/NAME; may be repeated
    #[arg(long = "in", num_args = 1.., value_name = "FILE")]
    pub inputs: Vec<PathBuf>,
    /// Its standard input: a file, or - for that of this command
    #[arg(long, value_name = "FILE")]
    pub stdin: Option<PathBuf>,
    /// Where the files go that the program leaves in /out
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Say which of its functions spent the fuel. It takes longer; result and fuel are the same
    #[arg(long)]
    pub explain: bool,
    /// What it may use.
    #[command(flatten)]
    pub task: TaskFlags,
    /// Arguments of the program
    #[arg(last = true, help_heading = "Arguments", value_name = "ARGS")]
    pub args: Vec<String>,
}

/// `weft job`. JOB is an id, at least 4 digits that it begins with, or a name.
#[derive(Debug, Clone, Subcommand)]
pub enum JobCommand {
    /// Jobs, newest first
    List {
        /// At most this many
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
        /// Only those in this state, such as RUNNING
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Also those of other accounts
        #[arg(short, long)]
        all: bool,
    },
    /// One job, with its tasks
    Show {
        /// The job
        job: String,
    },
    /// Wait until a job has ended
    Wait {
        /// The job
        job: String,
    },
    /// What a task wrote on its standard error
    Logs {
        /// The job
        job: String,
        /// Which task, from 0; may be left out where there is one
        #[arg(long, value_parser = parse_task, value_name = "N")]
        task: Option<TaskIndex>,
        /// What it wrote on its standard output instead
        #[arg(long)]
        stdout: bool,
    },
    /// The results of a job; with --out they are fetched
    Results {
        /// The job
        job: String,
        /// Where they go
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Only tasks that failed
        #[arg(long)]
        failed: bool,
    },
    /// Give a job up; what it did not use is paid back
    Cancel {
        /// The job
        job: String,
    },
    /// Why a job is where it is
    Explain {
        /// The job
        job: String,
    },
}

fn parse_pages(text: &str) -> Result<Pages, String> {
    let pages = Pages::holding(parse_bytes(text).map_err(|error| error.to_string())?);
    if (1..=limits::TASK_MEMORY_MAX.0).contains(&pages.0) {
        Ok(pages)
    } else {
        Err("a task may have between 64KiB and 4GiB".to_owned())
    }
}

fn parse_task_fuel(text: &str) -> Result<Fuel, String> {
    let fuel = parse_fuel(text).map_err(|error| error.to_string())?;
    if (1..=limits::TASK_FUEL_MAX.0).contains(&fuel.0) {
        Ok(fuel)
    } else {
        Err("a task may have between 1 and 4T".to_owned())
    }
}

fn parse_output(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text).map_err(|error| error.to_string())?;
    if bytes <= limits::TASK_OUTPUT_BYTES_MAX {
        Ok(bytes)
    } else {
        Err("a task may put out at most 1GiB".to_owned())
    }
}

/// Milliseconds must fit in 32 bits, which is more than the longest time that a task may ask for.
fn parse_task_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text).map_err(|error| error.to_string())?;
    if timeout.is_zero() || timeout > limits::TASK_TIMEOUT_MAX {
        return Err("a task may run between 1ms and 24h".to_owned());
    }
    Ok(timeout)
}

fn parse_env(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn parse_isolation(text: &str) -> Result<Isolation, String> {
    [Isolation::A, Isolation::B, Isolation::C]
        .into_iter()
        .find(|grade| grade.name().eq_ignore_ascii_case(text))
        .ok_or_else(|| "expected A, B or C".to_owned())
}

fn parse_task(text: &str) -> Result<TaskIndex, String> {
    text.parse().map(TaskIndex).map_err(|_| "expected the number of a task".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_limits() {
        let flags = TaskFlags {
            memory: parse_pages("64MiB").ok(),
            fuel: parse_task_fuel("500M").ok(),
            task_timeout: parse_task_timeout("5s").ok(),
            output_limit: None,
            env: Vec::new(),
        };
        let limits = flags.limits();
        assert_eq!(limits.memory, Pages(1_024));
        assert_eq!(limits.fuel, Fuel(500_000_000));
        assert_eq!(limits.timeout_ms, 5_000);
        assert_eq!(limits.output_bytes, TaskLimits::default().output_bytes);
    }

    #[test]
    fn nonsense_is_refused_before_anything_is_done() {
        assert!(parse_task_timeout("0s").is_err());
        assert!(parse_pages("0").is_err() && parse_pages("5GiB").is_err());
        assert!(parse_task_fuel("0").is_err() && parse_task_fuel("5T").is_err());
        assert!(parse_output("2GiB").is_err());
        assert!(parse_task_timeout("25h").is_err());
        assert!(parse_env("=x").is_err());
        assert_eq!(parse_env("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(parse_isolation("D").is_err());
        assert!(parse_task("-1").is_err());
    }
}
