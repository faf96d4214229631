//! Bytes that mean nothing, everywhere.

use std::time::Duration;

use anyhow::Context as _;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use protocol::{
    ids::MeshId,
    keys::SecretKey,
    names::{self, MeshProtocol},
    testing::Numbers,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket},
};

use super::{Connection, Counts, Target, flood::key, for_a_while, half_open::socket_address};

/// The longest piece, in bytes.
const PIECE_MAX: usize = 8 * 1024;
/// The pause between two pieces.
const PAUSE: Duration = Duration::from_millis(2);
/// How long it may take until a member that was admitted is spoken with.
const ADMITTED_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// Garbage in place of a handshake, of a negotiation, and of a message on every protocol there is.
#[derive(Debug, Clone, Copy)]
pub struct Garbage {
    /// Which garbage.
    pub seed: u64,
    /// The mesh whose members' protocols are tried too.
    pub mesh: MeshId,
}

impl Garbage {
    /// Attacks for so long.
    ///
    /// # Errors
    ///
    /// If the target's address has no IP address and port, or there are no more sockets.
    pub async fn run(self, target: &Target, duration: Duration) -> anyhow::Result<Counts> {
        let (address, quic) = socket_address(&target.address)?;
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        let protocols = protocols(&self.mesh);
        let mut numbers = Numbers::new(self.seed);
        let mut counts = Counts::default();
        let mut round = 0_usize;
        for_a_while(duration, async || {
            round = round.wrapping_add(1);
            let piece = piece(&mut numbers);
            let sent = if round.is_multiple_of(2) {
                if quic {
                    socket.send_to(piece.get(..1_200).unwrap_or(&piece), address).await.is_ok()
                } else {
                    let raw = async {
                        let mut stream = TcpStream::connect(address).await?;
                        stream.write_all(&piece).await?;
                        stream.shutdown().await
                    };
                    raw.await.is_ok()
                }
            } else {
                let protocol = round.checked_rem(protocols.len()).and_then(|at| protocols.get(at));
                let number = numbers.next();
                match Connection::open(&key(0x6a, number), target).await {
                    Ok(connection) => {
                        counts.connections = counts.connections.saturating_add(1);
                        counts.answers = counts.answers.saturating_add(
                            on_stream(&connection, protocol.map(String::as_str), &piece).await,
                        );
                        true
                    }
                    Err(_) => {
                        counts.refused = counts.refused.saturating_add(1);
                        false
                    }
                }
            };
            counts.sent = counts.sent.saturating_add(sent.into());
            tokio::time::sleep(PAUSE).await;
        })
        .await;
        Ok(counts)
    }
}

/// Sends a piece on a stream, behind a negotiation or without one. Returns 1 if anything came back.
async fn on_stream(connection: &Connection, protocol: Option<&str>, piece: &[u8]) -> u64 {
    let answered = async {
        let mut stream = match protocol {
            Some(protocol) => match connection.negotiate(protocol).await? {
                Some(stream) => stream,
                None => return anyhow::Ok(false),
            },
            None => connection.stream().await?,
        };
        stream.write_all(piece).await?;
        stream.flush().await?;
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await;
        Ok(read.is_ok_and(|read| read.is_ok_and(|read| read > 0)))
    };
    answered.await.unwrap_or(false).into()
}

/// Every protocol that a node may speak, and some that none does.
#[must_use]
pub fn protocols(mesh: &MeshId) -> Vec<String> {
    let open =
        [names::HELLO, names::ENROLL, "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"];
    let others = [
        "/meshsub/1.2.0",
        "/meshsub/1.1.0",
        "/floodsub/1.0.0",
        "/ipfs/kad/1.0.0",
        names::BOOTSTRAP_KAD,
    ];
    let members = MeshProtocol::ALL.iter().map(|protocol| protocol.name(mesh, 0));
    open.iter().chain(&others).map(|name| (*name).to_owned()).chain(members).collect()
}

/// Something to send: bytes that mean nothing, or bytes that begin like a message. The same for the same numbers.
fn piece(numbers: &mut Numbers) -> Vec<u8> {
    let length = numbers.below(PIECE_MAX).max(1);
    let mut bytes: Vec<u8> = (0..length).map(|_| numbers.byte()).collect();
    let fixed = u32::try_from(length.saturating_sub(4)).unwrap_or(u32::MAX).to_le_bytes();
    match numbers.below(4) {
        // As our own protocols frame a message: a length of four bytes, right or far too long.
        0 => copy(&mut bytes, &fixed),
        1 => copy(&mut bytes, &u32::MAX.to_le_bytes()),
        // As protobuf is framed: a short length, then a field of each kind in turn.
        2 => {
            let kind = u8::try_from(numbers.below(6)).unwrap_or(0);
            copy(&mut bytes, &[0x7f, 0x08 | kind, 0xff, 0xff, 0xff, 0x0f]);
        }
        _ => {}
    }
    bytes
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Sends so many pieces on each protocol that a node speaks with its members, each as another member: who sends garbage
/// is cut off after a few. `identity` makes the members.
///
/// # Errors
///
/// If a member cannot connect, or is not spoken to at first.
pub async fn as_members(
    target: &Target,
    mesh: &MeshId,
    pieces: usize,
    mut identity: impl AsyncFnMut(usize) -> anyhow::Result<SecretKey>,
) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    let mut numbers = Numbers::new(0x6d);
    let gossip = ["/meshsub/1.2.0".to_owned(), "/meshsub/1.1.0".to_owned()];
    let open = [names::HELLO, names::ENROLL, "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"];
    let members = MeshProtocol::ALL.iter().map(|protocol| protocol.name(mesh, 0));
    let protocols = members.chain(gossip).chain(open.map(str::to_owned));
    for (number, protocol) in protocols.enumerate() {
        let connection = spoken_with(&identity(number).await?, target, &protocol).await?;
        counts.connections = counts.connections.saturating_add(1);
        for attempt in 0..pieces {
            let piece = piece(&mut numbers);
            match connection.negotiate(&protocol).await {
                Ok(Some(mut stream)) => {
                    // It may be cut off in the middle: that is what is tried.
                    let _ended = stream.write_all(&piece).await;
                    let _closed = stream.close().await;
                    counts.sent = counts.sent.saturating_add(1);
                }
                Ok(None) => {}
                // It was cut off, or is about to be.
                Err(_) if attempt > 0 => {
                    counts.closed = counts.closed.saturating_add(1);
                    break;
                }
                Err(error) => return Err(error.context(protocol)),
            }
        }
    }
    Ok(counts)
}

/// Connects as a member. A node hears of a new member a moment after it was admitted: until then it is dialled again.
async fn spoken_with(
    key: &SecretKey,
    target: &Target,
    protocol: &str,
) -> anyhow::Result<Connection> {
    let asking = async {
        loop {
            if let Ok(connection) = Connection::open(key, target).await
                && let Ok(Some(_stream)) = connection.negotiate(protocol).await
            {
                return connection;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let spoken = tokio::time::timeout(ADMITTED_WITHIN, asking).await;
    spoken.with_context(|| format!("{protocol} is not spoken with a member"))
}
