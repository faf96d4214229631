//! The process `weft-runner`: one node, one socket, one kind of work.
//!
//! `weft-runner compile` turns one module into native code and ends. `weft-runner exec` loads native code and runs
//! tasks of that module until its node hangs up. Neither reads a file, an argument that matters or the environment:
//! everything comes over the socket that is its standard input.

mod compile;
mod exec;
mod socket;
mod watchdog;

use std::io;

use protocol::codec::DecodeError;

use crate::jail::{Jail, Kind};

/// A runner could not go on. Its node sees that it is gone, and this on its standard error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The jail could not be entered.
    #[error("the jail could not be entered")]
    Jail(#[source] io::Error),
    /// The socket to the node failed.
    #[error("the socket to the node failed")]
    Socket(#[source] io::Error),
    /// What the node said makes no sense.
    #[error("the node said something that makes no sense")]
    Protocol(#[from] DecodeError),
    /// The node gave an order that this kind of runner does not take.
    #[error("the node gave an order that is not for this kind of runner")]
    WrongOrder,
    /// The watchdog could not be started.
    #[error("the watchdog could not be started")]
    Watchdog(#[source] io::Error),
}

/// Whether a runner gives way to everything else on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// It runs when nothing else wants to.
    Idle,
    /// It competes like any other process: for tests of time limits.
    Normal,
}

impl Priority {
    /// The word on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Normal => "normal",
        }
    }
}

/// An error with its causes, in one line, for people.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

/// The main function of `weft-runner`: does the work of that kind on standard input until the node hangs up.
///
/// # Errors
///
/// See [`Error`].
pub fn run(kind: Kind, priority: Priority) -> Result<(), Error> {
    let jail = Jail::enter(kind).map_err(Error::Jail)?;
    let socket = socket::Socket::from_stdin().map_err(Error::Socket)?;
    match kind {
        Kind::Compile => compile::serve(socket, jail),
        Kind::Exec => exec::serve(socket, jail, priority),
    }
}
