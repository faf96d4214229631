//! The client of the local API: HTTP/1.1 over the node's Unix socket, or over TCP on this machine.
//!
//! One connection at a time, opened when it is needed and used again while the node keeps it.

mod target;

use std::{io, path::Path};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use portal_api::{
    ErrorCode, Problem,
    views::{Document, Kind},
};
use protocol::ids::Hash;
use serde::{Serialize, de::DeserializeOwned};
use tokio::task::JoinSet;
use tokio_util::io::ReaderStream;

pub use target::Target;

use super::error::CliError;

/// The largest answer that is not a blob, in bytes. A page of 500 results with 1,000 files each stays below it.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What is read of a file at a time, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A client of one node.
#[derive(Debug)]
pub struct Client {
    target: Target,
    connection: Option<SendRequest<Body>>,
    /// Drives the connection; ends with the client.
    drivers: JoinSet<()>,
}

/// What is sent with a request.
#[derive(Debug, Clone)]
pub enum Upload<'a> {
    /// These bytes.
    Bytes(Bytes),
    /// The content of a file.
    File(&'a Path),
}

impl Client {
    /// A client that has not connected yet.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self { target, connection: None, drivers: JoinSet::new() }
    }

    /// Asks for a document.
    ///
    /// Cancel safe: dropping it withdraws the question.
    ///
    /// # Errors
    ///
    /// `daemon-unreachable` if no node answers, and whatever the node says.
    pub async fn get<T: Kind + DeserializeOwned>(&mut self, path: &str) -> Result<T, CliError> {
        let answer = self.ask(Method::GET, path, None).await?;
        document(&answer)
    }

    /// Sends a change, with a body or without.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub async fn post<T: Kind + DeserializeOwned>(
        &mut self,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T, CliError> {
        let body = match body {
            Some(body) => {
                let text = serde_json::to_vec(body)
                    .map_err(|error| CliError::internal(error.to_string()))?;
                Some(Bytes::from(text))
            }
            None => None,
        };
        let answer = self.ask(Method::POST, path, body).await?;
        document(&answer)
    }

    /// Sends a change of something that there is.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub async fn patch<T: Kind + DeserializeOwned>(
        &mut self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, CliError> {
        let text =
            serde_json::to_vec(body).map_err(|error| CliError::internal(error.to_string()))?;
        let answer = self.ask(Method::PATCH, path, Some(Bytes::from(text))).await?;
        document(&answer)
    }

    /// Asks for text.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub async fn text(&mut self, path: &str) -> Result<Bytes, CliError> {
        self.ask(Method::GET, path, None).await
    }

    /// Whether the node has some content already.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub async fn has_blob(&mut self, hash: Hash) -> Result<bool, CliError> {
        let request = self.request(Method::HEAD, &format!("/api/v1/blobs/{hash}"), empty())?;
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(CliError::new(
                ErrorCode::of_status(status),
                "the node does not say what content it has",
            )),
        }
    }

    /// Uploads some content.
    ///
    /// # Errors
    ///
    /// As [`Self::get`]; also if the file cannot be read.
    pub async fn put_blob(&mut self, upload: Upload<'_>) -> Result<Hash, CliError> {
        let body = match upload {
            Upload::Bytes(bytes) => full(bytes),
            Upload::File(path) => {
                let file = tokio::fs::File::open(path)
                    .await
                    .map_err(|error| CliError::unreadable(path, &error))?;
                let frames = ReaderStream::with_capacity(file, CHUNK_BYTES).map_ok(Frame::data);
                UnsyncBoxBody::new(StreamBody::new(frames))
            }
        };
        let mut request = self.request(Method::POST, "/api/v1/blobs", body)?;
        let octets = header::HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert(header::CONTENT_TYPE, octets);
        let answer = self.answer(request).await?;
        document::<portal_api::views::Blob>(&answer).map(|blob| blob.hash)
    }

    /// Fetches some content and writes it, checking that it is what its hash says.
    ///
    /// # Errors
    ///
    /// As [`Self::get`]; `internal` if the content is another; whatever writing says, as `unwritable` makes it.
    pub async fn fetch_blob(
        &mut self,
        hash: Hash,
        sink: &mut (dyn io::Write + Send),
        unwritable: &(dyn Fn(&io::Error) -> CliError + Sync),
    ) -> Result<u64, CliError> {
        let request = self.request(Method::GET, &format!("/api/v1/blobs/{hash}"), empty())?;
        let response = self.send(request).await?;
        if !response.status().is_success() {
            return Err(problem(response).await);
        }
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0_u64;
        let mut frames = response.into_body().into_data_stream();
        while let Some(chunk) = frames.next().await {
            let chunk = chunk.map_err(|error| self.lost(&error))?;
            hasher.update(&chunk);
            bytes = bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            sink.write_all(&chunk).map_err(|error| unwritable(&error))?;
        }
        if *hasher.finalize().as_bytes() != hash.0 {
            return Err(CliError::internal(format!("the node sent something else than {hash}")));
        }
        Ok(bytes)
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Bytes, CliError> {
        let has_body = body.is_some();
        let mut request = self.request(method, path, body.map_or_else(empty, full))?;
        if has_body {
            let json = header::HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        self.answer(request).await
    }

    /// Sends a request and reads the whole answer.
    async fn answer(&mut self, request: Request<Body>) -> Result<Bytes, CliError> {
        let response = self.send(request).await?;
        if !response.status().is_success() {
            return Err(problem(response).await);
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        match body.collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => Err(self.lost(error.as_ref())),
        }
    }

    fn request(&self, method: Method, path: &str, body: Body) -> Result<Request<Body>, CliError> {
        let mut request =
            Request::builder().method(method).uri(path).header(header::HOST, self.target.host());
        if let Target::Tcp { token: Some(token), .. } = &self.target {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(body).map_err(|error| CliError::internal(error.to_string()))
    }

    /// Sends a request over the connection that there is. If the node has closed that one in the meantime, the
    /// request was not sent and goes over a new one.
    async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, CliError> {
        let request = match self.connection.take() {
            None => request,
            Some(mut connection) => match connection.ready().await {
                Err(_) => request,
                Ok(()) => match connection.try_send_request(request).await {
                    Ok(response) => {
                        self.connection = Some(connection);
                        return Ok(response);
                    }
                    Err(mut error) => match error.take_message() {
                        Some(request) => request,
                        None => return Err(self.lost(error.error())),
                    },
                },
            },
        };
        let mut connection = self.connect().await?;
        let response = connection.send_request(request).await.map_err(|error| self.lost(&error))?;
        self.connection = Some(connection);
        Ok(response)
    }

    async fn connect(&mut self) -> Result<SendRequest<Body>, CliError> {
        match &self.target {
            Target::Unix(path) => {
                let stream = crate::home::connect(path).and_then(tokio::net::UnixStream::from_std);
                let stream = stream.map_err(|error| self.unreachable(&error))?;
                self.shake_hands(TokioIo::new(stream)).await
            }
            Target::Tcp { authority, .. } => {
                let stream = tokio::net::TcpStream::connect(authority.as_str()).await;
                let stream = stream.map_err(|error| self.unreachable(&error))?;
                self.shake_hands(TokioIo::new(stream)).await
            }
        }
    }

    async fn shake_hands<I>(&mut self, io: I) -> Result<SendRequest<Body>, CliError>
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (connection, driver) = http1::handshake(io).await.map_err(|error| self.lost(&error))?;
        self.drivers.spawn(async move {
            // What went wrong is said by the request that it went wrong for.
            let _ = driver.await;
        });
        Ok(connection)
    }

    fn unreachable(&self, error: &io::Error) -> CliError {
        let at = self.target.describe();
        if error.kind() == io::ErrorKind::PermissionDenied {
            return CliError::new(
                ErrorCode::DaemonUnreachable,
                format!("no permission to open {at}"),
            )
            .help("the node belongs to another user: name your own with --data-dir");
        }
        let is_absent =
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        let detail =
            if is_absent { format!("no node answers at {at}") } else { format!("{at}: {error}") };
        CliError::new(ErrorCode::DaemonUnreachable, detail)
    }

    fn lost(&self, error: &(dyn std::error::Error + 'static)) -> CliError {
        let at = self.target.describe();
        CliError::new(
            ErrorCode::DaemonUnreachable,
            format!("the connection to {at} broke: {error}"),
        )
        .help("`weft status` says whether the node still runs; its log may say why not")
    }
}

fn empty() -> Body {
    full(Bytes::new())
}

fn full(bytes: Bytes) -> Body {
    UnsyncBoxBody::new(Full::new(bytes).map_err(|never| match never {}))
}

fn document<T: Kind + DeserializeOwned>(bytes: &[u8]) -> Result<T, CliError> {
    serde_json::from_slice::<Document<T>>(bytes).map(|document| document.body).map_err(|error| {
        CliError::new(
            ErrorCode::VersionMismatch,
            format!("the node's answer is not understood: {error}"),
        )
        .help("this command and the node are of different versions: restart the node with this one")
    })
}

async fn problem(response: Response<Incoming>) -> CliError {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let problem = serde_json::from_slice::<Problem>(&body);
    problem.map_or_else(
        |_| {
            CliError::new(
                ErrorCode::of_status(status),
                format!("the node answered with status {status}"),
            )
        },
        CliError::from,
    )
}

/// Text as one segment of a path, or as one value of a query (RFC 3986 section 2.1).
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
