//! The binary from outside.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, identify,
    multiaddr::Protocol,
    noise, ping, relay,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use protocol::names;
use rustix::process::{Pid, Signal, kill_process};

/// A server that is ready. Killed when dropped.
struct Server {
    child: Child,
    peer: PeerId,
    p2p: Multiaddr,
    api: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft-bootstrap"));
    command.args(["--listen", "/ip4/127.0.0.1/tcp/0", "--api", "127.0.0.1:0"]);
    command.arg("--key").arg(dir.join("key")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(dir: &Path) -> Server {
    let mut child = command(dir).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let value = |key: &str| {
        let found =
            line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {key} in {line:?}")).to_owned()
    };
    assert!(line.starts_with("ready "), "{line:?}");
    Server {
        peer: value("peer").parse().unwrap(),
        p2p: value("p2p").parse().unwrap(),
        api: value("api").strip_prefix("http://").unwrap().to_owned(),
        child,
    }
}

impl Server {
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.api).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn terminate(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

#[test]
fn it_says_where_it_is_answers_and_stops_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = start(dir.path());
    assert_eq!(server.p2p.iter().last(), Some(Protocol::P2p(server.peer)));
    assert!(server.get("/livez").starts_with("HTTP/1.1 200"));
    let metrics = server.get("/metrics");
    assert!(metrics.contains("# EOF") && metrics.contains("libp2p_"), "{metrics}");
    assert!(server.terminate().success());
    let again = start(dir.path());
    assert_eq!(again.peer, server.peer, "the key is kept");
}

#[test]
fn what_cannot_work_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let fails = |command: &mut Command, word: &str| {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(word), "{word} in {said:?}");
        assert!(output.stdout.is_empty(), "not ready");
    };
    fails(
        command(dir.path()).args(["--listen", &format!("/ip4/127.0.0.1/tcp/{port}")]),
        "--listen",
    );
    fails(command(dir.path()).args(["--listen", "/ip4/127.0.0.1"]), "--listen");
    let mut api = Command::new(env!("CARGO_BIN_EXE_weft-bootstrap"));
    api.args(["--listen", "/ip4/127.0.0.1/tcp/0", "--api", &format!("127.0.0.1:{port}"), "--key"]);
    fails(api.arg(dir.path().join("key")), "--api");
    std::fs::write(dir.path().join("key"), "nonsense").unwrap();
    fails(&mut command(dir.path()), "key");
}

/// A node that may be behind NAT.
#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
}

fn node() -> Swarm<Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key, relay| Behaviour {
            relay,
            ping: ping::Behaviour::default(),
            identify: identify::Behaviour::new(identify::Config::new(
                names::IDENTIFY.to_owned(),
                key.public(),
            )),
        })
        .unwrap()
        .build()
}

#[tokio::test]
async fn a_newcomer_that_cannot_be_reached_is_reached_through_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let (mut hidden, mut caller) = (node(), node());
    let circuit = server.p2p.clone().with(Protocol::P2pCircuit);
    hidden.listen_on(circuit.clone()).unwrap();
    let reserved = async {
        while !matches!(hidden.select_next_some().await, SwarmEvent::NewListenAddr { .. }) {}
    };
    tokio::time::timeout(Duration::from_secs(20), reserved).await.expect("a reservation");
    let hidden_peer = *hidden.local_peer_id();
    caller.dial(circuit.with(Protocol::P2p(hidden_peer))).unwrap();
    let pinged = async {
        loop {
            tokio::select! {
                _ = hidden.select_next_some() => {}
                event = caller.select_next_some() => {
                    if let SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { peer, result: Ok(_), .. })) = event
                        && peer == hidden_peer
                    {
                        break;
                    }
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), pinged).await.expect("a ping through the relay");
}
