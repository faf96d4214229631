//! The runner's end of the socket.

use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
};

use protocol::codec::Canonical;

use super::Error;
use crate::frames::{self, LENGTH_BYTES, Order, Reply};

/// Parts of a reply up to this size are sent in one go, in bytes.
const TOGETHER_BYTES_MAX: usize = 64 * 1024;

/// The runner's end of the socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: UnixStream,
}

impl Socket {
    /// The socket that the node made our standard input.
    pub(super) fn from_stdin() -> io::Result<Self> {
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        stream.set_nonblocking(false)?;
        Ok(Self { stream })
    }

    /// A second handle, to see whether the node has hung up.
    pub(super) fn try_clone(&self) -> io::Result<UnixStream> {
        self.stream.try_clone()
    }

    /// The next order; `None` if the node has hung up.
    pub(super) fn order(&mut self) -> Result<Option<Order>, Error> {
        let mut length = [0; LENGTH_BYTES];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(Error::Socket(error)),
        }
        let header =
            self.bulk(u64::try_from(frames::header_length(length)?).unwrap_or(u64::MAX))?;
        Ok(Some(frames::header(&header)?))
    }

    /// So many bytes of bulk. The node is trusted with the number: it knows what it sends.
    pub(super) fn bulk(&mut self, bytes: u64) -> Result<Vec<u8>, Error> {
        let mut bulk = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        let read = (&self.stream).take(bytes).read_to_end(&mut bulk).map_err(Error::Socket)?;
        if u64::try_from(read).ok() == Some(bytes) {
            Ok(bulk)
        } else {
            Err(Error::Socket(io::ErrorKind::UnexpectedEof.into()))
        }
    }

    /// Sends a reply and its bulk.
    pub(super) fn reply(&mut self, reply: &Reply, bulk: &[&[u8]]) -> Result<(), Error> {
        let mut pending = head(reply)?;
        for part in bulk {
            if pending.len().saturating_add(part.len()) > TOGETHER_BYTES_MAX {
                self.stream.write_all(&pending).map_err(Error::Socket)?;
                pending.clear();
            }
            if part.len() > TOGETHER_BYTES_MAX {
                self.stream.write_all(part).map_err(Error::Socket)?;
            } else {
                pending.extend_from_slice(part);
            }
        }
        self.stream.write_all(&pending).map_err(Error::Socket)
    }
}

fn head<T: Canonical>(header: &T) -> Result<Vec<u8>, Error> {
    Ok(frames::head(header)?)
}
