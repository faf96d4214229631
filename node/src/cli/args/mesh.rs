//! The mesh: its nodes, its credits, its receipts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `weft join`.
#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    /// Where a node of the mesh is: a multiaddress with /p2p/ID, as `weft id` prints it there
    #[arg(value_name = "MULTIADDR")]
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
    },
    /// Refuse a node that waits
    Reject {
        /// The node
        node: String,
    },
    /// Remove a node from the mesh
    Block {
        /// The node
        node: String,
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
