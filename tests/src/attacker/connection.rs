//! A connection below every protocol: streams, and bytes on them.

use std::{future::poll_fn, task::Poll, time::Duration};

use anyhow::{Context as _, bail, ensure};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{
    Transport as _,
    core::{
        Endpoint,
        muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox},
        transport::{DialOpts, PortUse},
    },
};
use protocol::{
    codec::{Canonical, decode, encode},
    keys::SecretKey,
    net,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::Target;

/// How long the target may take for one step.
const PATIENCE: Duration = Duration::from_secs(10);
/// Streams that wait to be opened.
const OPENS_MAX: usize = 256;
/// The longest line of the negotiation, in bytes.
const LINE_MAX: u64 = 4 * 1024;
/// The longest answer that is read, in bytes.
const ANSWER_MAX: u64 = 2 * 1024 * 1024;
/// What both ends of a stream say first.
const MULTISTREAM: &str = "/multistream/1.0.0";

/// A stream: bytes in, bytes out.
pub type Stream = SubstreamBox;

/// A connection after its handshake. It is closed when this is dropped.
#[derive(Debug)]
pub struct Connection {
    opens: mpsc::Sender<oneshot::Sender<Stream>>,
    /// Ends when the connection does.
    _driver: JoinSet<()>,
}

impl Connection {
    /// Connects with an identity, and shakes hands.
    ///
    /// # Errors
    ///
    /// If the target is not reached, refuses, or is another.
    pub async fn open(key: &SecretKey, target: &Target) -> anyhow::Result<Self> {
        let mut transport = net::tcp_quic(&net::keypair(key))?;
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = transport.dial(target.address.clone(), opts)?;
        let (peer, muxer) =
            tokio::time::timeout(PATIENCE, dial).await.context("no handshake in time")??;
        ensure!(peer == target.peer, "{peer} answers instead of {}", target.peer);
        let (opens, wanted) = mpsc::channel(OPENS_MAX);
        let mut driver = JoinSet::new();
        driver.spawn(drive(muxer, wanted));
        Ok(Self { opens, _driver: driver })
    }

    /// Whether the target has closed it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.opens.is_closed()
    }

    /// Waits until the target closes it.
    ///
    /// # Errors
    ///
    /// If it does not within `limit`.
    pub async fn closed(&self, limit: Duration) -> anyhow::Result<()> {
        tokio::time::timeout(limit, self.opens.closed()).await.context("still connected")
    }

    /// Opens a stream on which nothing was said yet.
    ///
    /// # Errors
    ///
    /// If the connection is gone, or the target does not let it happen in time.
    pub async fn stream(&self) -> anyhow::Result<Stream> {
        let (reply, stream) = oneshot::channel();
        self.opens.send(reply).await.ok().context("the connection is gone")?;
        tokio::time::timeout(PATIENCE, stream)
            .await
            .context("no stream in time")?
            .context("the connection is gone")
    }

    /// Opens a stream for a protocol; `None` if the target says that it does not speak it.
    ///
    /// # Errors
    ///
    /// If the connection or the stream breaks.
    pub async fn negotiate(&self, protocol: &str) -> anyhow::Result<Option<Stream>> {
        let mut stream = self.stream().await?;
        stream.write_all(&lines(&[MULTISTREAM, protocol])?).await?;
        stream.flush().await?;
        let answer = tokio::time::timeout(PATIENCE, async {
            let greeting = line(&mut stream).await?;
            ensure!(greeting == MULTISTREAM, "not a negotiation: {greeting:?}");
            line(&mut stream).await
        });
        match answer.await.context("no word about the protocol")??.as_str() {
            "na" => Ok(None),
            same if same == protocol => Ok(Some(stream)),
            other => bail!("not an answer: {other:?}"),
        }
    }

    /// The protocols that the target says it speaks; empty if it does not say.
    ///
    /// # Errors
    ///
    /// If the connection or the stream breaks.
    pub async fn list(&self) -> anyhow::Result<Vec<String>> {
        let mut stream = self.stream().await?;
        stream.write_all(&lines(&[MULTISTREAM, "ls"])?).await?;
        stream.close().await?;
        let mut said = Vec::new();
        let mut stream = stream.take(LINE_MAX);
        let reading = stream.read_to_end(&mut said);
        let _length = tokio::time::timeout(PATIENCE, reading).await.context("no list in time")?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let names =
            said.split('\n').filter_map(|line| Some(line.get(line.find('/')?..)?.to_owned()));
        Ok(names.filter(|name| name != MULTISTREAM).collect())
    }

    /// Sends one message and closes, without waiting for anything: negotiation and message in one go.
    ///
    /// # Errors
    ///
    /// If the connection or the stream breaks.
    pub async fn shout(&self, protocol: &str, message: &[u8]) -> anyhow::Result<Stream> {
        let mut stream = self.stream().await?;
        let mut bytes = lines(&[MULTISTREAM, protocol])?;
        bytes.extend_from_slice(message);
        stream.write_all(&bytes).await?;
        stream.close().await?;
        Ok(stream)
    }

    /// Asks as an honest peer does.
    ///
    /// # Errors
    ///
    /// If the protocol is not spoken, or the answer is none.
    pub async fn ask<Q: Canonical, A: Canonical>(
        &self,
        protocol: &str,
        question: &Q,
    ) -> anyhow::Result<A> {
        let mut stream =
            self.negotiate(protocol).await?.with_context(|| format!("{protocol} is not spoken"))?;
        stream.write_all(&framed(question)?).await?;
        stream.close().await?;
        let mut answer = Vec::new();
        let mut stream = stream.take(ANSWER_MAX);
        let reading = stream.read_to_end(&mut answer);
        tokio::time::timeout(PATIENCE, reading).await.context("no answer in time")??;
        let body = answer.get(4..).context("the stream was closed without an answer")?;
        Ok(decode(body)?)
    }
}

/// A message behind its length, as it goes over a stream.
pub(super) fn framed<T: Canonical>(message: &T) -> anyhow::Result<Vec<u8>> {
    let body = encode(message);
    let length = u32::try_from(body.len())?;
    Ok([length.to_le_bytes().as_slice(), &body].concat())
}

/// Opens streams as they are wanted, and drops those that the target opens.
async fn drive(mut muxer: StreamMuxerBox, mut wanted: mpsc::Receiver<oneshot::Sender<Stream>>) {
    let mut opening: Option<oneshot::Sender<Stream>> = None;
    poll_fn(|cx| {
        loop {
            match muxer.poll_inbound_unpin(cx) {
                Poll::Ready(Ok(_stream)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        loop {
            if opening.is_none() {
                match wanted.poll_recv(cx) {
                    Poll::Ready(Some(reply)) => opening = Some(reply),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            match muxer.poll_outbound_unpin(cx) {
                Poll::Ready(Ok(stream)) => {
                    // Whoever wanted it may have lost patience.
                    let _gone = opening.take().map(|reply| reply.send(stream));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        match muxer.poll_unpin(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// Lines of a negotiation: each behind its length.
fn lines(texts: &[&str]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for text in texts {
        let mut length = text.len().saturating_add(1);
        while length > 0x7f {
            bytes.push(u8::try_from(length & 0x7f)? | 0x80);
            length >>= 7;
        }
        bytes.push(u8::try_from(length)?);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The next line of a negotiation, without its end.
async fn line(stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<String> {
    let (mut length, mut shift) = (0_u64, 0_u32);
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        let [byte] = byte;
        length |= u64::from(byte & 0x7f).checked_shl(shift).context("a length of a length")?;
        if byte & 0x80 == 0 {
            break;
        }
        shift = shift.saturating_add(7);
    }
    ensure!(length <= LINE_MAX, "a line of {length} bytes");
    let mut text = Vec::new();
    stream.take(length).read_to_end(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).trim_end_matches('\n').to_owned())
}
