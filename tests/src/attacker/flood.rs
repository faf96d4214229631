//! More messages than anybody should send.

use std::{collections::VecDeque, time::Duration};

use protocol::{codec::encode, keys::SecretKey, names, wire::enroll::HelloRequest};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Connection, Counts, Target, connection::framed, for_a_while};

/// The rate is spread over a second in so many bursts.
const BURSTS_PER_SECOND: u32 = 100;
/// The time from one burst to the next.
const BURST_EVERY: Duration = Duration::from_millis(10);
/// Streams that are kept open, so that what was sent on them arrives.
const OPEN_MAX: usize = 64;
/// The pause after a refused connection, so that the attacker does not only burn its own processor.
const PAUSE: Duration = Duration::from_millis(5);

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Well-formed questions that anybody may ask, only too many.
    Hello,
    /// Bytes that are no message, where a request to join is expected.
    BogusEnroll,
    /// A length above every limit, and bytes after it.
    Oversized,
    /// Bytes that are no message, on a protocol of members.
    Member,
}

/// Messages at a rate, on one connection after the other: when the target closes one, the next is made.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// How many a second. Fewer are sent if the target does not take more.
    pub per_second: u32,
    /// What.
    pub message: Message,
    /// Whether each new connection has a new identity.
    pub new_identities: bool,
    /// Where the identities come from.
    pub seed: u8,
}

impl Flood {
    /// 10,000 bogus requests to join per second, with ever new identities.
    #[must_use]
    pub const fn bogus() -> Self {
        Self { per_second: 10_000, message: Message::BogusEnroll, new_identities: true, seed: 0xf1 }
    }

    /// Attacks for so long.
    ///
    /// # Errors
    ///
    /// None that the target can cause.
    pub async fn run(self, target: &Target, duration: Duration) -> anyhow::Result<Counts> {
        let (protocol, message) = self.message.bytes()?;
        let mut counts = Counts::default();
        let mut identity = 0_u64;
        let mut pace = interval(BURST_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for_a_while(duration, async || {
            let key = key(self.seed, if self.new_identities { identity } else { 0 });
            identity = identity.saturating_add(1);
            match Connection::open(&key, target).await {
                Ok(connection) => {
                    let sent = counts.sent;
                    self.pour(&connection, (&protocol, &message), &mut pace, &mut counts).await;
                    if counts.sent == sent {
                        counts.refused = counts.refused.saturating_add(1);
                    } else {
                        counts.connections = counts.connections.saturating_add(1);
                        counts.closed = counts.closed.saturating_add(1);
                    }
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

    /// Sends until the connection breaks.
    async fn pour(
        self,
        connection: &Connection,
        (protocol, message): (&str, &[u8]),
        pace: &mut Interval,
        counts: &mut Counts,
    ) {
        let burst = (self.per_second / BURSTS_PER_SECOND).max(1);
        // A stream that is dropped at once is reset, and what was sent on it is not looked at.
        let mut open = VecDeque::new();
        loop {
            pace.tick().await;
            for _ in 0..burst {
                let Ok(stream) = connection.shout(protocol, message).await else { return };
                open.push_back(stream);
                if open.len() > OPEN_MAX {
                    open.pop_front();
                }
                counts.sent = counts.sent.saturating_add(1);
            }
        }
    }
}

impl Message {
    /// The protocol that it is sent on, and its bytes.
    fn bytes(self) -> anyhow::Result<(String, Vec<u8>)> {
        Ok(match self {
            Self::Hello => (
                names::HELLO.to_owned(),
                framed(&HelloRequest { version: protocol::wire::VERSION })?,
            ),
            Self::BogusEnroll => {
                let bogus = encode(&HelloRequest { version: u16::MAX }).repeat(64);
                let length = u32::try_from(bogus.len())?;
                (names::ENROLL.to_owned(), [length.to_le_bytes().as_slice(), &bogus].concat())
            }
            Self::Oversized => {
                let bytes = [u32::MAX.to_le_bytes().as_slice(), &[0xa5; 60 * 1024]].concat();
                (names::ENROLL.to_owned(), bytes)
            }
            Self::Member => {
                let mesh = protocol::ids::MeshId([0xee; 32]);
                (names::MeshProtocol::Client.name(&mesh, 0), vec![0xa5; 1024])
            }
        })
    }
}

/// The identity of that number.
pub(super) fn key(seed: u8, number: u64) -> SecretKey {
    let mut bytes = [seed; 32];
    for (byte, of_number) in bytes.iter_mut().zip(number.to_le_bytes()) {
        *byte = of_number;
    }
    SecretKey::from_seed(&bytes)
}
