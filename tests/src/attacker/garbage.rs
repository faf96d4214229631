//! Bytes that mean nothing, everywhere.

use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use protocol::{
    ids::MeshId,
    names::{self, MeshProtocol},
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
        let mut random = Random(self.seed | 1);
        let mut counts = Counts::default();
        let mut round = 0_usize;
        for_a_while(duration, async || {
            round = round.wrapping_add(1);
            let piece = random.piece();
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
                let number = random.next();
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
    let members = MeshProtocol::ALL.iter().map(|protocol| protocol.name(mesh));
    open.iter().chain(&others).map(|name| (*name).to_owned()).chain(members).collect()
}

/// xorshift64*: the same garbage for the same seed.
#[derive(Debug, Clone, Copy)]
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn piece(&mut self) -> Vec<u8> {
        let length = usize::try_from(self.next()).unwrap_or(0) % PIECE_MAX;
        let words = length.div_ceil(8).max(1);
        (0..words).flat_map(|_| self.next().to_le_bytes()).collect()
    }
}
