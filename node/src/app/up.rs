//! `weft up`: from settings to a running node, and from there to a clean end.

use std::{io::Write as _, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use protocol::{
    ids::MeshId,
    time::{Clock as _, Timestamp},
    wire::{
        advert::Isolation,
        enroll::{Membership, Role},
    },
};
use sandbox::pool::{self, Pool};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AppError,
    enroll::{Errand, Patience},
    hangup,
    inbound::{Router, Serving},
    life::{self, Life, Mine, Order},
    listen::{keep_bans, listen, parse_all},
    membership, moving,
    seek::{self, Join, Met, Seek},
    start::{Base, may_found},
    stay::Stay,
    words::{self, Belongs, Welcome},
};
use crate::{
    api::{self, Asking, Metrics, NodeApi, Standing},
    blobs::BlobStore,
    core::adverts::{self, Adverts},
    home::UpOptions,
    machine::{Machine, Shared},
    net::{self, Net, remember},
    roles::clock::NodeClock,
};

/// How long everything may take to end once work has stopped.
pub(super) const END_WITHIN: Duration = Duration::from_secs(10);
/// How long an idle runner process is kept warm.
const RUNNERS_KEPT: Duration = Duration::from_secs(60);
/// How often remembered peers are written.
const REMEMBER_EVERY: Duration = Duration::from_secs(10);

/// Runs a node until it is told to end, or cannot go on.
///
/// Prints one line on the standard output once its sockets listen: `ready peer=… p2p=… api=…`.
///
/// # Errors
///
/// See [`AppError`].
pub async fn up(options: UpOptions) -> Result<(), AppError> {
    let options = Arc::new(options);
    moving::finish(&options)?;
    let clock = NodeClock::start();
    let mut registry = Registry::default();
    let Net { handle, inbound, bans, task } = listen(&options, clock, &mut registry)?;
    let stop = CancellationToken::new();
    let end = CancellationToken::new();
    let tasks = TaskTracker::new();
    let net_stop = CancellationToken::new();
    let mut net_task = tokio::task::JoinSet::new();
    net_task.spawn(task.run(net_stop.clone()));
    tasks.spawn(keep_bans(options.clone(), clock, bans, stop.clone()));

    let base = prepare(&options, handle, clock, &tasks, &stop).await?;
    let (life, seek, met, door) = unborn(&base);
    let listeners = api::bind(&options).await.map_err(AppError::Api)?;
    let url = listeners.url();
    let api = node_api(&base, &door, registry, url.clone(), end.clone());
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(api::serve(listeners, api, stop.clone()));
    let router = Router {
        standing: door.standing.clone(),
        blobs: base.blobs.clone(),
        tasks: tasks.clone(),
        stop: stop.clone(),
        clock,
        adverts: Adverts::new(adverts::Config::default()),
        met,
        serving: Serving::default(),
        group: Serving::default(),
    };
    tasks.spawn(router.run(inbound));
    tasks.spawn(remember_peers(base.clone()));
    tasks.spawn(hangup::outlive(stop.clone()));

    let mut life = life;
    if let Some((mesh, membership)) = mesh_at_start(&options)? {
        life.settle(mesh, membership).await?;
    }
    announce(&base, &url, life.stay.as_ref()).await;
    if life.stay.is_none() {
        life.standing.send_replace(Standing::Waiting);
    }
    if let Some(join) = errand_at_start(&options, life.stay.as_ref())? {
        let _stopped = door.joins.send(join).await;
    }
    base.spawn(seek.run());
    let reason = wait_for_end(&end, &stop, &mut life, &mut net_task, &mut serving).await;
    if let Some(stay) = life.stay.as_ref().filter(|_| end.is_cancelled()) {
        stay.drain(options.config.shutdown_grace).await;
    }
    wind_down(&base, life.stay.as_ref()).await;
    // Whoever asked for the end still gets an answer.
    let _served = tokio::time::timeout(END_WITHIN, serving.join_all()).await;
    net_stop.cancel();
    let _ended = tokio::time::timeout(END_WITHIN, net_task.join_all()).await;
    let _removed = std::fs::remove_file(options.home.socket());
    reason
}

/// What others in this process say to a node about the mesh that it is in, and see of it.
struct Door {
    standing: watch::Receiver<Standing>,
    asking: watch::Receiver<Option<Asking>>,
    joins: mpsc::Sender<Join>,
    orders: mpsc::Sender<Order>,
}

/// A node that is in no mesh yet, and does not look for one yet.
fn unborn(base: &Base) -> (Life, Seek, mpsc::Sender<Met>, Door) {
    let (standing, standing_seen) = watch::channel(Standing::Starting);
    let (asking, asking_seen) = watch::channel(None);
    let (orders_in, orders) = mpsc::channel(life::ORDERS_MAX);
    let (joins_in, joins) = mpsc::channel(seek::JOINS_MAX);
    let (met_in, met) = mpsc::channel(seek::MET_MAX);
    let life = Life { base: base.clone(), stay: None, standing: standing.clone(), orders };
    let seek = Seek { base: base.clone(), standing, asking, orders: orders_in.clone(), met, joins };
    let door =
        Door { standing: standing_seen, asking: asking_seen, joins: joins_in, orders: orders_in };
    (life, seek, met_in, door)
}

/// What a node has before it is a member.
async fn prepare(
    options: &Arc<UpOptions>,
    net: net::NetHandle,
    clock: NodeClock,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Base, AppError> {
    let quota = options.config.blobs_bytes_max;
    let blobs = BlobStore::open(&options.home.blobs_dir(), quota, NodeClock::wall)
        .map_err(AppError::Blobs)?;
    let shared = Shared::here(&options.config);
    let machine = Machine::new(&options.home, shared);
    let (pool, isolation) = sandbox_pool(options, shared.slots_max).await?;
    tasks.spawn(watch_over(machine.clone(), clock, stop.clone()));
    tasks.spawn(retire_runners(pool.clone(), stop.clone()));
    Ok(Base {
        options: options.clone(),
        net,
        blobs,
        pool,
        machine,
        isolation,
        clock,
        tasks: tasks.clone(),
        stop: stop.clone(),
    })
}

/// The mesh that this node is in, or a new one; nothing if it is to ask others first.
fn mesh_at_start(options: &UpOptions) -> Result<Option<(MeshId, Membership)>, AppError> {
    match membership::load(options)? {
        Some(known) => Ok(Some(known)),
        None if options.config.bootstrap.is_empty() && options.config.join.is_none() => {
            may_found(options).map(Some)
        }
        None => Ok(None),
    }
}

/// What this node asks of whom as soon as it has started: to be let in, where it is in no mesh, or in one that holds
/// nothing and was given an invite to another.
fn errand_at_start(options: &UpOptions, stay: Option<&Stay>) -> Result<Option<Join>, AppError> {
    let mine = stay.map(|stay| &stay.member);
    let other = options
        .invite
        .as_ref()
        .filter(|invite| mine.is_some_and(|mine| invite.mesh != mine.context.mesh));
    if let (Some(mine), Some(invite)) = (mine, other)
        && mine.hello().is_none_or(|hello| !hello.pristine)
    {
        tracing::warn!(
            invited_to = invite.name,
            "this node's own mesh holds something: it stays; to leave: weft join --leave-mine INVITE"
        );
        return Ok(None);
    }
    let addresses = parse_all(&options.config.bootstrap)?;
    if addresses.is_empty() || (mine.is_some() && other.is_none()) {
        return Ok(None);
    }
    let (invite, patience) = (options.invite.clone(), Patience::Endless);
    let errand = Errand { addresses, invite, patience };
    Ok(Some(Join { errand, mine: Mine::IfPristine, reached: None }))
}

/// Ends everything but the network, so that what is answered last still gets out.
async fn wind_down(base: &Base, stay: Option<&Stay>) {
    if let Some(stay) = stay {
        stay.end().await;
    }
    base.stop.cancel();
    base.tasks.close();
    if tokio::time::timeout(END_WITHIN, base.tasks.wait()).await.is_err() {
        tracing::warn!("not everything ended in time");
    }
}

/// Where tasks run, and how well guests are isolated there: measured, not assumed.
async fn sandbox_pool(options: &UpOptions, slots: u16) -> Result<(Arc<Pool>, Isolation), AppError> {
    let runner = pool::find_runner().map_err(AppError::Sandbox)?;
    let config = pool::Config {
        spare: true,
        ..pool::Config::new(runner, options.home.artifacts_dir(), slots)
    };
    let pool = Pool::new(config).map_err(AppError::Sandbox)?;
    let isolation = pool.isolation().await.unwrap_or_else(|error| {
        tracing::warn!(
            error,
            "the isolation of guests could not be measured: the lowest grade is assumed"
        );
        Isolation::C
    });
    Ok((Arc::new(pool), isolation))
}

async fn watch_over(machine: Machine, clock: NodeClock, stop: CancellationToken) {
    let _stopped = stop.run_until_cancelled(machine.watch_over(clock)).await;
}

/// Gives the memory of runners back that nobody used for a while.
async fn retire_runners(pool: Arc<Pool>, stop: CancellationToken) {
    let idle = async {
        loop {
            tokio::time::sleep(RUNNERS_KEPT).await;
            pool.retire(RUNNERS_KEPT);
        }
    };
    let _stopped = stop.run_until_cancelled(idle).await;
}

fn node_api(
    base: &Base,
    door: &Door,
    registry: Registry,
    url: String,
    end: CancellationToken,
) -> Arc<NodeApi> {
    Arc::new(NodeApi {
        options: base.options.clone(),
        net: base.net.clone(),
        blobs: base.blobs.clone(),
        machine: base.machine.clone(),
        isolation: base.isolation,
        standing: door.standing.clone(),
        asking: door.asking.clone(),
        joins: door.joins.clone(),
        orders: door.orders.clone(),
        metrics: Metrics::new(registry, &base.options),
        started: base.clock,
        url,
        end,
    })
}

/// One line for scripts on the standard output; some for people on a terminal.
async fn announce(base: &Base, url: &str, stay: Option<&Stay>) {
    let node = base.options.node();
    let addresses = base.net.listen_addrs().await;
    // Of the kind that was asked for first: TCP unless somebody chose otherwise.
    let tcp = base.options.config.listen.first().is_none_or(|address| address.contains("/tcp/"));
    let of_kind = addresses.iter().find(|address| address.to_string().contains("/tcp/") == tcp);
    let p2p = of_kind.or_else(|| addresses.first());
    let p2p = p2p.map(|address| format!("{address}/p2p/{node}")).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    let _closed = writeln!(out, "ready peer={node} p2p={p2p} api={url}").and_then(|()| out.flush());
    drop(out);
    let genesis = stay.and_then(|stay| stay.member.context.genesis.peek().ok());
    let mesh = match (&genesis, &base.options.config.join) {
        (Some(genesis), _) if genesis.coordinator == node => {
            Belongs::Own(&genesis.name, genesis.joining)
        }
        (Some(genesis), _) => Belongs::Member(&genesis.name),
        (None, Some(name)) => Belongs::Waits(name),
        (None, None) => Belongs::Asks,
    };
    let works = base.options.config.roles.contains(&Role::Worker);
    let outlook = base.machine.outlook().borrow().clone();
    let limits = outlook.shared.limits;
    base.terminal().say(&words::welcome(&Welcome {
        is_new: base.options.keys_are_new,
        name: &base.options.name(),
        node,
        mesh,
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_free_bytes: outlook.load.memory_free_bytes,
        shares: works.then_some(&limits),
        listens: &addresses,
        on_lan: base.options.config.mdns,
        took: base.clock.now().saturating_since(Timestamp::ORIGIN),
    }));
}

async fn wait_for_end(
    end: &CancellationToken,
    stop: &CancellationToken,
    life: &mut Life,
    net_task: &mut tokio::task::JoinSet<()>,
    serving: &mut tokio::task::JoinSet<()>,
) -> Result<(), AppError> {
    tokio::select! {
        () = end.cancelled() => Ok(()),
        () = stop.cancelled() => Err(AppError::Ended("node")),
        () = signalled() => { end.cancel(); Ok(()) }
        error = life.run() => Err(error),
        _ = net_task.join_next() => Err(AppError::Ended("network")),
        _ = serving.join_next() => Err(AppError::Ended("API")),
    }
}

/// SIGINT or SIGTERM.
pub(super) async fn signalled() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Writes down whom this node knows, so that it finds them again.
async fn remember_peers(base: Base) {
    loop {
        let last = tokio::time::timeout(REMEMBER_EVERY, base.stop.cancelled()).await.is_ok();
        let peers = base.net.peers().await;
        let members: Vec<_> =
            peers.iter().filter(|peer| peer.member).map(net::PeerInfo::node_address).collect();
        if !members.is_empty()
            && let Err(error) = remember::save(&base.options.home.peers_file(), &members)
        {
            tracing::warn!(error = %super::chain(&error), "remembered peers cannot be kept");
        }
        if last {
            return;
        }
    }
}
