//! Peers that mean harm: for tests that a node stands them, and for benchmarks of what they cost.
//!
//! An attacker speaks real TCP, QUIC, Noise and Yamux, and below them whatever it likes: it holds a [`Connection`], on
//! which it opens streams and writes bytes. Every attack is a value whose `run` attacks a [`Target`] for a while and
//! returns [`Counts`]; [`begin`] runs one beside the caller. Attacks go to the address that they are given and to no
//! other.

mod connection;
mod flood;
mod garbage;
mod half_open;
mod hold;
mod http;
mod insider;

use std::{thread, time::Duration};

use anyhow::{Context as _, anyhow};
pub use connection::{Connection, Stream};
pub use flood::{Flood, Message};
pub use garbage::{Garbage, as_members, protocols};
pub use half_open::HalfOpen;
pub use hold::{Hold, How};
pub use http::{Http, HttpHow, Place};
pub use insider::Insider;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// Who is attacked.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens, without `/p2p/`.
    pub address: Multiaddr,
    /// Who it is.
    pub peer: PeerId,
}

impl std::str::FromStr for Target {
    type Err = anyhow::Error;

    /// From an address that ends in `/p2p/…`, as `weft id` and the `ready` line show it.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut address: Multiaddr = text.parse()?;
        match address.pop() {
            Some(Protocol::P2p(peer)) => Ok(Self { address, peer }),
            _ => Err(anyhow!("{text} does not end in /p2p/")),
        }
    }
}

/// What an attack did, and what it got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections whose handshake succeeded.
    pub connections: u64,
    /// Connections that were refused, or closed before anything was sent on them.
    pub refused: u64,
    /// Messages, or pieces of garbage, that were sent.
    pub sent: u64,
    /// Answers that came back.
    pub answers: u64,
    /// Streams or connections that the target closed on the attacker.
    pub closed: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.connections = self.connections.saturating_add(more.connections);
        self.refused = self.refused.saturating_add(more.refused);
        self.sent = self.sent.saturating_add(more.sent);
        self.answers = self.answers.saturating_add(more.answers);
        self.closed = self.closed.saturating_add(more.closed);
    }
}

/// An attack that runs on a thread of its own.
#[derive(Debug)]
pub struct Attack(thread::JoinHandle<anyhow::Result<Counts>>);

impl Attack {
    /// Waits until it is over.
    ///
    /// # Errors
    ///
    /// If it could not be run.
    pub fn end(self) -> anyhow::Result<Counts> {
        self.0.join().map_err(|_| anyhow!("the attacker panicked"))?
    }
}

/// Begins an attack on a thread of its own.
///
/// # Errors
///
/// If there are no more threads.
pub fn begin<F>(attack: impl FnOnce() -> F + Send + 'static) -> anyhow::Result<Attack>
where
    F: Future<Output = anyhow::Result<Counts>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || runtime.block_on(attack());
    let thread = thread::Builder::new().name("attacker".to_owned()).spawn(run);
    Ok(Attack(thread.context("the attacker has no thread")?))
}

/// Does something again and again until the time is over. Cuts the last one short.
async fn for_a_while(duration: Duration, mut step: impl AsyncFnMut()) {
    let steps = async {
        loop {
            step().await;
            // Others on this thread get their turn whatever the step does.
            tokio::task::yield_now().await;
        }
    };
    let _over = tokio::time::timeout(duration, steps).await;
}
