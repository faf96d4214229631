//! What this node says it has to offer.

use std::{fs, path::PathBuf, time::Duration};

use protocol::{
    codec::encode,
    sign::Signed,
    wire::advert::{Advert, Isolation},
};
use tokio::sync::watch;

use super::host::platform;
use crate::{
    home::UpOptions,
    machine::Machine,
    net::PublishError,
    roles::{Context, clock::NodeClock, leader::Leader},
};

/// At least one advert in this time.
const EVERY: Duration = Duration::from_secs(15);
/// At most one in this time, while somebody listens.
const NOT_BEFORE: Duration = Duration::from_secs(5);
/// While nobody listens yet, try again after this.
const UNHEARD: Duration = Duration::from_millis(500);
/// How long an advert is good for.
const TTL: Duration = Duration::from_secs(45);
/// Numbers that are set aside at a time, so that the file is written rarely.
const NUMBERS: u64 = 1_000;

/// Numbers that only grow, also over restarts and clocks that go back.
#[derive(Debug)]
struct Sequence {
    path: PathBuf,
    next: u64,
    set_aside: u64,
}

impl Sequence {
    fn open(path: PathBuf) -> Self {
        let kept =
            fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let next = NodeClock::wall().0.max(kept);
        Self { path, next, set_aside: next }
    }

    fn next(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        if self.next >= self.set_aside {
            self.set_aside = self.next.saturating_add(NUMBERS);
            if let Err(error) = fs::write(&self.path, self.set_aside.to_string()) {
                tracing::warn!(path = %self.path.display(), %error, "the number of the last advert cannot be kept");
            }
        }
        self.next
    }
}

/// Publishes adverts until the node stops.
pub(super) async fn publish(
    context: Context,
    leader: Leader,
    options: std::sync::Arc<UpOptions>,
    (machine, isolation): (Machine, Isolation),
    mut slots: watch::Receiver<(u16, u16)>,
) {
    let path = options.home.mesh_dir(&context.mesh).join("advert-sequence");
    let mut sequence = Sequence::open(path);
    loop {
        let (all, free) = *slots.borrow_and_update();
        let outlook = machine.outlook().borrow().clone();
        let load = outlook.load;
        let (os, arch) = platform();
        let advert = Advert {
            version: 1,
            node: options.node(),
            seq: sequence.next(),
            at: NodeClock::wall(),
            ttl_ms: u32::try_from(TTL.as_millis()).unwrap_or(u32::MAX),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            os,
            arch,
            roles: options.config.roles.clone(),
            isolation,
            cores: outlook.shared.cores,
            memory_bytes: outlook.shared.limits.memory_bytes,
            memory_free_bytes: load.memory_free_bytes,
            cpu_percent: load.cpu_percent,
            memory_percent: load.memory_percent,
            slots: all,
            slots_free: free,
            tags: Vec::new(),
        };
        if let Some(here) = leader.here() {
            here.advert(advert.clone()).await;
        }
        let signed = Signed::sign(&advert, context.mesh, &context.keys.node);
        let heard = match context.net.publish_advert(encode(&signed)).await {
            Ok(()) => true,
            Err(PublishError::NobodyListens | PublishError::Busy) => false,
            Err(error) => {
                tracing::debug!(%error, "an advert was not published");
                true
            }
        };
        let here_only = !heard && leader.here().is_some();
        tokio::time::sleep(if heard || here_only { NOT_BEFORE } else { UNHEARD }).await;
        if heard || here_only {
            let rest = EVERY.saturating_sub(NOT_BEFORE);
            let _either = tokio::time::timeout(rest, slots.changed()).await;
        }
    }
}
