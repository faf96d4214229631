//! Nodes on the local network: heard, dialled, and asked which mesh they are in.

use protocol::{
    mdns::{self, LABEL_BYTES, Packet},
    net::to_peer_id,
    wire::enroll::{HelloRequest, HelloResponse},
};

use super::{
    super::{
        RpcError,
        handle::Call,
        mdns::{Mdns, Received, ip, is_near},
    },
    *,
};
use crate::core::discovery::{self, Discovery};

/// A node of another mesh is not dialled again for this long, while this one may join another mesh.
const MEET_AGAIN_SEEKING: Duration = Duration::from_secs(60);
/// The same, while it may not.
const MEET_AGAIN: Duration = Duration::from_secs(600);
/// Strangers that are asked again, at most.
const SILENT_MAX: usize = 64;
/// After how long one is asked again; it doubles up to a minute.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Packets of one machine that are read; more are left unread. One that talks nonsense all the time keeps nobody else
/// from being heard.
const PACKETS: Rate = Rate { burst: 50, every: Duration::from_millis(20) };
/// Machines that are listened to at a time.
const SPEAKERS_MAX: usize = 64;

/// What is known about the local network.
pub(super) struct Nearby {
    pub(super) mdns: Mdns,
    core: Discovery,
    /// Whether nodes are looked for at all.
    enabled: bool,
    /// Whether this node may join another mesh, so that it matters whom it meets.
    seeking: bool,
    /// Random letters that answers carry instead of a name.
    label: [u8; LABEL_BYTES],
    /// Packets read since then.
    read: Quotas<IpAddr>,
    /// Strangers that could not say which mesh they are in: when they are asked again, and how often they were.
    silent: BTreeMap<NodeId, (Timestamp, u32)>,
}

impl Nearby {
    pub(super) fn new(enabled: bool, seed: u64) -> Self {
        // The label tells nobody anything, so it need not be more than different.
        let text = protocol::ids::Hash::of(&seed.to_le_bytes()).to_string();
        let mut label = [b'0'; LABEL_BYTES];
        for (to, from) in label.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Self {
            mdns: Mdns::default(),
            core: Discovery::new(seed),
            enabled,
            seeking: false,
            label,
            read: Quotas::new(PACKETS, SPEAKERS_MAX),
            silent: BTreeMap::new(),
        }
    }
}

impl NetTask {
    /// Tells discovery what happened, and does what it wants done.
    pub(super) fn discover(&mut self, input: discovery::Input) {
        if !self.nearby.enabled {
            return;
        }
        let now = self.now();
        for output in self.nearby.core.handle(now, input) {
            match output {
                discovery::Output::Ask => {
                    if !self.shout(true) {
                        self.discover(discovery::Input::Unheard);
                    }
                }
                discovery::Output::Answer => drop(self.shout(false)),
                discovery::Output::Dial(to) => {
                    if self.peers.contains(&to.node) {
                        self.discover(discovery::Input::Connected(to.node));
                    } else {
                        self.dial_near(to.node, &to.addresses);
                    }
                }
            }
        }
    }

    /// Says on each network where this node listens there, and asks who else is; says whether anything got out.
    fn shout(&self, ask: bool) -> bool {
        let mut out = false;
        for network in self.nearby.mdns.networks() {
            let addresses: Vec<_> = self
                .swarm
                .listeners()
                .filter(|address| ip(address) == Some(network))
                .map(ToString::to_string)
                .collect();
            if !addresses.is_empty() {
                let answer = mdns::answer(self.nearby.label, &self.local, &addresses);
                out |= self.nearby.mdns.send(network, &answer);
            }
            if ask {
                out |= self.nearby.mdns.send(network, &mdns::question());
            }
        }
        out
    }

    fn dial_near(&mut self, node: NodeId, addresses: &[String]) {
        let addresses = addresses.iter().filter_map(|text| text.parse().ok()).collect();
        let opts = libp2p::swarm::dial_opts::DialOpts::peer_id(to_peer_id(&node))
            .addresses(addresses)
            .condition(libp2p::swarm::dial_opts::PeerCondition::DisconnectedAndNotDialing)
            .build();
        if let Err(error) = self.swarm.dial(opts) {
            tracing::debug!(?node, %error, "could not dial a node on this network");
            self.discover(discovery::Input::Failed(node));
        }
    }

    /// Where this node listens has changed, and with it perhaps the networks that it is in.
    pub(super) fn look_around(&mut self) {
        if self.nearby.enabled {
            let addresses: Vec<_> = self.swarm.listeners().filter_map(ip).collect();
            if self.nearby.mdns.set_addresses(addresses.into_iter()) {
                let there = self.nearby.mdns.networks().next().is_some();
                self.discover(discovery::Input::Network(there));
            }
        }
    }

    /// Somebody said something on a local network.
    pub(super) fn overhear(&mut self, received: &Received) {
        let now = self.now();
        if !self.nearby.read.take(now, received.from) {
            return;
        }
        match mdns::parse(&received.bytes) {
            Some(Packet::Question) => self.discover(discovery::Input::Question),
            Some(Packet::Answer(nodes)) => {
                let local = self.local;
                for mut heard in nodes.into_iter().filter(|heard| heard.node != local) {
                    heard.addresses.retain(|address| is_near(address, received.from_here));
                    if !received.speaks_for(&heard.addresses) {
                        continue;
                    }
                    self.discover(discovery::Input::Heard(heard));
                }
            }
            None => {}
        }
    }

    /// Asks a stranger that was just connected which mesh it is in.
    pub(super) fn greet(&mut self, node: NodeId) {
        if !self.nearby.enabled || self.is_member(&node) {
            return;
        }
        let now = self.now();
        let (reply, answer) = oneshot::channel();
        let request = HelloRequest { version: protocol::wire::VERSION };
        let call = Call { to: node, request, reply };
        self.hello.ask(now, Ok(&mut self.swarm.behaviour_mut().hello), call);
        self.answers.push(
            async move {
                let answer = answer.await.unwrap_or(Err(RpcError::Stopped));
                Completion::Greeted { node, answer }
            }
            .boxed(),
        );
    }

    /// A stranger said which mesh it is in, or does not speak our language.
    pub(super) fn greeted(&mut self, node: NodeId, answer: Result<HelloResponse, RpcError>) {
        match answer {
            Ok(HelloResponse { mesh, .. }) => {
                let again = if self.nearby.seeking { MEET_AGAIN_SEEKING } else { MEET_AGAIN };
                self.discover(discovery::Input::Met(node, again));
                match (mesh, self.peers.address(&node)) {
                    (Some(hello), Some(address)) => {
                        self.nearby.silent.remove(&node);
                        // Told again when it is met again, so a full queue loses nothing for good.
                        let _full = self.inbound.try_send(Inbound::Met { node, address, hello });
                    }
                    // It has just started, or looks for a mesh itself.
                    (None, Some(_)) => self.ask_again_later(node),
                    (_, None) => {}
                }
            }
            Err(RpcError::Unsupported) => self.is_foreign(node),
            Err(error) => {
                tracing::debug!(?node, %error, "a stranger did not say who it is");
                self.ask_again_later(node);
            }
        }
    }

    fn ask_again_later(&mut self, node: NodeId) {
        let now = self.now();
        let silent = &mut self.nearby.silent;
        if silent.len() < SILENT_MAX || silent.contains_key(&node) {
            let (at, asked) = silent.entry(node).or_insert((now, 0));
            let delay = ASK_AGAIN.saturating_mul(1_u32.checked_shl(*asked).unwrap_or(u32::MAX));
            (*at, *asked) = (now.saturating_add(delay), asked.saturating_add(1).min(6));
        }
    }

    /// Asks those again who could not say which mesh they are in, as long as they are there.
    pub(super) fn ask_again(&mut self, now: Timestamp) {
        let peers = &self.peers;
        self.nearby.silent.retain(|node, _| peers.contains(node));
        let due: Vec<_> = self
            .nearby
            .silent
            .iter_mut()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(node, (at, _))| {
                // Until it has answered, or not.
                *at = Timestamp::END;
                *node
            })
            .collect();
        for node in due {
            self.greet(node);
        }
    }

    /// A peer turned out to be no node of ours.
    pub(super) fn is_foreign(&mut self, node: NodeId) {
        if !self.nearby.enabled || self.is_member(&node) {
            return;
        }
        tracing::debug!(?node, "a peer on this network is no node of ours");
        self.discover(discovery::Input::Foreign(node));
        let _gone = self.swarm.disconnect_peer_id(to_peer_id(&node));
    }

    /// Whether it matters whom this node meets. Once it does, it looks around at once.
    pub(super) fn set_seeking(&mut self, seeking: bool) {
        let begins = seeking && !self.nearby.seeking;
        self.nearby.seeking = seeking;
        if begins && self.nearby.mdns.networks().next().is_some() {
            self.discover(discovery::Input::Network(true));
            let strangers: Vec<_> =
                self.peers.nodes().filter(|node| !self.is_member(node)).collect();
            for node in strangers {
                self.greet(node);
            }
        }
    }
}
