//! Requests and responses on a stream: a length (u32, little-endian), then that many canonical bytes.

use std::{fmt, io, marker::PhantomData};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{StreamProtocol, request_response};

use crate::codec::{Canonical, decode, try_encode};

/// Memory set aside before the first byte of a message is there, in bytes.
const FIRST_ALLOCATION: usize = 4 * 1024;

/// The codec of a request-response protocol whose messages are [`Canonical`].
///
/// Neither side reads more than the type's [`Canonical::BYTES_MAX`] and the length before it. Memory grows with
/// what arrives, not with what is announced.
pub struct Codec<Q, A>(PhantomData<fn() -> (Q, A)>);

impl<Q, A> Default for Codec<Q, A> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Q, A> Clone for Codec<Q, A> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<Q, A> fmt::Debug for Codec<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Codec")
    }
}

impl<Q, A> request_response::Codec for Codec<Q, A>
where
    Q: Canonical + Send + 'static,
    A: Canonical + Send + 'static,
{
    type Protocol = StreamProtocol;
    type Request = Q;
    type Response = A;

    async fn read_request<T>(&mut self, _protocol: &StreamProtocol, io: &mut T) -> io::Result<Q>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _protocol: &StreamProtocol, io: &mut T) -> io::Result<A>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(
        &mut self,
        _protocol: &StreamProtocol,
        io: &mut T,
        request: Q,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
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

async fn read<T: Canonical>(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<T> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > T::BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than the protocol allows"));
    }
    let mut body = Vec::with_capacity(length.min(FIRST_ALLOCATION));
    let expected = u64::try_from(length).unwrap_or(u64::MAX);
    io.take(expected).read_to_end(&mut body).await?;
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    decode(&body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};
    use libp2p::request_response::Codec as _;

    use super::*;
    use crate::wire::{enroll::HelloRequest, lease::LeaseResponse};

    const PROTOCOL: StreamProtocol = StreamProtocol::new("/test/1");

    fn codec() -> Codec<HelloRequest, LeaseResponse> {
        Codec::default()
    }

    fn read_request(bytes: &[u8]) -> io::Result<HelloRequest> {
        block_on(codec().read_request(&PROTOCOL, &mut Cursor::new(bytes)))
    }

    #[test]
    fn what_is_written_is_read() {
        let mut wire = Vec::new();
        block_on(codec().write_request(&PROTOCOL, &mut wire, HelloRequest { version: 1 })).unwrap();
        assert_eq!(wire, [2, 0, 0, 0, 1, 0]);
        assert_eq!(read_request(&wire).unwrap(), HelloRequest { version: 1 });

        let mut wire = Vec::new();
        block_on(codec().write_response(&PROTOCOL, &mut wire, LeaseResponse::Done)).unwrap();
        let answer = block_on(codec().read_response(&PROTOCOL, &mut Cursor::new(wire))).unwrap();
        assert_eq!(answer, LeaseResponse::Done);
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_anything_is_read() {
        let error = read_request(&[0xff; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_message_that_is_cut_short_is_refused() {
        assert_eq!(read_request(&[2, 0, 0]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(
            read_request(&[2, 0, 0, 0, 1]).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn bytes_that_are_not_the_value_are_refused() {
        assert_eq!(
            read_request(&[3, 0, 0, 0, 1, 0, 9]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
