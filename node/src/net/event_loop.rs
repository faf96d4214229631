//! The one task that owns the swarm.

use core::net::IpAddr;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport as _,
    core::transport::ListenerId,
    gossipsub::{IdentTopic, MessageAcceptance, MessageId},
    identity::Keypair,
    metrics::{Metrics, Recorder as _, Registry},
    swarm::{ConnectionId, SwarmEvent},
};
use protocol::{
    ids::{MeshId, NodeId},
    keys::SecretKey,
    machine::Machine as _,
    net::{self, BoxedTransport, Budget, hang_up},
    time::{Clock, Timestamp},
    wire::enroll::HelloResponse,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    ConnectError, Inbound, NetConfig, NetHandle, Roll, RpcError,
    accept::Accept,
    behaviour::{Behaviour, BehaviourEvent},
    exchange::{
        Answered, CLIENT, ClientRpc, EnrollRpc, Exchange, HeartbeatRpc, HelloRpc, LeaseRpc,
        ResultRpc,
    },
    handle::{COMMANDS_MAX, Command},
    mdns::Received,
    metrics,
    peers::Peers,
    redial::{self, Redial},
};
use crate::core::{
    discovery,
    quota::{Quotas, Rate},
    reputation::{self, Ban, Fault, Reputation},
};

mod commands;
mod connections;
mod hearing;
mod lookup;
mod mesh;
mod nearby;
mod penalties;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(250);
/// Adverts that the node has not judged yet; more are ignored. A quarter of the queue, so that they keep no request out.
const UNJUDGED_MAX: usize = 256;
/// Connects of handles that wait for their outcome.
const CONNECTS_MAX: usize = 64;
/// How often a peer may say something new about itself with identify; what is more is not looked at.
const IDENTIFY: Rate = Rate { burst: 8, every: Duration::from_secs(10) };
/// Kinds of things that are written into the log because of others.
const LOGGED_MAX: usize = 16;
/// What this node asks of one coordinator for its users. A user who starts jobs in a loop asks more often than a member
/// may; refusals would be errors on the user's screen, and faults of this node in the coordinator's eyes. Half of what
/// may be asked at once: what was asked before a restart still counts there.
const OWN: Rate = Rate { burst: CLIENT.burst / 2, every: CLIENT.every };
/// How long a user's question may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the same kind of thing is written into the log.
const LOG: Rate = Rate { burst: 4, every: Duration::from_secs(2) };

/// The network could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The transports could not be set up.
    #[error("the network transports could not be set up")]
    Transport(#[source] net::TransportError),
    /// An address cannot be listened on: taken, not of this machine, or of a kind that is not spoken.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        #[source]
        source: libp2p::TransportError<std::io::Error>,
    },
}

/// A network that is ready to run.
#[derive(Debug)]
pub struct Net {
    /// The way to it, for the whole node.
    pub handle: NetHandle,
    /// What comes from it. The node keeps taking: what it leaves is refused when the queue is full.
    pub inbound: mpsc::Receiver<Inbound>,
    /// Who is banned, for whoever keeps that over restarts: [`NetConfig::bans`].
    pub bans: watch::Receiver<Arc<Vec<Ban>>>,
    /// What has to run.
    pub task: NetTask,
}

/// Sets the network up and listens on the configured addresses. Nothing happens until [`NetTask::run`].
///
/// `seed` spreads this node's redials; `registry` gets libp2p's metrics.
///
/// # Errors
///
/// See [`NetError`].
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn start(
    config: &NetConfig,
    key: &SecretKey,
    seed: u64,
    clock: Arc<dyn Clock + Send + Sync>,
    registry: &mut Registry,
) -> Result<Net, NetError> {
    let transport = net::tcp_quic(&net::keypair(key)).map_err(NetError::Transport)?;
    start_on(transport, config, key, seed, Shell::new(clock, registry))
}

/// What the task has from outside, besides the swarm.
pub(super) struct Shell {
    pub(super) clock: Arc<dyn Clock + Send + Sync>,
    pub(super) libp2p: Metrics,
    pub(super) metrics: metrics::Metrics,
}

impl Shell {
    pub(super) fn new(clock: Arc<dyn Clock + Send + Sync>, registry: &mut Registry) -> Self {
        Self { clock, libp2p: Metrics::new(registry), metrics: metrics::Metrics::new(registry) }
    }
}

/// [`start`] on a transport of one's own.
pub(super) fn start_on(
    transport: BoxedTransport,
    config: &NetConfig,
    key: &SecretKey,
    seed: u64,
    shell: Shell,
) -> Result<Net, NetError> {
    let keypair = net::keypair(key);
    let budget = Budget::default();
    let (banned_addresses, banned) = watch::channel(Arc::default());
    let (members, known) = watch::channel(Arc::default());
    let turned_away = shell.metrics.turned_away.clone();
    let transport =
        Accept::new(transport, shell.clock.clone(), (banned, known), turned_away).boxed();
    let behaviour = Behaviour::new(config, &keypair, &budget);
    let mut swarm = net::swarm(transport, behaviour, keypair.public().to_peer_id());
    let mut listeners = Vec::new();
    for address in &config.listen {
        let id = swarm
            .listen_on(address.clone())
            .map_err(|source| NetError::Listen { address: address.clone(), source })?;
        listeners.push(id);
    }
    let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
    let (inbound_in, inbound) = mpsc::channel(config.inbound_max.max(1));
    let (bans, bans_seen) = watch::channel(Arc::default());
    let mut task = NetTask {
        local: key.node(),
        keypair,
        regate_after: config.regate_after,
        shell,
        swarm,
        commands,
        inbound: inbound_in,
        answers: FuturesUnordered::new(),
        unjudged: 0,
        unheard: listeners.clone(),
        listeners,
        asked_where: Vec::new(),
        connects: BTreeMap::new(),
        peers: Peers::default(),
        unsaid: BTreeMap::new(),
        redial: Redial::new(seed),
        lookups: lookup::Lookups::default(),
        nearby: nearby::Nearby::new(config.mdns, seed),
        joined: None,
        roll: Roll::default(),
        stale_since: None,
        reputation: Reputation::new(reputation::Config::default()),
        refused: BTreeSet::new(),
        bans,
        banned_addresses,
        members,
        budget,
        identified: Quotas::new(IDENTIFY, protocol::limits::NODES_MAX),
        logged: Quotas::new(LOG, LOGGED_MAX),
        hello: Exchange::new(),
        enroll: Exchange::new(),
        heartbeat: Exchange::new(),
        lease: Exchange::new(),
        result: Exchange::new(),
        client: Exchange::new(),
        asked: Quotas::new(OWN, protocol::limits::NODES_MAX),
    };
    task.restore_bans(config.bans.clone());
    let handle = NetHandle::new(commands_in, key.node());
    Ok(Net { handle, inbound, bans: bans_seen, task })
}

/// The task. It owns the swarm and everything that is known about peers.
pub struct NetTask {
    local: NodeId,
    keypair: Keypair,
    regate_after: Duration,
    shell: Shell,
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    inbound: mpsc::Sender<Inbound>,
    /// Answers and verdicts that the node owes: bounded by each [`Exchange`] and by [`UNJUDGED_MAX`].
    answers: FuturesUnordered<BoxFuture<'static, Completion>>,
    unjudged: usize,
    listeners: Vec<ListenerId>,
    /// Listeners that have not said an address yet.
    unheard: Vec<ListenerId>,
    /// Who waits for the listeners.
    asked_where: Vec<oneshot::Sender<Vec<Multiaddr>>>,
    connects: BTreeMap<ConnectionId, oneshot::Sender<Result<NodeId, ConnectError>>>,
    peers: Peers,
    /// Comings and goings that the node has not been told, because its queue was full.
    unsaid: BTreeMap<NodeId, bool>,
    redial: Redial,
    lookups: lookup::Lookups,
    nearby: nearby::Nearby,
    joined: Option<Joined>,
    roll: Roll,
    /// Since when there are connections that a newly approved peer has to make anew.
    stale_since: Option<Timestamp>,
    reputation: Reputation,
    /// Who is kept out for what it did, as the door knows it.
    refused: BTreeSet<NodeId>,
    bans: watch::Sender<Arc<Vec<Ban>>>,
    banned_addresses: watch::Sender<Arc<BTreeSet<IpAddr>>>,
    /// Whose connections may have more streams.
    members: watch::Sender<Arc<BTreeSet<PeerId>>>,
    budget: Budget,
    identified: Quotas,
    /// How often what was logged: a flood must not become one of the log.
    logged: Quotas<&'static str>,
    hello: Exchange<HelloRpc>,
    enroll: Exchange<EnrollRpc>,
    heartbeat: Exchange<HeartbeatRpc>,
    lease: Exchange<LeaseRpc>,
    result: Exchange<ResultRpc>,
    client: Exchange<ClientRpc>,
    /// What this node may ask of each coordinator for its users.
    asked: Quotas,
}

impl std::fmt::Debug for NetTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetTask")
            .field("local", &self.local)
            .field("joined", &self.joined)
            .finish_non_exhaustive()
    }
}

/// The mesh whose protocols are open.
#[derive(Debug)]
struct Joined {
    mesh: MeshId,
    epoch: u32,
    topic: IdentTopic,
}

/// Something that the node was asked for is there.
#[derive(Debug)]
enum Completion {
    Answered {
        from: NodeId,
        answered: Answered,
    },
    Judged {
        id: MessageId,
        from: PeerId,
        verdict: MessageAcceptance,
        /// What whoever it came from did wrong.
        fault: Option<Fault>,
    },
    Greeted {
        node: NodeId,
        answer: Result<HelloResponse, RpcError>,
    },
}

/// Everything that can wake the loop: a closed list.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the loop's stack")]
enum Event {
    /// The node answered.
    Completed(Completion),
    /// Time has passed.
    Tick,
    /// Somebody in this process wants something.
    Commanded(Command),
    /// Somebody said something on the local network.
    Overheard(Received),
    /// Something happened on the network.
    Swarm(SwarmEvent<BehaviourEvent>),
}

impl NetTask {
    /// Runs until `stop` is cancelled or every handle is gone. Not cancel safe: dropping the future closes all
    /// connections.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while let Some(event) = self.next_event(&stop, &mut ticks).await {
            self.handle(event);
            self.say_unsaid();
        }
        self.close().await;
    }

    /// Stops listening and closes all connections, so that peers need not wait for a timeout to notice.
    async fn close(&mut self) {
        for listener in self.listeners.drain(..) {
            self.swarm.remove_listener(listener);
        }
        hang_up(&mut self.swarm).await;
    }

    /// Waits for the next event. What is finished comes before what is new. Commands, the network and the local
    /// network take turns, so that none can keep the others waiting.
    async fn next_event(
        &mut self,
        stop: &CancellationToken,
        ticks: &mut tokio::time::Interval,
    ) -> Option<Event> {
        let Self { answers, commands, swarm, nearby, .. } = self;
        let new = async {
            tokio::select! {
                command = commands.recv() => command.map(Event::Commanded),
                event = swarm.select_next_some() => Some(Event::Swarm(event)),
                packet = nearby.mdns.receive() => Some(Event::Overheard(packet)),
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            Some(done) = answers.next(), if !answers.is_empty() => Some(Event::Completed(done)),
            _ = ticks.tick() => Some(Event::Tick),
            event = new => event,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Completed(done) => {
                self.paid(&done);
                self.complete(done);
            }
            Event::Tick => self.tick(),
            Event::Commanded(command) => self.obey_or_look(command),
            Event::Overheard(received) => self.overhear(&received),
            Event::Swarm(event) => {
                self.shell.libp2p.record(&event);
                self.on_swarm(event);
            }
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        self.redial(redial::Input::Tick);
        self.discover(discovery::Input::Tick);
        self.ask_again(now);
        self.hello.expire(now);
        self.enroll.expire(now);
        self.heartbeat.expire(now);
        self.lease.expire(now);
        self.result.expire(now);
        self.client.expire(now);
        self.stop_looking(now);
        self.look_at_the_door(now);
        self.measure();
        self.regate(now);
    }

    fn measure(&self) {
        let waiting = self.inbound.max_capacity().saturating_sub(self.inbound.capacity());
        self.shell.metrics.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.shell.metrics.owed.set(i64::try_from(self.answers.len()).unwrap_or(i64::MAX));
        let held = i64::try_from(self.budget.taken()).unwrap_or(i64::MAX);
        self.shell.metrics.request_bytes.set(held);
    }

    fn now(&self) -> Timestamp {
        self.shell.clock.now()
    }

    fn redial(&mut self, input: redial::Input) {
        let now = self.now();
        for output in self.redial.handle(now, input) {
            self.perform(output);
        }
    }

    /// Tells the node who came and went, as far as its queue has room. What is left out is told later: the last
    /// state of each peer, not every change.
    fn say_unsaid(&mut self) {
        while let Some((node, here)) = self.unsaid.pop_first() {
            let event =
                if here { Inbound::PeerConnected(node) } else { Inbound::PeerDisconnected(node) };
            if self.inbound.try_send(event).is_err() {
                self.unsaid.insert(node, here);
                return;
            }
        }
    }

    fn is_member(&self, node: &NodeId) -> bool {
        self.roll.members.contains(node)
    }
}

#[cfg(test)]
mod tests;
