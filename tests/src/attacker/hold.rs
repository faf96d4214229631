//! Peers that begin and do not go on.

use std::time::Duration;

use futures::AsyncWriteExt as _;
use protocol::names;

use super::{Connection, Counts, Stream, Target, flood::key, for_a_while};

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(50);

/// Where to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A connection, and nothing on it.
    Silent,
    /// Streams that are open before anything is said on them.
    Negotiating,
    /// A message that is announced and never sent.
    Announced,
    /// Half of a message, then the end of the stream in this direction, while the other is kept open.
    HalfClosed,
}

/// Connections with streams on them, all held as long as the target lets them.
#[derive(Debug, Clone, Copy)]
pub struct Hold {
    /// Connections, each with an identity of its own.
    pub connections: u64,
    /// Streams on each.
    pub streams: usize,
    /// Where to stop.
    pub how: How,
    /// Where the identities come from.
    pub seed: u8,
}

impl Hold {
    /// Attacks for so long: what the target closes is made anew.
    ///
    /// # Errors
    ///
    /// None that the target can cause.
    pub async fn run(self, target: &Target, duration: Duration) -> anyhow::Result<Counts> {
        let mut counts = Counts::default();
        let mut held: Vec<(Connection, Vec<Stream>)> = Vec::new();
        let mut identity = 0_u64;
        for_a_while(duration, async || {
            let before = held.len();
            held.retain(|(connection, _)| !connection.is_closed());
            let gone = u64::try_from(before.saturating_sub(held.len())).unwrap_or(u64::MAX);
            counts.closed = counts.closed.saturating_add(gone);
            if u64::try_from(held.len()).unwrap_or(u64::MAX) >= self.connections {
                tokio::time::sleep(PAUSE).await;
                return;
            }
            identity = identity.saturating_add(1);
            match Connection::open(&key(self.seed, identity), target).await {
                Ok(connection) => {
                    counts.connections = counts.connections.saturating_add(1);
                    let mut streams = Vec::new();
                    for _ in 0..self.streams {
                        let Ok(stream) = self.begin(&connection).await else { break };
                        counts.sent = counts.sent.saturating_add(1);
                        streams.push(stream);
                    }
                    held.push((connection, streams));
                }
                Err(_refused) => {
                    counts.refused = counts.refused.saturating_add(1);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        })
        .await;
        Ok(counts)
    }

    /// Begins something on a stream.
    async fn begin(self, connection: &Connection) -> anyhow::Result<Stream> {
        let mut stream = connection.stream().await?;
        match self.how {
            How::Silent | How::Negotiating => {}
            How::Announced | How::HalfClosed => {
                if let Some(open) = connection.negotiate(names::ENROLL).await? {
                    stream = open;
                }
                // Announces 4,000 bytes and sends a few of them.
                stream.write_all(&[0xa0, 0x0f, 0, 0, 1, 2, 3]).await?;
                stream.flush().await?;
            }
        }
        if self.how == How::HalfClosed {
            stream.close().await?;
        }
        Ok(stream)
    }
}
