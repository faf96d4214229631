//! Whose this node is in its mesh: its own owner's, or that of an owner who delegated to it.

use std::sync::Arc;

use protocol::{
    ids::{AccountId, MeshId},
    keys::SecretKey,
    sign::Signed,
    wire::owner::Delegation,
};
use tokio::sync::watch;

use crate::home::Keys;

/// Whose a node is. Cheap to clone; all clones learn of a change.
#[derive(Debug, Clone)]
pub struct Owner {
    mesh: MeshId,
    keys: Arc<Keys>,
    account: watch::Sender<AccountId>,
}

impl Owner {
    /// A node that is its own owner's until something else is learned.
    #[must_use]
    pub fn new(mesh: MeshId, keys: Arc<Keys>) -> Self {
        let (account, _) = watch::channel(keys.owner.account());
        Self { mesh, keys, account }
    }

    /// The account that pays for what this node submits, and gets what it earns.
    #[must_use]
    pub fn account(&self) -> AccountId {
        *self.account.borrow()
    }

    /// The key that signs for that account: its own, or this node's, to which it delegated.
    #[must_use]
    pub fn key(&self) -> &SecretKey {
        if self.account() == self.keys.owner.account() { &self.keys.owner } else { &self.keys.node }
    }

    /// What the mesh says about whose this node is. Another account than its own owner's is believed with that
    /// account's delegation to this node, or where `trusted` says that it was believed before: a node that has
    /// changed its key has none for the new one.
    pub fn learn(
        &self,
        account: AccountId,
        delegation: Option<&Signed<Delegation>>,
        trusted: bool,
    ) -> bool {
        let is_own = account == self.keys.owner.account();
        let is_delegated = || {
            let verified = delegation.cloned()?.verify(&self.mesh).ok()?;
            let claim = verified.claim();
            let good = claim.owner == account
                && claim.owner.0 == *verified.signer()
                && claim.node == self.keys.node.node();
            good.then_some(())
        };
        let believed = is_own || trusted || is_delegated().is_some();
        if believed {
            self.account.send_if_modified(|known| {
                let changed = *known != account;
                *known = account;
                changed
            });
        } else {
            tracing::warn!(%account, "the mesh names an owner of this node who has not signed for it");
        }
        believed
    }
}

#[cfg(test)]
mod tests {
    use protocol::time::UnixMillis;

    use super::*;

    const MESH: MeshId = MeshId([5; 32]);

    fn owner() -> (Owner, Keys) {
        let keys =
            Keys { node: SecretKey::from_seed(&[1; 32]), owner: SecretKey::from_seed(&[2; 32]) };
        (Owner::new(MESH, Arc::new(keys.clone())), keys)
    }

    #[test]
    fn a_node_acts_for_another_owner_only_with_that_owners_word() {
        let (owner, keys) = owner();
        let other = SecretKey::from_seed(&[3; 32]);
        assert!(!owner.learn(other.account(), None, false));
        let forged =
            Delegation { node: keys.node.node(), owner: other.account(), at: UnixMillis(1) };
        let by_itself = Signed::sign(&forged, MESH, &keys.owner);
        assert!(!owner.learn(other.account(), Some(&by_itself), false));
        let elsewhere = Signed::sign(&forged, MeshId([6; 32]), &other);
        assert!(!owner.learn(other.account(), Some(&elsewhere), false));
        assert_eq!(owner.account(), keys.owner.account());

        let good = Signed::sign(&forged, MESH, &other);
        assert!(owner.learn(other.account(), Some(&good), false));
        assert_eq!(owner.account(), other.account());
        assert_eq!(owner.key().public(), keys.node.public());
        assert!(owner.learn(keys.owner.account(), None, false));
        assert_eq!(owner.key().public(), keys.owner.public());
    }
}
