//! What a listener serves, and to whom.

use std::{fmt, time::Duration};

use protocol::{ids::Hash, limits};

/// What a listener serves, and to whom.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Who comes in here.
    pub listener: Listener,
    /// The longest JSON body, in bytes. Default 1 MiB.
    pub json_bytes_max: usize,
    /// The longest blob, in bytes. By default no limit but the store's, on the portal that of a task's output.
    pub blob_bytes_max: u64,
    /// How long a request may take, without the wait that it asks for. Default 30 s: a command that arrives during
    /// a change of leader is held for 3 s.
    pub request_timeout: Duration,
    /// How long an upload may stand still. Default 30 s.
    pub stall_timeout: Duration,
    /// Requests at a time; more are refused with `queue-full`. Default 256.
    pub concurrency_max: usize,
}

/// Who comes in.
#[derive(Debug, Clone)]
pub enum Listener {
    /// The Unix socket: the file system has checked who it is. Everything is allowed.
    Socket,
    /// TCP on the loopback address: programs of this machine, and pages in its browsers.
    Loopback {
        /// What allows changes.
        token: Token,
        /// Names in the `Host` header that are allowed besides 127.0.0.1, localhost and `[::1]`.
        hosts: Vec<String>,
    },
    /// TCP for others: without what is about this machine only.
    Portal {
        /// What allows changes.
        token: Token,
        /// Names and addresses in the `Host` header that are allowed.
        hosts: Vec<String>,
    },
}

impl RouterConfig {
    /// With the default limits.
    #[must_use]
    pub const fn new(listener: Listener) -> Self {
        let blob_bytes_max = match listener {
            Listener::Socket | Listener::Loopback { .. } => u64::MAX,
            Listener::Portal { .. } => limits::TASK_OUTPUT_BYTES_MAX,
        };
        Self {
            listener,
            json_bytes_max: 1024 * 1024,
            blob_bytes_max,
            request_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            concurrency_max: 256,
        }
    }
}

/// A secret that allows changes. Kept as its hash, so that comparing takes the same time for every guess and the
/// secret is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token {
    hash: Hash,
}

impl Token {
    /// The token of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { hash: Hash::of(text.as_bytes()) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
