//! Requests and responses on a stream: a length (u32, little-endian), then that many canonical bytes.

use std::{error, fmt, io, marker::PhantomData, time::Duration};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{StreamProtocol, request_response};

use super::{Budget, Permit};
use crate::codec::{Canonical, decode, try_encode};

/// Memory set aside before the first byte of a message is there, in bytes.
const FIRST_ALLOCATION: usize = 4 * 1024;
/// How long the first bytes of a request may take once its stream is open.
const PATIENCE: Duration = Duration::from_secs(5);
/// How fast the rest has to follow, in bytes per second, at least.
const SLOWEST: usize = 64 * 1024;

/// The codec of a request-response protocol whose messages are [`Canonical`].
///
/// Neither side reads more than the type's [`Canonical::BYTES_MAX`] and the length before it. Memory grows with
/// what arrives, not with what is announced. With a [`Budget`], a request's body is read only once there is room for
/// it, and its part of the budget is held until whoever handles the request drops it.
pub struct Codec<Q, A> {
    budget: Option<Budget>,
    messages: PhantomData<fn() -> (Q, A)>,
}

impl<Q, A> Codec<Q, A> {
    /// A codec that reads requests within a budget.
    #[must_use]
    pub const fn within(budget: Budget) -> Self {
        Self { budget: Some(budget), messages: PhantomData }
    }
}

/// A request, on its way out or in.
#[derive(Debug)]
pub enum Asked<Q> {
    /// The request, and the memory that it may hold.
    Request(Q, Permit),
    /// There was no room to read it.
    NoRoom,
    /// It is none. Handed on like a request, because request-response says nothing about what it could not read: then
    /// nobody would know who sent it.
    Flawed(Flaw),
}

impl<Q> From<Q> for Asked<Q> {
    fn from(request: Q) -> Self {
        Self::Request(request, Permit::default())
    }
}

/// What is wrong with a message, as the source of an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Longer than its protocol allows.
    TooLong,
    /// Not a value of its type.
    Malformed,
    /// Not there in time, or broken off.
    Stalled,
}

impl Flaw {
    /// What is wrong with the message that an error is about, if that is what it is about.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref().and_then(|source| source.downcast_ref()).copied()
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "longer than the protocol allows",
            Self::Malformed => "not a message of the protocol",
            Self::Stalled => "not all of it came in time",
        })
    }
}

impl error::Error for Flaw {}

impl From<Flaw> for io::Error {
    fn from(flaw: Flaw) -> Self {
        let kind = match flaw {
            Flaw::TooLong | Flaw::Malformed => io::ErrorKind::InvalidData,
            Flaw::Stalled => io::ErrorKind::TimedOut,
        };
        Self::new(kind, flaw)
    }
}

impl<Q, A> Default for Codec<Q, A> {
    fn default() -> Self {
        Self { budget: None, messages: PhantomData }
    }
}

impl<Q, A> Clone for Codec<Q, A> {
    fn clone(&self) -> Self {
        Self { budget: self.budget.clone(), messages: PhantomData }
    }
}

impl<Q, A> fmt::Debug for Codec<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").field("budget", &self.budget).finish()
    }
}

impl<Q, A> request_response::Codec for Codec<Q, A>
where
    Q: Canonical + Send + 'static,
    A: Canonical + Send + 'static,
{
    type Protocol = StreamProtocol;
    type Request = Asked<Q>;
    type Response = A;

    async fn read_request<T>(
        &mut self,
        _protocol: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Asked<Q>>
    where
        T: AsyncRead + Unpin + Send,
    {
        match read_asked(self.budget.as_ref(), io).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(Asked::Flawed(Flaw::Stalled))
            }
            Err(error) => Flaw::of(&error).map(Asked::Flawed).ok_or(error),
            asked @ Ok(_) => asked,
        }
    }

    async fn read_response<T>(&mut self, _protocol: &StreamProtocol, io: &mut T) -> io::Result<A>
    where
        T: AsyncRead + Unpin + Send,
    {
        let length = read_length::<A>(io).await?;
        read_body(io, length).await
    }

    async fn write_request<T>(
        &mut self,
        _protocol: &StreamProtocol,
        io: &mut T,
        request: Asked<Q>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let Asked::Request(request, _) = request else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let bytes = framed(&request)?;
        drop(request);
        io.write_all(&bytes).await
    }

    async fn write_response<T>(
        &mut self,
        _protocol: &StreamProtocol,
        io: &mut T,
        response: A,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let bytes = framed(&response)?;
        drop(response);
        io.write_all(&bytes).await
    }
}

/// A value behind its length.
fn framed<T: Canonical>(value: &T) -> io::Result<Vec<u8>> {
    let body =
        try_encode(value).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let length = u32::try_from(body.len())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok([length.to_le_bytes().as_slice(), &body].concat())
}

/// A request, as soon as there is room for it.
async fn read_asked<Q: Canonical>(
    budget: Option<&Budget>,
    io: &mut (impl AsyncRead + Unpin + Send),
) -> io::Result<Asked<Q>> {
    let length = in_time(PATIENCE, read_length::<Q>(io)).await?;
    let permit = match budget {
        Some(budget) => match budget.take(length).await {
            Some(permit) => permit,
            None => return Ok(Asked::NoRoom),
        },
        None => Permit::default(),
    };
    let seconds = u64::try_from(length / SLOWEST).unwrap_or(u64::MAX);
    let patience = PATIENCE.saturating_add(Duration::from_secs(seconds));
    let request = in_time(patience, read_body(io, length)).await?;
    Ok(Asked::Request(request, permit))
}

/// The length of a message.
async fn read_length<T: Canonical>(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<usize> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > T::BYTES_MAX { Err(Flaw::TooLong.into()) } else { Ok(length) }
}

/// As many bytes, and the message that they are.
async fn read_body<T: Canonical>(
    io: &mut (impl AsyncRead + Unpin + Send),
    length: usize,
) -> io::Result<T> {
    let mut body = Vec::with_capacity(length.min(FIRST_ALLOCATION));
    let expected = u64::try_from(length).unwrap_or(u64::MAX);
    io.take(expected).read_to_end(&mut body).await?;
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    decode(&body).map_err(|_| Flaw::Malformed.into())
}

async fn in_time<T>(
    limit: Duration,
    reading: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| Err(Flaw::Stalled.into()))
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;

    use super::*;
    use crate::wire::{
        enroll::HelloRequest,
        lease::{LeaseRequest, LeaseResponse},
    };

    const PROTOCOL: StreamProtocol = StreamProtocol::new("/test/1");

    fn codec() -> Codec<HelloRequest, LeaseResponse> {
        Codec::within(Budget::default())
    }

    async fn read_request(bytes: &[u8]) -> io::Result<HelloRequest> {
        match codec().read_request(&PROTOCOL, &mut Cursor::new(bytes)).await? {
            Asked::Request(request, _) => Ok(request),
            Asked::NoRoom => panic!("there is room"),
            Asked::Flawed(flaw) => Err(flaw.into()),
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let mut wire = Vec::new();
        let hello = HelloRequest { version: 1 };
        codec().write_request(&PROTOCOL, &mut wire, hello.into()).await.unwrap();
        assert_eq!(wire, [2, 0, 0, 0, 1, 0]);
        assert_eq!(read_request(&wire).await.unwrap(), HelloRequest { version: 1 });

        let mut wire = Vec::new();
        codec().write_response(&PROTOCOL, &mut wire, LeaseResponse::Done).await.unwrap();
        let answer = codec().read_response(&PROTOCOL, &mut Cursor::new(wire)).await.unwrap();
        assert_eq!(answer, LeaseResponse::Done);
    }

    #[tokio::test]
    async fn a_length_over_the_limit_is_refused_before_anything_is_read() {
        let error = read_request(&[0xff; 4]).await.unwrap_err();
        assert_eq!(Flaw::of(&error), Some(Flaw::TooLong));
    }

    #[tokio::test]
    async fn a_message_that_is_cut_short_is_refused() {
        for cut in [[2, 0, 0].as_slice(), &[2, 0, 0, 0, 1]] {
            let error = read_request(cut).await.unwrap_err();
            assert_eq!(Flaw::of(&error), Some(Flaw::Stalled));
        }
    }

    #[tokio::test]
    async fn bytes_that_are_not_the_value_are_refused() {
        let error = read_request(&[3, 0, 0, 0, 1, 0, 9]).await.unwrap_err();
        assert_eq!(Flaw::of(&error), Some(Flaw::Malformed));
    }

    /// The beginning of a message, and then nothing for ever.
    fn stalled(beginning: &[u8]) -> impl AsyncRead + Unpin + Send {
        Cursor::new(beginning.to_vec()).chain(Never)
    }

    struct Never;

    impl AsyncRead for Never {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
            _buffer: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::task::Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_go_on_is_given_up_and_gives_its_memory_back() {
        let budget = Budget::default();
        let mut codec = Codec::<LeaseRequest, LeaseResponse>::within(budget.clone());
        for beginning in [[1, 0].as_slice(), &[0, 0, 8, 0, 1, 2, 3]] {
            let mut io = stalled(beginning);
            let asked = codec.read_request(&PROTOCOL, &mut io).await.unwrap();
            assert!(matches!(asked, Asked::Flawed(Flaw::Stalled)), "{asked:?}");
        }
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_not_read_while_there_is_no_room_for_it() {
        let budget = Budget::default();
        let mut held = Vec::new();
        while let Some(permit) = budget.take(1024 * 1024).await {
            held.push(permit);
        }
        let mut codec = Codec::<LeaseRequest, LeaseResponse>::within(budget);
        let mut io = Cursor::new([&[0, 0, 8, 0], [0xff; 512].as_slice()].concat());
        let asked = codec.read_request(&PROTOCOL, &mut io).await.unwrap();
        assert!(matches!(asked, Asked::NoRoom));
        assert_eq!(io.position(), 4, "only the length was read");
    }
}
