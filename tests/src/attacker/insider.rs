//! A member that runs an honest network, and says on it what it likes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::Context as _;
use libp2p::metrics::Registry;
use node::{
    net::{self, Inbound, MeshSetup, Net, NetConfig, NetHandle, PublishError, Roll},
    roles::clock::NodeClock,
};
use protocol::{
    ids::{MeshId, NodeId},
    keys::SecretKey,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::Target;

/// Adverts that wait to be looked at; more are passed over.
const HEARD_MAX: usize = 64;
/// The pause between two attempts to publish.
const PAUSE: Duration = Duration::from_millis(100);
/// How long an advert is waited for: three times as long as a node waits between two.
const PATIENCE: Duration = Duration::from_secs(45);

/// It hears what is gossiped and gossips what it is told to. It ends when this is dropped.
#[derive(Debug)]
pub struct Insider {
    handle: NetHandle,
    heard: mpsc::Receiver<(NodeId, Vec<u8>)>,
    _tasks: JoinSet<()>,
}

impl Insider {
    /// Connects to the target as this member, which counts the target among the members too.
    ///
    /// # Errors
    ///
    /// If the target is not reached.
    pub async fn join(key: &SecretKey, target: &Target, mesh: MeshId) -> anyhow::Result<Self> {
        let config = NetConfig::default();
        let clock = Arc::new(NodeClock::start());
        let Net { handle, mut inbound, task, .. } =
            net::start(&config, key, 1, clock, &mut Registry::default())?;
        let (hear, heard) = mpsc::channel(HEARD_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run(CancellationToken::new()));
        tasks.spawn(async move {
            while let Some(event) = inbound.recv().await {
                if let Inbound::Advert { from, bytes, .. } = event {
                    let _full = hear.try_send((from, bytes));
                }
            }
        });
        let other = protocol::net::from_peer_id(&target.peer).context("no node of ours")?;
        let members = BTreeSet::from([other]);
        handle.join_mesh(MeshSetup::new(mesh, 0, Roll::of(members))).await;
        handle.connect(target.address.clone()).await?;
        Ok(Self { handle, heard, _tasks: tasks })
    }

    /// The next advert that somebody published, as it came.
    ///
    /// # Errors
    ///
    /// If nobody publishes one in time.
    pub async fn advert(&mut self) -> anyhow::Result<(NodeId, Vec<u8>)> {
        let next = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
        next.context("no advert in time")?.context("the network has ended")
    }

    /// Publishes bytes where adverts are published.
    ///
    /// # Errors
    ///
    /// If nobody listens to this member, also not in a while, or everybody has the message.
    pub async fn publish(&self, bytes: Vec<u8>) -> anyhow::Result<()> {
        let publishing = async {
            loop {
                match self.handle.publish_advert(bytes.clone()).await {
                    Err(PublishError::NobodyListens) => tokio::time::sleep(PAUSE).await,
                    published => return published,
                }
            }
        };
        Ok(tokio::time::timeout(PATIENCE, publishing).await.context("nobody listens")??)
    }

    /// Whether the target is still connected.
    pub async fn is_connected(&self) -> bool {
        !self.handle.peers().await.is_empty()
    }
}
