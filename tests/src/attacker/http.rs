//! Programs that misuse the API of the node on their own machine.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use protocol::testing::Numbers;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

use super::{Counts, for_a_while};

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(50);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(50);
/// The longest piece of garbage, in bytes.
const PIECE_MAX: usize = 4 * 1024;

/// Where the API is.
#[derive(Debug, Clone)]
pub enum Place {
    /// A port on loopback.
    Port(SocketAddr),
    /// The socket in the data directory.
    Socket(PathBuf),
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpHow {
    /// Nothing.
    Silent,
    /// A head of which one byte follows the other, slowly, and never all.
    Trickling,
    /// A head that announces a body which does not come.
    Bodiless,
    /// A request, and the end of the stream in this direction, with the answer never read.
    Unread,
    /// Bytes that are no request, each on a connection of its own.
    Garbage,
}

/// Connections to the API.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where it is.
    pub place: Place,
    /// What is sent.
    pub how: HttpHow,
    /// Connections that are held at a time.
    pub connections: usize,
}

/// A connection of either kind.
trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for T {}

impl Http {
    /// Attacks for so long: what the node closes is made anew.
    ///
    /// # Errors
    ///
    /// None that the node can cause.
    pub async fn run(self, duration: Duration) -> anyhow::Result<Counts> {
        let mut counts = Counts::default();
        let mut numbers = Numbers::default();
        let mut held: Vec<Box<dyn Pipe>> = Vec::new();
        for_a_while(duration, async || {
            if self.how == HttpHow::Trickling {
                let mut open = Vec::new();
                for mut pipe in std::mem::take(&mut held) {
                    if pipe.write_all(b"x").await.is_ok() {
                        open.push(pipe);
                    } else {
                        counts.closed = counts.closed.saturating_add(1);
                    }
                }
                held = open;
            }
            if held.len() >= self.connections {
                tokio::time::sleep(PAUSE).await;
                return;
            }
            match self.begin(&mut numbers).await {
                Ok(mut pipe) => {
                    counts.connections = counts.connections.saturating_add(1);
                    counts.sent = counts.sent.saturating_add(1);
                    if self.how == HttpHow::Garbage {
                        let mut byte = [0];
                        let read = tokio::time::timeout(PATIENCE, pipe.read(&mut byte)).await;
                        let answered = read.is_ok_and(|read| read.is_ok_and(|read| read > 0));
                        counts.answers = counts.answers.saturating_add(answered.into());
                    } else {
                        held.push(pipe);
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

    async fn begin(&self, numbers: &mut Numbers) -> std::io::Result<Box<dyn Pipe>> {
        let mut pipe: Box<dyn Pipe> = match &self.place {
            Place::Port(address) => Box::new(TcpStream::connect(address).await?),
            Place::Socket(path) => Box::new(UnixStream::connect(path).await?),
        };
        match self.how {
            HttpHow::Silent => {}
            HttpHow::Trickling => {
                pipe.write_all(b"GET /api/v1/status HTTP/1.1\r\nx-slow: ").await?
            }
            HttpHow::Bodiless => {
                let head = b"POST /api/v1/blobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\nx";
                pipe.write_all(head).await?;
            }
            HttpHow::Unread => {
                let head = b"GET /api/v1/nodes HTTP/1.1\r\nhost: localhost\r\n\r\n";
                pipe.write_all(&head.repeat(64)).await?;
                pipe.shutdown().await?;
            }
            HttpHow::Garbage => {
                let length = numbers.below(PIECE_MAX);
                let piece: Vec<u8> = (0..length).map(|_| numbers.byte()).collect();
                let heads: [&[u8]; 4] =
                    [b"", b"GET ", b"POST / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\n"];
                pipe.write_all(numbers.pick(&heads).copied().unwrap_or_default()).await?;
                pipe.write_all(&piece).await?;
            }
        }
        pipe.flush().await?;
        Ok(pipe)
    }
}
