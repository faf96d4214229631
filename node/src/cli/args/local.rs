//! This machine: its limits, and what holds for a while.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::home::quantity::{parse_bytes, parse_duration};

/// `weft limits`. Without a command: show.
#[derive(Debug, Clone, Args)]
pub struct LimitsArgs {
    /// What to do
    #[command(subcommand)]
    pub command: Option<LimitsCommand>,
}

/// What to do with the limits.
#[derive(Debug, Clone, Subcommand)]
pub enum LimitsCommand {
    /// What others may have of this machine, and what they can have now
    Show,
    /// Change it, at once and for the time to come; what is not named stays as it is
    Set(Box<LimitsSetArgs>),
}

/// `weft limits set`.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = true)]
pub struct LimitsSetArgs {
    /// Tasks at a time, each on a core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub cores: Option<u16>,
    /// Memory of one task at most, such as 4GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub memory: Option<u64>,
    /// That part of the cores, and half that part of the memory, such as 50%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub share: Option<u8>,
    /// Whether others' work also runs on battery
    #[arg(long, value_enum, value_name = "YES|NO", hide_possible_values = true)]
    pub on_battery: Option<YesNo>,
    /// On battery: not below this level, such as 40%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub min_battery: Option<u8>,
    /// Not before nobody has used the machine for this long, such as 3m; 0s: always
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub idle: Option<Duration>,
    /// At these hours only, in local time, such as 22:00-07:00; always
    #[arg(long, value_name = "HOURS")]
    pub hours: Option<String>,
    /// Not while other programs use more of the processor, such as 25%; 100%: always
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub max_cpu_others: Option<u8>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum YesNo {
    /// Yes
    Yes,
    /// No
    No,
}

/// `weft pause`.
#[derive(Debug, Clone, Args)]
pub struct PauseArgs {
    /// For how long, such as 1h [default: until `weft resume`]
    #[arg(value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Why, for people
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub message: String,
}

/// `weft node drain`.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// Which node
    #[command(flatten)]
    pub which: WhichNode,
    /// After how long what is left is handed back [default: it ends in its own time]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub deadline: Option<Duration>,
    /// Why, for people
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub message: String,
    /// Do not wait until it is drained
    #[arg(long)]
    pub no_wait: bool,
}

/// A node, or this one.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct WhichNode {
    /// The node
    pub node: Option<String>,
    /// This machine's node
    #[arg(long = "self")]
    pub this: bool,
}

/// `40%`, or `40`.
fn parse_percent(text: &str) -> Result<u8, String> {
    let number = text.trim().trim_end_matches('%').trim();
    let percent = number.parse::<u8>().ok().filter(|percent| *percent <= 100);
    percent.ok_or_else(|| format!("`{text}` is not a part such as 40%"))
}
