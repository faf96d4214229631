//! The API over real sockets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portal_api::server::{ServerConfig, serve};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Notify, oneshot},
    task::JoinSet,
};

use crate::{
    client::{loopback, socket},
    fake::Fake,
};

/// No answer takes longer, except on a machine that hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// A server, until it is told to stop.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinSet<()>,
}

async fn start(fake: Fake, config: ServerConfig) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let mut running = JoinSet::new();
    running.spawn(serve(listener, loopback(fake), config, async {
        stopped.await.unwrap_or_default()
    }));
    Server { address, stop, running }
}

/// Everything that comes until the other side closes.
async fn read_all(connection: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    tokio::time::timeout(LIMIT, connection.read_to_end(&mut text)).await.unwrap().unwrap();
    String::from_utf8(text).unwrap()
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn the_api_is_served_over_tcp() {
    let server = start(Fake::Well, ServerConfig::default()).await;
    for (host, status) in [("127.0.0.1", "HTTP/1.1 200 OK"), ("evil.example", "HTTP/1.1 421 ")] {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        connection.write_all(get("/api/v1/status", host).as_bytes()).await.unwrap();
        let answer = read_all(&mut connection).await;
        assert!(answer.starts_with(status), "{answer}");
    }
}

#[tokio::test]
async fn the_api_is_served_over_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("weft-api-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let mut running = JoinSet::new();
    running.spawn(serve(
        listener,
        socket(Fake::Well),
        ServerConfig::default(),
        std::future::pending(),
    ));
    let mut connection = UnixStream::connect(&path).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let shutdown =
        "POST /api/v1/local/shutdown HTTP/1.1\r\nHost: weft\r\nConnection: close\r\n\r\n";
    connection.write_all(shutdown.as_bytes()).await.unwrap();
    let answer = read_all(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 202 Accepted"), "{answer}");
}

#[tokio::test]
async fn one_connection_too_many_waits_until_another_ends() {
    let config = ServerConfig { connections_max: 1, ..ServerConfig::default() };
    let server = start(Fake::Well, config).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut begun = [0; 15];
    first.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200 OK");
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(get("/livez", "localhost").as_bytes()).await.unwrap();
    drop(first);
    assert!(read_all(&mut second).await.ends_with("ok\n"));
}

#[tokio::test]
async fn a_request_that_never_ends_its_head_is_given_up() {
    let config =
        ServerConfig { head_timeout: Duration::from_millis(50), ..ServerConfig::default() };
    let server = start(Fake::Well, config).await;
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    connection.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").await.unwrap();
    assert!(!read_all(&mut connection).await.contains("200"));
}

#[tokio::test]
async fn a_server_that_stops_closes_what_is_idle() {
    let mut server = start(Fake::Well, ServerConfig::default()).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut begun = [0; 15];
    idle.read_exact(&mut begun).await.unwrap();
    server.stop.send(()).unwrap();
    assert!(read_all(&mut idle).await.ends_with("ok\n"));
    tokio::time::timeout(LIMIT, server.running.join_next()).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_server_that_stops_does_not_wait_for_ever() {
    let config =
        ServerConfig { drain_timeout: Duration::from_millis(50), ..ServerConfig::default() };
    let begun = Arc::new(Notify::new());
    let mut server = start(Fake::Hangs(Arc::clone(&begun)), config).await;
    let mut hanging = TcpStream::connect(server.address).await.unwrap();
    hanging.write_all(get("/api/v1/status", "localhost").as_bytes()).await.unwrap();
    tokio::time::timeout(LIMIT, begun.notified()).await.unwrap();
    server.stop.send(()).unwrap();
    tokio::time::timeout(LIMIT, server.running.join_next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(hanging.read(&mut [0]).await, Ok(0) | Err(_)), "closed without an answer");
}
