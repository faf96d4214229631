//! The mesh: its nodes, its credits, its receipts.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use crate::home::quantity::parse_duration;

/// `weft join`.
#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    /// Where a node of the mesh is, as `weft id` prints it there; or an invite, or file:PATH of one
    #[arg(value_name = "MULTIADDR|INVITE")]
    pub mesh: String,
    /// Leave the present mesh for it although it holds jobs or credits; what it holds is kept in old/
    #[arg(long)]
    pub leave_mine: bool,
}

/// `weft leave`.
#[derive(Debug, Clone, Args)]
pub struct LeaveArgs {
    /// Leave although the other nodes of the mesh can do nothing without this one
    #[arg(long)]
    pub force: bool,
}

use super::local::{DrainArgs, WhichNode};

/// `weft node`. NODE is a peer id, at least 4 characters that it begins or ends with, or a name.
#[derive(Debug, Clone, Subcommand)]
pub enum NodeCommand {
    /// Members, and those that wait
    List {
        /// Only those that wait for approval
        #[arg(long)]
        pending: bool,
    },
    /// One node
    Show {
        /// The node
        node: String,
    },
    /// Admit a node that waits
    Approve {
        /// The node
        node: String,
        /// What it may do: worker, coordinator, relay [default: what it asked for]
        #[arg(long, value_name = "LIST")]
        roles: Option<String>,
        /// The six digits that the node shows: with another code nothing is approved
        #[arg(long, value_name = "DIGITS")]
        code: Option<String>,
        /// It is a machine of mine: what it earns and submits is mine, without a copy of my key
        #[arg(long)]
        mine: bool,
        /// It is no longer a machine of mine
        #[arg(long, conflicts_with = "mine")]
        not_mine: bool,
    },
    /// Refuse a node that waits
    Reject {
        /// The node
        node: String,
        /// Why, for people
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Remove a node from the mesh and cut its connections
    Block {
        /// The node
        node: String,
        /// Why: abuse_spam, abuse_malware, policy_violation, credential_abuse, dos_behavior, forged_results or
        /// manual_review
        #[arg(long, default_value = "manual_review", value_name = "CODE")]
        reason: String,
        /// More about it, for people
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Let a node that was blocked or rejected ask again
    Unblock {
        /// The node
        node: String,
    },
    /// Keep a node out of the mesh until it is reinstated; it stays known
    #[command(visible_alias = "isolate")]
    Suspend {
        /// The node
        node: String,
        /// Why, for people
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let a suspended node go on
    Reinstate {
        /// The node
        node: String,
    },
    /// Label a node, so that jobs can ask for it with --tag
    Label {
        /// The node
        node: String,
        /// Labels: letters, digits, - _ . and : as in zone:attic
        #[arg(required = true)]
        labels: Vec<String>,
        /// Take these labels off instead
        #[arg(long)]
        remove: bool,
    },
    /// Give a node no new work, and wait until nothing runs there
    Drain(DrainArgs),
    /// Give a node work again after a drain
    Resume(WhichNode),
}

/// `weft coord`.
#[derive(Debug, Clone, Subcommand)]
pub enum CoordCommand {
    /// Who keeps the ledger: who leads, who votes, who follows and how far behind
    Status,
    /// Give this node a place among the coordinators as soon as it can have one, and wait for it
    Join,
    /// Give this node's place up, and wait until it is gone
    Leave,
    /// Hand the leadership over: on the node that leads
    Transfer {
        /// To which node: a peer id, at least 4 characters that it begins or ends with, or a name [default: the voter that has most of the log]
        node: Option<String>,
    },
    /// Write a snapshot of this node's copy of the ledger now
    Snapshot,
    /// What this node's copy of the ledger holds, without starting it: to choose whose to go on with
    Inspect,
}

/// `weft invite`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct InviteArgs {
    /// List or revoke.
    #[command(subcommand)]
    pub command: Option<InviteCommand>,
    /// For how long it is good; at most 7d
    #[arg(long, default_value = "24h", value_parser = parse_duration, value_name = "DURATION")]
    pub expires: Duration,
    /// How many machines it lets in
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub uses: u16,
    /// What they may do: worker or submitter
    #[arg(long, default_value = "worker", value_name = "ROLE")]
    pub role: String,
    /// Whom it is for
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// What to do with invites.
#[derive(Debug, Clone, Subcommand)]
pub enum InviteCommand {
    /// Invites, and what came of them
    List,
    /// Take an invite back; who has joined with it stays
    Revoke {
        /// Its id, or at least 4 digits that it begins with
        id: String,
    },
}

/// `weft identity`.
#[derive(Debug, Clone, Subcommand)]
pub enum IdentityCommand {
    /// The keys of this node: their public parts, and where they are
    Show,
    /// Replace the node's key; the old one is good for 48 hours more
    Rotate,
    /// Write both keys to a file, encrypted with a passphrase
    Export {
        /// The file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Read the passphrase from this file instead of asking for it
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Take both keys from a file that export wrote
    Import {
        /// The file
        file: PathBuf,
        /// Read the passphrase from this file instead of asking for it
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Replace keys that are here; they are lost
        #[arg(long)]
        force: bool,
    },
}

/// `weft credits`.
#[derive(Debug, Clone, Subcommand)]
pub enum CreditsCommand {
    /// What can be spent, and what open jobs hold
    Balance {
        /// Another account than this node's owner's
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// What came and went, newest first
    History {
        /// Another account than this node's owner's
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
    },
}

/// `weft receipt`.
#[derive(Debug, Clone, Subcommand)]
pub enum ReceiptCommand {
    /// Receipts for one's jobs, newest first
    List {
        /// Only those of this job
        #[arg(long, value_name = "JOB")]
        job: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
    },
    /// One receipt
    Show {
        /// Its id
        id: String,
    },
    /// Write a receipt, with everything that proves it, to a file
    Export {
        /// Its id
        id: String,
        /// The file; - for standard output
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Also write the module and the inputs, so that the task can be run again
        #[arg(long)]
        with_data: bool,
    },
    /// Check a receipt file, without a node
    Verify {
        /// The file
        file: PathBuf,
        /// The mesh that it must be of: its id. Else the Genesis in the file is used, and its mesh id printed
        #[arg(long, value_name = "MESH")]
        mesh: Option<String>,
        /// Also run the task again, here, and compare: result, memory and fuel
        #[arg(long)]
        reexec: bool,
    },
}
