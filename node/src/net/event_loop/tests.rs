//! Real swarms in one process, over the memory transport.

use std::io;

use async_trait::async_trait;
use libp2p::multiaddr::Protocol;
use protocol::{
    code::Nonce,
    ids::{AccountId, Hash, LeaseId},
    limits::GOSSIP_BYTES_MAX,
    net::to_peer_id,
    reject::RejectReason,
    sign::Signed,
    time::UnixMillis,
    wire::{
        client::{ClientRequest, ClientResponse, Query},
        enroll::{
            EnrollRequest, EnrollResponse, EnrollStatements, Enrollment, HelloResponse,
            NodeAddress, OwnerConsent,
        },
        heartbeat::{Heartbeat, HeartbeatResponse},
        lease::{Fence, LeaseRequest, LeaseResponse},
    },
};
use tokio::task::JoinSet;

use super::{
    super::{
        AdvertVerdict, BlobSink, BlobSource, ConnectError, Fetched, MeshSetup, OpenBlob, PeerPath,
        PublishError, RpcError, serve,
    },
    *,
};

const MESH: MeshId = MeshId([7; 32]);

/// The time since it was made, on tokio's clock.
struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::after_origin(self.0.elapsed())
    }
}

/// Picks one kind of event.
macro_rules! only {
    ($event:pat => $value:expr) => {
        |event| if let $event = event { Some($value) } else { None }
    };
}

mod gates;

/// A running network.
struct Node {
    id: NodeId,
    address: Multiaddr,
    handle: NetHandle,
    inbound: mpsc::Receiver<Inbound>,
    bans: watch::Receiver<Arc<Vec<Ban>>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(tokio::time::Instant::now()))
}

async fn node_with(seed: u8, config: NetConfig) -> Node {
    let key = SecretKey::from_seed(&[seed; 32]);
    let shell = Shell::new(clock(), &mut Registry::default());
    let transport = net::memory(&net::keypair(&key));
    run(start_on(transport, &config, &key, 1, shell).unwrap()).await
}

async fn run(net: Net) -> Node {
    let Net { handle, inbound, bans, task } = net;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(task.run(stop.clone()));
    let address = handle.listen_addrs().await.first().cloned().unwrap_or_else(Multiaddr::empty);
    Node { id: handle.local(), address, handle, inbound, bans, stop, tasks }
}

/// A node that closes what a newcomer had before at once.
async fn node(seed: u8) -> Node {
    let listen = vec!["/memory/0".parse().unwrap()];
    let config = NetConfig { listen, regate_after: Duration::ZERO, ..NetConfig::default() };
    node_with(seed, config).await
}

/// A node as it is by default, at a place.
async fn node_at(seed: u8, place: &str) -> Node {
    let listen = vec![place.parse().unwrap()];
    node_with(seed, NetConfig { listen, ..NetConfig::default() }).await
}

impl Node {
    async fn connect(&self, to: &Self) {
        assert_eq!(self.handle.connect(to.address.clone()).await, Ok(to.id));
    }

    async fn join(&self, members: &[&Self]) {
        let members = members.iter().map(|member| member.id).collect();
        self.handle.join_mesh(MeshSetup::new(MESH, 0, Roll::of(members))).await;
    }

    /// The next event of a kind; others are passed over.
    async fn next<T>(&mut self, mut pick: impl FnMut(Inbound) -> Option<T>) -> T {
        let next = async {
            loop {
                if let Some(picked) = pick(self.inbound.recv().await.expect("the network runs")) {
                    return picked;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), next).await.expect("the event comes")
    }
}

/// Asks until the answer is the one waited for.
async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asking).await.expect("it comes true")
}

/// Two members of one mesh who reach each other.
async fn members() -> (Node, Node) {
    let (one, mut other) = (node(1).await, node(2).await);
    one.join(&[&other]).await;
    other.join(&[&one]).await;
    one.connect(&other).await;
    let to = other.id;
    let asking = until(async || one.handle.heartbeat(to, heartbeat()).await.ok());
    let answering = other.next(only!(Inbound::Heartbeat { respond, .. } => {
        respond.respond(heard());
    }));
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer, heard());
    (one, other)
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        leases: Vec::new(),
        slots: 4,
        slots_free: 4,
        draining: false,
        roster: 1,
        availability: protocol::wire::availability::Availability::open(4, 1 << 30),
        returned: Vec::new(),
    }
}

fn heard() -> HeartbeatResponse {
    HeartbeatResponse::Heard { lost: Vec::new(), roster: None, fence: Fence::default() }
}

fn withdraw() -> LeaseRequest {
    LeaseRequest::Withdraw { leases: vec![LeaseId([3; 16])], fence: Fence::default() }
}

fn enroll_request(seed: u8) -> EnrollRequest {
    let key = SecretKey::from_seed(&[seed; 32]);
    let (node, at) = (key.node(), UnixMillis(5));
    let enrollment = Enrollment {
        node,
        account: AccountId([9; 32]),
        name: "finch".to_owned(),
        roles: Vec::new(),
        software: String::new(),
        commitment: Nonce([1; 32]).commitment(),
        at,
    };
    let statements = EnrollStatements {
        enrollment: Signed::sign(&enrollment, MESH, &key),
        consent: Signed::sign(&OwnerConsent { node, at }, MESH, &key),
        invite: None,
    };
    EnrollRequest { statements, reveal: None }
}

#[tokio::test]
async fn strangers_say_hello_and_may_ask_to_join() {
    let (asker, mut host) = (node(1).await, node(2).await);
    asker.connect(&host).await;
    let hello = asker.handle.hello(host.id);
    let answer = host.next(only!(Inbound::Hello { from, request, respond } => {
        assert_eq!(request.version, protocol::wire::VERSION);
        respond.respond(HelloResponse { version: 1, mesh: None });
        from
    }));
    let (answered, from) = tokio::join!(hello, answer);
    assert_eq!((answered, from), (Ok(HelloResponse { version: 1, mesh: None }), asker.id));

    let request = enroll_request(1);
    let enroll = asker.handle.enroll(host.id, request.clone());
    let answer = host.next(only!(Inbound::Enroll { request, respond, .. } => {
        respond.respond(EnrollResponse::Pending { retry_after_ms: 9, nonce: None });
        request
    }));
    let (answered, asked) = tokio::join!(enroll, answer);
    assert_eq!(
        (answered, asked),
        (Ok(EnrollResponse::Pending { retry_after_ms: 9, nonce: None }), request)
    );
}

#[tokio::test]
async fn the_protocols_of_a_mesh_are_closed_to_strangers_until_they_are_members() {
    let (mut host, stranger) = (node(1).await, node(2).await);
    stranger.connect(&host).await;
    assert_eq!(host.handle.heartbeat(stranger.id, heartbeat()).await, Err(RpcError::NoMesh));
    host.join(&[]).await;
    assert_eq!(host.handle.heartbeat(stranger.id, heartbeat()).await, Err(RpcError::NotMember));
    stranger.join(&[&host]).await;
    let to = host.id;
    let ask = async || stranger.handle.heartbeat(to, heartbeat()).await;
    until(async || (ask().await == Err(RpcError::Unsupported)).then_some(())).await;

    host.handle.set_roll(Roll::of([stranger.id].into())).await;
    let answering =
        host.next(only!(Inbound::Heartbeat { respond, .. } => respond.respond(heard())));
    let (answer, ()) = tokio::join!(until(async || ask().await.ok()), answering);
    assert_eq!(answer, heard());
    let peers = host.handle.peers().await;
    assert!(peers.iter().all(|peer| peer.member && peer.path == PeerPath::Memory), "{peers:?}");

    host.handle.set_roll(Roll::default()).await;
    until(async || (ask().await == Err(RpcError::Unsupported)).then_some(())).await;
}

#[tokio::test]
async fn an_answer_to_an_enrolment_gets_through_although_its_asker_is_a_member_already() {
    let (mut host, asker) = (node_at(1, "/memory/0").await, node_at(2, "/memory/0").await);
    host.join(&[]).await;
    asker.connect(&host).await;
    let (to, pending) = (host.id, EnrollResponse::Pending { retry_after_ms: 9, nonce: None });
    let enroll = asker.handle.enroll(to, enroll_request(2));
    let admit = async {
        let respond = host.next(only!(Inbound::Enroll { respond, .. } => respond)).await;
        host.handle.set_roll(Roll::of([asker.id].into())).await;
        respond.respond(pending.clone());
    };
    let (answer, ()) = tokio::join!(enroll, admit);
    assert_eq!(answer, Ok(pending.clone()));

    asker.join(&[&host]).await;
    let asking = until(async || asker.handle.heartbeat(to, heartbeat()).await.ok());
    let answering =
        host.next(only!(Inbound::Heartbeat { respond, .. } => respond.respond(heard())));
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer, heard());
}

#[tokio::test]
async fn leases_and_questions_are_answered() {
    let (one, mut other) = members().await;
    let lease = one.handle.lease(other.id, withdraw());
    let client = one.handle.client(other.id, ClientRequest::Query(Query::Mesh));
    let rejected = ClientResponse::rejected(RejectReason::NotLeader, "ask another");
    let answering = async {
        for _ in 0..2 {
            other
                .next(|event| {
                    if let Inbound::Lease { from, request, respond } = event {
                        assert_eq!((from, request), (one.id, withdraw()));
                        respond.respond(LeaseResponse::Done);
                        Some(())
                    } else if let Inbound::Client { respond, .. } = event {
                        respond.respond(rejected.clone());
                        Some(())
                    } else {
                        None
                    }
                })
                .await;
        }
    };
    let (lease, client, ()) = tokio::join!(lease, client, answering);
    assert_eq!((lease, client), (Ok(LeaseResponse::Done), Ok(rejected.clone())));
}

#[tokio::test]
async fn a_request_that_is_not_answered_is_closed() {
    let (one, mut other) = members().await;
    let lease = one.handle.lease(other.id, withdraw());
    let dropping = other.next(|event| matches!(event, Inbound::Lease { .. }).then_some(()));
    let (lease, ()) = tokio::join!(lease, dropping);
    assert_eq!(lease, Err(RpcError::Closed));
}

#[tokio::test]
async fn a_node_that_does_not_take_its_requests_is_busy_and_loses_no_coming_or_going() {
    let listen = vec!["/memory/0".parse().unwrap()];
    let mut host = node_with(1, NetConfig { listen, inbound_max: 1, ..NetConfig::default() }).await;
    let (one, other) = (node(2).await, node(3).await);
    one.connect(&host).await;
    other.connect(&host).await;
    assert_eq!(other.handle.hello(host.id).await, Err(RpcError::Closed), "hello knows no refusal");
    one.stop.cancel();
    other.stop.cancel();
    let mut here: BTreeMap<NodeId, bool> = BTreeMap::new();
    while here.values().filter(|here| !**here).count() < 2 {
        let (node, is_here) = host
            .next(|event| {
                if let Inbound::PeerConnected(node) = event {
                    Some((node, true))
                } else if let Inbound::PeerDisconnected(node) = event {
                    Some((node, false))
                } else {
                    None
                }
            })
            .await;
        here.insert(node, is_here);
    }
    assert_eq!(here, BTreeMap::from([(one.id, false), (other.id, false)]));
}

#[tokio::test]
async fn adverts_are_heard_by_members_and_long_ones_are_refused() {
    let (one, mut other) = members().await;
    let published = until(async || match one.handle.publish_advert(b"advert".to_vec()).await {
        Err(PublishError::NobodyListens) => None,
        done => Some(done),
    })
    .await;
    assert_eq!(published, Ok(()));
    let (from, bytes) = other
        .next(only!(Inbound::Advert { from, bytes, judge } => {
            judge.say(AdvertVerdict::Accept);
            (from, bytes)
        }))
        .await;
    assert_eq!((from, bytes), (one.id, b"advert".to_vec()));
    let longest = one.handle.publish_advert(vec![1; GOSSIP_BYTES_MAX]).await;
    assert_eq!(longest, Ok(()));
    let too_long = one.handle.publish_advert(vec![1; GOSSIP_BYTES_MAX + 1]).await;
    assert_eq!(too_long, Err(PublishError::TooLong { found: GOSSIP_BYTES_MAX + 1 }));
    assert_eq!(one.handle.publish_advert(b"advert".to_vec()).await, Err(PublishError::Duplicate));
}

/// One content, or another one for its hash.
struct Shelf(Hash, Vec<u8>);

#[async_trait]
impl BlobSource for Shelf {
    async fn open(&self, hash: &Hash, _from: u64) -> io::Result<Option<OpenBlob>> {
        let len = u64::try_from(self.1.len()).unwrap();
        let open = || OpenBlob { len, content: Box::new(io::Cursor::new(self.1.clone())) };
        Ok((*hash == self.0).then(open))
    }
}

#[derive(Default)]
struct Basket(Vec<u8>);

#[async_trait]
impl BlobSink for Basket {
    async fn begin(&mut self, _hash: &Hash, _len: u64) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn discard(&mut self) {
        self.0.clear();
    }
}

#[tokio::test]
async fn blobs_are_fetched_by_several_at_once() {
    let (one, mut other) = members().await;
    let content: Vec<u8> = (0..20_u32 << 20).map(|at| at.to_le_bytes()[1]).collect();
    let (hash, missing) = (Hash::of(&content), Hash::of(b"nowhere"));
    let shelf = Shelf(hash, content.clone());
    let from = other.id;
    let fetching = async {
        let fetch = async || {
            let mut basket = Basket::default();
            let fetched =
                one.handle.fetch_blobs(from, &[missing, hash], &mut basket).await.unwrap();
            (fetched, basket.0 == content)
        };
        tokio::join!(fetch(), fetch(), fetch())
    };
    let serving = async {
        for _ in 0..3 {
            let stream = other.next(only!(Inbound::BlobStream { stream, .. } => stream)).await;
            assert_eq!(serve(stream, &shelf).await.unwrap(), 20 << 20);
        }
    };
    let (fetched, ()) = tokio::join!(fetching, serving);
    let good = (Fetched { found: 1, bytes: 20 << 20, missing: vec![missing] }, true);
    assert_eq!(fetched, (good.clone(), good.clone(), good));
}

#[tokio::test]
async fn strangers_get_no_blobs() {
    let (one, other) = (node(1).await, node(2).await);
    one.connect(&other).await;
    assert!(matches!(one.handle.open_blob_stream(other.id).await, Err(RpcError::NoMesh)));
    one.join(&[&other]).await;
    let ask = async || one.handle.open_blob_stream(other.id).await;
    until(async || matches!(ask().await, Err(RpcError::Unsupported)).then_some(())).await;
}

#[tokio::test]
async fn members_who_never_met_find_each_other_through_a_third() {
    let (hub, one, mut other) = (node(1).await, node(2).await, node(3).await);
    let all = [&hub, &one, &other];
    for node in all {
        node.join(&all).await;
    }
    one.connect(&hub).await;
    other.connect(&hub).await;
    let to = other.id;
    let asking = until(async || one.handle.lease(to, withdraw()).await.ok());
    let answering =
        other.next(only!(Inbound::Lease { respond, .. } => respond.respond(LeaseResponse::Done)));
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer, LeaseResponse::Done);
}

#[tokio::test]
async fn connecting_says_what_is_wrong() {
    let (one, other) = (node(1).await, node(2).await);
    let nobody = one.handle.connect("/memory/18446744073709551615".parse().unwrap()).await;
    assert!(matches!(nobody, Err(ConnectError::Failed { .. })), "{nobody:?}");
    let impostor = other.address.clone().with(Protocol::P2p(to_peer_id(&NodeId([9; 32]))));
    let found = other.id.to_string();
    assert_eq!(one.handle.connect(impostor).await, Err(ConnectError::WrongPeer { found }));
    let right = other.address.clone().with(Protocol::P2p(to_peer_id(&other.id)));
    assert_eq!(one.handle.connect(right.clone()).await, Ok(other.id));
    assert_eq!(one.handle.connect(right).await, Ok(other.id), "connected already");
}

#[tokio::test]
async fn a_target_that_comes_late_is_found_and_found_again() {
    let one = node(1).await;
    let place = "/memory/990001";
    let late = SecretKey::from_seed(&[2; 32]).node();
    let target = NodeAddress { node: late, addresses: vec![place.to_owned()] };
    one.handle.set_targets(vec![target]).await;
    assert_eq!(one.handle.hello(late).await, Err(RpcError::Unreachable));
    for _ in 0..2 {
        let mut other = node_at(2, place).await;
        let found = other.next(only!(Inbound::PeerConnected(node) => node)).await;
        assert_eq!(found, one.id);
        other.stop.cancel();
        other.tasks.join_next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error() {
    let one = node(1).await;
    let key = SecretKey::from_seed(&[2; 32]);
    let config = NetConfig { listen: vec![one.address.clone()], ..NetConfig::default() };
    let shell = Shell::new(clock(), &mut Registry::default());
    let error = start_on(net::memory(&net::keypair(&key)), &config, &key, 1, shell).unwrap_err();
    assert!(matches!(error, NetError::Listen { address, .. } if address == one.address));
}

#[tokio::test]
async fn tcp_and_quic_lead_to_the_same_peer() {
    for (listen, path) in
        [("/ip4/127.0.0.1/tcp/0", PeerPath::Tcp), ("/ip4/127.0.0.1/udp/0/quic-v1", PeerPath::Quic)]
    {
        let start = |seed, listen: Vec<Multiaddr>| {
            let config = NetConfig { listen, ..NetConfig::default() };
            let key = SecretKey::from_seed(&[seed; 32]);
            start(&config, &key, 1, clock(), &mut Registry::default()).unwrap()
        };
        let host = run(start(1, vec![listen.parse().unwrap()])).await;
        let guest = run(start(2, Vec::new())).await;
        guest.connect(&host).await;
        let peers = guest.handle.peers().await;
        let peer = peers.first().unwrap();
        assert_eq!((peer.node, peer.path, &peer.address), (host.id, path, &host.address));
        let measured = async || host.handle.peers().await.first()?.rtt_us;
        until(measured).await;
    }
}

#[tokio::test]
async fn a_network_that_has_stopped_says_so() {
    let mut one = node(1).await;
    one.stop.cancel();
    while one.inbound.recv().await.is_some() {}
    assert_eq!(one.handle.hello(NodeId([1; 32])).await, Err(RpcError::Stopped));
    assert!(one.handle.peers().await.is_empty());
}
