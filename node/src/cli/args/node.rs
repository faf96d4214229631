//! This machine's node.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::home::{LogFormat, mode_roles};

/// `weft up`.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// Where to listen for other nodes: a multiaddress; may be repeated. Port 0: any free one
    #[arg(long, value_name = "MULTIADDR")]
    pub listen: Vec<String>,
    /// A node of the mesh to join: a multiaddress with /p2p/ID; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    pub bootstrap: Vec<String>,
    /// Wait for a mesh of this name on the local network, and ask to join it, instead of making one
    #[arg(long, value_name = "NAME", conflicts_with = "bootstrap")]
    pub join: Option<String>,
    /// Join with an invite: its text, or file:PATH for one that is in a file
    #[arg(long, conflicts_with_all = ["bootstrap", "join"], value_name = "INVITE")]
    pub invite: Option<String>,
    /// Neither look for nodes on the local network nor be found there
    #[arg(long)]
    pub no_mdns: bool,
    /// Let this node's mesh admit whoever asks, for every role
    #[arg(long)]
    pub auto_approve: bool,
    /// What the node does: worker, coordinator, relay
    #[arg(long, value_name = "LIST")]
    pub roles: Option<String>,
    /// Roles by the name of a mode: all-in-one, coordinator, control-plane, worker, relay
    #[arg(long, value_parser = parse_mode, conflicts_with = "roles", value_name = "MODE")]
    pub mode: Option<Mode>,
    /// What the node is called [default: a name made from its key]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Tasks that run at a time [default: half of the cores]
    #[arg(long, value_name = "N")]
    pub slots: Option<u16>,
    /// Memory shared with tasks [default: a quarter of the machine's]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Start it and return once it is ready
    #[arg(short, long)]
    pub detach: bool,
    /// How log lines look: text or json
    #[arg(long, value_enum, hide_possible_values = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormatArg>,
    /// Set in the process that `-d` starts.
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// `weft doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Only one area, in detail: net
    #[arg(value_enum, hide_possible_values = true, value_name = "AREA")]
    pub area: Option<AreaArg>,
    /// Mend what can be mended at once without harm: permissions of keys, files that were left behind
    #[arg(long)]
    pub fix: bool,
    /// Write a tar file for whoever is asked for help: no keys, tokens, invites or names of files in it
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AreaArg {
    /// How others reach this node, and it them.
    Net,
}

/// The roles that a mode stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Their names.
    pub roles: &'static [&'static str],
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    mode_roles(text).map(|roles| Mode { roles })
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl From<LogFormatArg> for LogFormat {
    fn from(format: LogFormatArg) -> Self {
        match format {
            LogFormatArg::Text => Self::Text,
            LogFormatArg::Json => Self::Json,
        }
    }
}

/// `weft config`.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// All settings as they are in effect
    Show {
        /// Also say where each comes from
        #[arg(long)]
        origin: bool,
    },
    /// One setting
    Get {
        /// Its name, such as p2p.listen
        key: String,
    },
    /// Change one setting in the configuration file
    Set {
        /// Its name, such as p2p.listen
        key: String,
        /// Its value; lists with commas
        value: String,
    },
    /// Where the files are
    Path,
    /// Whether the settings make sense
    Check,
}
