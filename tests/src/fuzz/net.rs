//! What libp2p hands us, or reads before us.

use std::time::Duration;

use futures::io::Cursor;
use libp2p::{Multiaddr, PeerId, StreamProtocol, request_response::Codec as _};
use protocol::{
    codec::Canonical,
    names,
    net::{Asked, Codec, from_peer_id, to_peer_id},
    wire::{
        client::{ClientRequest, ClientResponse},
        enroll::{EnrollRequest, EnrollResponse, HelloRequest, HelloResponse},
        heartbeat::{Heartbeat, HeartbeatResponse},
        lease::{LeaseRequest, LeaseResponse},
        receipt::{ResultRequest, ResultResponse},
    },
};
use tokio::runtime::{Builder, Runtime};

/// How long a message in memory may take to be read: far less than the codec gives its sender.
const AT_ONCE: Duration = Duration::from_secs(2);

thread_local! {
    /// A clock for the codec's patience; `None` where there is none to be had.
    static RUNTIME: Option<Runtime> = Builder::new_current_thread().enable_time().build().ok();
}

/// An address as people type it and as identify carries it: what is read is written as it was, and peers keep their ids.
pub fn address(bytes: &[u8]) {
    if let Ok(address) = Multiaddr::try_from(bytes.to_vec()) {
        assert_eq!(address.to_vec(), bytes);
        let _shown = address.to_string();
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(address) = text.parse::<Multiaddr>() {
        let again = address.to_string().parse::<Multiaddr>();
        assert!(again.is_ok_and(|again| again == address), "{text}");
    }
    if let Ok(peer) = text.parse::<PeerId>()
        && let Some(node) = from_peer_id(&peer)
    {
        assert_eq!(to_peer_id(&node), peer);
    }
    if let Ok(name) = StreamProtocol::try_from_owned(text.to_owned()) {
        assert_eq!(name.as_ref(), text);
    }
}

/// A stream: the first byte says of which protocol, the rest is what a peer writes on it, length and message. The same
/// bytes are read as an answer.
pub fn exchange(bytes: &[u8]) {
    let Some((number, bytes)) = bytes.split_first() else { return };
    match number % 6 {
        0 => stream::<HelloRequest, HelloResponse>(names::HELLO, bytes),
        1 => stream::<EnrollRequest, EnrollResponse>(names::ENROLL, bytes),
        2 => stream::<Heartbeat, HeartbeatResponse>("heartbeat", bytes),
        3 => stream::<LeaseRequest, LeaseResponse>("lease", bytes),
        4 => stream::<ResultRequest, ResultResponse>("result", bytes),
        _ => stream::<ClientRequest, ClientResponse>("client", bytes),
    }
}

fn stream<Q, A>(name: &str, bytes: &[u8])
where
    Q: Canonical + PartialEq + std::fmt::Debug + Send + 'static,
    A: Canonical + Send + 'static,
{
    let mut codec = Codec::<Q, A>::default();
    let Ok(name) = StreamProtocol::try_from_owned(format!("/{name}")) else { return };
    let reading = async {
        let (mut question, mut answer) = (Cursor::new(bytes), Cursor::new(bytes));
        let asked = codec.read_request(&name, &mut question).await;
        let _answer = codec.read_response(&name, &mut answer).await;
        asked
    };
    let asked = RUNTIME.with(|runtime| {
        let runtime = runtime.as_ref()?;
        Some(runtime.block_on(async { tokio::time::timeout(AT_ONCE, reading).await }))
    });
    let Some(asked) = asked else { return };
    assert!(asked.is_ok(), "it waits for what cannot come");
    if let Ok(Ok(Asked::Request(question, _))) = asked {
        let body = protocol::codec::encode(&question);
        assert_eq!(bytes.get(4..4_usize.saturating_add(body.len())), Some(body.as_slice()));
    }
}
