//! Looking for a mesh to join: the shell of [`core::meeting`](crate::core::meeting), and what a person asked for.
//!
//! What a person asked for, an address to join, comes before what was met on the local network.

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use libp2p::{Multiaddr, multiaddr::Protocol};
use protocol::{
    ids::{MeshId, NodeId},
    machine::Machine as _,
    time::{Clock as _, Timestamp},
    wire::enroll::{Membership, MeshHello},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    enroll::{self, Asked, Errand, Progress, Statement},
    life::{Mine as Leaving, Order},
    start::Base,
    words,
};
use crate::{
    api::{Asking, Standing},
    core::meeting::{self, Facts, Mine, Seeker, Wanted},
};

/// Nodes that were met and wait to be looked at; more are met again later.
pub(super) const MET_MAX: usize = 32;
/// Requests of people that wait.
pub(super) const JOINS_MAX: usize = 4;
/// How often it is looked at where this node belongs.
const TICK: Duration = Duration::from_millis(500);

/// A node that was met.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) node: NodeId,
    pub(super) address: Multiaddr,
    pub(super) hello: MeshHello,
}

/// Somebody wants this node to join the mesh of the node at an address.
#[derive(Debug)]
pub struct Join {
    /// Whom to ask, and for how long.
    pub errand: Errand,
    /// Whether this node's own mesh may be left for it.
    pub mine: Leaving,
    /// How the first attempt went: whom it reached, or why nobody.
    pub reached: Option<oneshot::Sender<Result<Asking, String>>>,
}

/// What came of asking a node that was met.
type Answer = (NodeId, Result<(MeshHello, Asked), String>);
/// Where this node was admitted, and whether it may leave its own mesh for it.
type Found = Option<(MeshId, Membership, Leaving)>;

/// Looks for a mesh to join.
pub(super) struct Seek {
    pub(super) base: Base,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) asking: watch::Sender<Option<Asking>>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) met: mpsc::Receiver<Met>,
    pub(super) joins: mpsc::Receiver<Join>,
}

/// What it knows while it looks.
struct Looking {
    core: Seeker,
    /// Where nodes that were met are. As many as the core remembers, and a few that it has forgotten.
    places: BTreeMap<NodeId, Multiaddr>,
    statement: Statement,
    asked: Option<BoxFuture<'static, Answer>>,
    /// What a person asked for.
    quest: Option<BoxFuture<'static, Found>>,
    seeking: bool,
    /// Since when it has been asking the mesh that it asks now.
    since: Timestamp,
    /// Whether a person was told that nobody is there, or need not be.
    told: bool,
}

impl Seek {
    /// Looks until the node ends.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looking = Looking {
            core: Seeker::new(Mine::Nobody),
            places: BTreeMap::new(),
            statement: Statement::with(self.base.options.invite.clone()),
            asked: None,
            quest: None,
            seeking: false,
            since: Timestamp::ORIGIN,
            told: false,
        };
        loop {
            self.tell_if_nobody_is_there(&mut looking);
            self.look_at_mine(&mut looking).await;
            let Looking { asked, quest, .. } = &mut looking;
            tokio::select! {
                Some(met) = self.met.recv() => self.on_met(&mut looking, met),
                Some(join) = self.joins.recv() => {
                    let quest = self.begin(&looking, join);
                    looking.quest = Some(quest);
                }
                answer = pending(asked) => {
                    looking.asked = None;
                    self.on_answer(&mut looking, answer).await;
                }
                found = pending(quest) => {
                    looking.quest = None;
                    if let Some((mesh, membership, mine)) = found {
                        self.go(&mut looking, mesh, membership, mine).await;
                    }
                }
                _ = ticks.tick() => self.step(&mut looking, meeting::Input::Tick),
            }
        }
    }

    /// Where this node belongs may have changed.
    async fn look_at_mine(&self, looking: &mut Looking) {
        let options = &self.base.options;
        let invited = options.invite.as_ref().map(|invite| Wanted::Mesh(invite.mesh));
        let named = invited.or_else(|| options.config.join.clone().map(Wanted::Name));
        let member = match &*self.standing.borrow() {
            Standing::Member(member) => Some(member.hello()),
            Standing::Starting | Standing::Waiting | Standing::Refused(_) => None,
        };
        let mine = match (member, named) {
            (Some(Some(hello)), Some(name)) => Mine::MeshBut(Facts::from(&hello), name),
            (Some(Some(hello)), None) => Mine::Mesh(Facts::from(&hello)),
            (None, Some(name)) => Mine::Wants(name),
            (Some(None), _) | (None, None) => Mine::Nobody,
        };
        let seeking = match &mine {
            Mine::Nobody => false,
            Mine::Wants(_) => true,
            Mine::Mesh(facts) | Mine::MeshBut(facts, _) => facts.pristine,
        };
        if seeking != looking.seeking {
            looking.seeking = seeking;
            self.base.net.set_seeking(seeking).await;
        }
        // A refusal stays to be seen.
        let idle = !seeking && looking.quest.is_none();
        if idle && self.asking.borrow().as_ref().is_some_and(|asking| asking.refused.is_none()) {
            self.asking.send_replace(None);
        }
        self.step(looking, meeting::Input::Mine(mine));
    }

    fn on_met(&self, looking: &mut Looking, met: Met) {
        let Met { node, address, hello } = met;
        if looking.places.len() > meeting::MET_MAX {
            let core = &looking.core;
            looking.places.retain(|node, _| core.knows(node));
        }
        looking.places.insert(node, address);
        self.step(looking, meeting::Input::Met(node, hello));
    }

    /// Tells the core what happened, and asks whom it wants asked.
    fn step(&self, looking: &mut Looking, input: meeting::Input) {
        let now = self.base.clock.now();
        let outputs = looking.core.handle(now, input);
        for meeting::Output::Ask(node, mesh) in outputs {
            let request = looking.statement.to(mesh, &self.base.options);
            let net = self.base.net.clone();
            let options = self.base.options.clone();
            let ask = async move {
                let asked = async {
                    let hello = enroll::hello(&net, node).await?;
                    if hello.mesh != mesh {
                        return Ok((hello, Asked::Elsewhere(Vec::new())));
                    }
                    let asked = enroll::ask(&options, &net, node, mesh, request).await?;
                    Ok((hello, asked))
                };
                (node, asked.await)
            };
            looking.asked = Some(ask.boxed());
        }
    }

    async fn on_answer(&self, looking: &mut Looking, (node, answer): Answer) {
        let (hello, asked) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%node, error, "a node of another mesh did not answer");
                self.step(looking, meeting::Input::Failed(node));
                return;
            }
        };
        // First what it is now: perhaps it is not to be asked any more.
        self.step(looking, meeting::Input::Met(node, hello.clone()));
        let place = looking.places.get(&node).cloned().unwrap_or_else(Multiaddr::empty);
        let after = looking.statement.heard(hello.mesh, &asked);
        let code = looking.statement.code(hello.mesh);
        let asking = enroll::asking(&hello, node, &place, &asked, code);
        let asking = Asking { on_lan: true, ..asking };
        let wanted = looking.core.best().is_some_and(|(best, _)| best.mesh == hello.mesh);
        let input = match asked {
            Asked::Wait(wait, _) => meeting::Input::Wait(node, after.unwrap_or(wait)),
            Asked::Refused(_) => meeting::Input::Refused(node),
            Asked::Elsewhere(addresses) => {
                self.visit(addresses);
                meeting::Input::Failed(node)
            }
            Asked::Admitted(mesh, membership) => {
                if wanted && looking.quest.is_none() {
                    self.go(looking, mesh, *membership, Leaving::IfPristine).await;
                }
                meeting::Input::Failed(node)
            }
        };
        if wanted && looking.quest.is_none() && !matches!(input, meeting::Input::Failed(_)) {
            looking.note(self.base.clock.now(), &self.asking, &asking);
            let refused = asking.refused.clone().filter(|_| self.base.options.ends_if_refused);
            let mesh = asking.mesh_name.clone();
            self.show(asking);
            if let Some(reason) = refused {
                let _ending = self.orders.send(Order::GiveUp { mesh, reason }).await;
            }
        }
        self.step(looking, input);
    }

    /// Connects to nodes that another one named, so that they are met too.
    fn visit(&self, addresses: Vec<Multiaddr>) {
        let net = self.base.net.clone();
        self.base.spawn(async move {
            for address in addresses {
                if net.connect(address).await.is_ok() {
                    return;
                }
            }
        });
    }

    fn show(&self, asking: Asking) {
        show(&self.base, &self.standing, &self.asking, asking);
    }

    /// A person who waits in vain is told so, once.
    fn tell_if_nobody_is_there(&self, looking: &mut Looking) {
        let now = self.base.clock.now();
        if looking.told || now.saturating_since(Timestamp::ORIGIN) < words::NOTHING_AFTER {
            return;
        }
        looking.told = true;
        if looking.seeking && looking.places.is_empty() && self.base.options.config.mdns {
            tracing::info!("no mesh was found on this network yet");
            self.base.terminal().say(words::NOTHING);
        }
    }

    /// Does what a person asked for.
    fn begin(&self, looking: &Looking, join: Join) -> BoxFuture<'static, Found> {
        let Join { mut errand, mine, mut reached } = join;
        if let Some(invite) = &errand.invite {
            // Where the mesh was met on the local network it may be reached although it has moved meanwhile.
            let met = looking.core.nodes(&invite.mesh);
            let places = met.iter().filter_map(|node| Some((node, looking.places.get(node)?)));
            let places = places.filter_map(|(node, place)| named(place, node));
            errand.addresses.extend(places.take(protocol::limits::ADDRESSES_MAX));
        }
        let (base, standing, asking) =
            (self.base.clone(), self.standing.clone(), self.asking.clone());
        async move {
            let progress = |progress: Progress| {
                if let Progress::Asked(now) = &progress {
                    show(&base, &standing, &asking, now.clone());
                }
                if let Some(reached) = reached.take() {
                    let _gone = reached.send(match progress {
                        Progress::Asked(asking) => Ok(asking),
                        Progress::Nobody(why) => Err(why),
                    });
                }
            };
            let joined = enroll::join(&base.options, &base.net, errand, progress);
            joined.await.map(|(mesh, membership)| (mesh, membership, mine))
        }
        .boxed()
    }

    /// Moves to a mesh that has admitted this node.
    async fn go(&self, looking: &mut Looking, mesh: MeshId, membership: Membership, mine: Leaving) {
        let members = u32::try_from(membership.members.len()).unwrap_or(u32::MAX);
        let name = membership.genesis.peek().map(|genesis| genesis.name).unwrap_or_default();
        let (moved, answer) = oneshot::channel();
        let membership = Box::new(membership);
        let order = Order::Move { mesh, membership, mine, moved };
        if self.orders.send(order).await.is_err() {
            return;
        }
        match answer.await {
            Ok(true) => {
                let took = self.base.clock.now().saturating_since(looking.since);
                self.base.terminal().say(&words::joined(&name, members, took));
                self.asking.send_replace(None)
            }
            Ok(false) => {
                tracing::warn!(
                    mesh = %mesh.short(),
                    "was admitted, but this node's own mesh holds something by now: it stays; to leave: weft join --leave-mine"
                );
                self.asking.send_replace(None)
            }
            Err(_) => None,
        };
    }
}

impl Looking {
    /// Remembers since when a mesh has been asked.
    fn note(&mut self, now: Timestamp, asking: &watch::Sender<Option<Asking>>, next: &Asking) {
        if asking.borrow().as_ref().is_none_or(|before| before.mesh != next.mesh) {
            self.since = now;
        }
    }
}

/// Shows how asking is getting on.
fn show(
    base: &Base,
    standing: &watch::Sender<Standing>,
    asking: &watch::Sender<Option<Asking>>,
    now: Asking,
) {
    let same = |before: &Asking| {
        before.mesh == now.mesh && before.refused == now.refused && before.code == now.code
    };
    if asking.borrow().as_ref().is_some_and(same) {
        return;
    }
    // People are told once there is a code to compare; it follows the first answer within a moment.
    let tells = now.code.is_some() || now.refused.is_some();
    match &now.refused {
        Some(reason) => {
            tracing::warn!(mesh = now.mesh_name, reason, "this node was refused");
            base.terminal().say(&words::refused(&now, reason));
        }
        None if !tells => {}
        None => {
            let code = now.code.map(|code| code.to_string()).unwrap_or_default();
            tracing::info!(mesh = now.mesh_name, code, "asks to join, and waits to be approved");
            base.terminal().say(&words::found(&now, &base.options.name()));
        }
    }
    let refused = now.refused.clone();
    standing.send_if_modified(|standing| match standing {
        Standing::Waiting | Standing::Refused(_) => {
            *standing = refused.map_or(Standing::Waiting, Standing::Refused);
            true
        }
        Standing::Starting | Standing::Member(_) => false,
    });
    asking.send_replace(Some(now));
}

/// An address with the node that is expected there.
fn named(place: &Multiaddr, node: &NodeId) -> Option<Multiaddr> {
    match place.iter().last() {
        Some(Protocol::P2p(_)) => Some(place.clone()),
        _ => place.clone().with_p2p(protocol::net::to_peer_id(node)).ok(),
    }
}

/// Waits for a future that may not be there.
async fn pending<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
