//! Why a node could not start, or had to stop.

use std::{error::Error, io, path::PathBuf};

use ledger::replica::{Fatal, OpenError, ProposeError};
use protocol::{codec::DecodeError, reject::RejectReason};
use thiserror::Error;

use crate::{
    api::ServeError,
    blobs::BlobError,
    net::NetError,
    roles::{coordinator::Damaged, worker::OutboxError},
};

/// Why a node could not start, or had to stop.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AppError {
    /// An address to listen on or to reach is not one.
    #[error("`{0}` is not a multiaddress such as /ip4/192.168.1.20/tcp/4301")]
    Address(String),
    /// The network could not be started.
    #[error("the network could not be started")]
    Net(#[source] NetError),
    /// A port that was asked for is taken.
    #[error(
        "{address} is taken by another program; choose another with --listen (port 0: any free one)"
    )]
    PortTaken {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The API could not be served.
    #[error("the API could not be served")]
    Api(#[source] ServeError),
    /// The store of content could not be opened.
    #[error("the store of content could not be opened")]
    Blobs(#[source] BlobError),
    /// The outbox could not be opened.
    #[error("kept results could not be opened")]
    Outbox(#[source] OutboxError),
    /// The sandbox could not be started.
    #[error("the sandbox could not be started")]
    Sandbox(#[source] sandbox::pool::Error),
    /// The ledger could not be opened.
    #[error("the ledger could not be opened")]
    Ledger(#[source] OpenError),
    /// The ledger had to stop.
    #[error("the ledger had to stop")]
    Fatal(#[source] Fatal),
    /// The replicated state could not be read.
    #[error(transparent)]
    Damaged(Damaged),
    /// The mesh could not be founded.
    #[error("the mesh could not be founded")]
    Found(#[source] ProposeError),
    /// The mesh could not be founded, and the ledger says why.
    #[error("the mesh could not be founded: {0}")]
    FoundRejected(RejectReason),
    /// A new mesh needs somebody who coordinates it.
    #[error(
        "a new mesh needs the role coordinator: add it to --roles, or join a mesh with --bootstrap MULTIADDR"
    )]
    NobodyCoordinates,
    /// The mesh that was waited for has refused this node.
    #[error("the mesh \"{mesh}\" has refused this node: {reason}")]
    Refused {
        /// What it is called.
        mesh: String,
        /// Why.
        reason: String,
    },
    /// What is known about the mesh is not readable.
    #[error("`{}` is damaged; move it away to join again", path.display())]
    Membership {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// A file of the data directory could not be used.
    #[error("`{}` could not be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// More than one mesh is in the data directory.
    #[error(
        "the data directory holds {0} meshes, but a node is in one: move the others from `mesh/` to `old/`"
    )]
    SeveralMeshes(usize),
    /// A part of the node that it cannot do without has ended.
    #[error("the {0} has ended unexpectedly")]
    Ended(&'static str),
}

/// An error and what caused it, in one line.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
