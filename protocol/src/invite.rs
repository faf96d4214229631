//! An invite as people hand it on: one word, `weft1…` (`docs/protocol.md`, "Invites").

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    bech32m,
    codec::{Canonical, decode, encode},
    ids::{AccountId, InviteId, MeshId, NodeId},
    keys::SecretKey,
    sign::Signed,
    time::UnixMillis,
    wire::{
        enroll::{NodeAddress, Role},
        invite::InviteUse,
        is_name,
    },
};

mod bad;

pub use bad::BadInvite;

/// What the text begins with, before the `1`.
pub const PREFIX: &str = "weft";
/// Addresses in one invite.
pub const INVITE_ADDRESSES_MAX: usize = 3;
/// One address in an invite, in bytes; longer ones are left out.
pub const INVITE_ADDRESS_BYTES_MAX: usize = 100;
const SECRET_CONTEXT: &str = "weft 2026 key of an invite";

/// What the text of an invite holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The mesh: whoever is found at the addresses must show that it is of this one.
    pub mesh: MeshId,
    /// What people call the mesh.
    pub name: String,
    /// Who lets the node in, and where they listen: 1 to [`INVITE_ADDRESSES_MAX`] addresses in all.
    pub hosts: Vec<NodeAddress>,
    /// The invite.
    pub invite: InviteId,
    /// What proves it.
    pub secret: Secret,
    /// What the node may do, besides submitting jobs.
    pub role: Role,
    /// Until when it is good.
    pub expires: UnixMillis,
    /// The operator who made it.
    pub sponsor: AccountId,
}

impl Canonical for Invite {
    const BYTES_MAX: usize = 1024;
}

/// 128 random bits. Never printed by itself; never leaves whoever was given it: what is shown is a signature with the
/// key that follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub [u8; 16]);

impl Secret {
    /// The key that follows from it. Its public part is what the ledger holds.
    #[must_use]
    pub fn key(&self) -> SecretKey {
        SecretKey::from_seed(&blake3::derive_key(SECRET_CONTEXT, &self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Invite {
    /// What a node shows instead of the secret.
    #[must_use]
    pub fn proof(&self, node: NodeId, account: AccountId) -> Signed<InviteUse> {
        let shown = InviteUse { invite: self.invite, node, account };
        Signed::sign(&shown, self.mesh, &self.secret.key())
    }

    /// Where to ask, each address with the node that is expected there.
    pub fn addresses(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.hosts
            .iter()
            .flat_map(|host| host.addresses.iter().map(|address| (host.node, address.as_str())))
    }
}

/// The text: the secret is in it.
impl Invite {
    /// One word, to be handed on.
    #[must_use]
    pub fn to_text(&self) -> String {
        bech32m::encode(PREFIX, &encode(self))
    }
}

impl FromStr for Invite {
    type Err = BadInvite;

    fn from_str(text: &str) -> Result<Self, BadInvite> {
        let bytes = bech32m::decode(PREFIX, text).map_err(BadInvite::Text)?;
        let invite: Self = decode(&bytes).map_err(BadInvite::Bytes)?;
        let count = invite.addresses().count();
        let short = |(_, address): (NodeId, &str)| {
            address.starts_with('/') && address.len() <= INVITE_ADDRESS_BYTES_MAX
        };
        if !is_name(&invite.name) {
            return Err(BadInvite::Part("name"));
        }
        if count == 0 || count > INVITE_ADDRESSES_MAX || !invite.addresses().all(short) {
            return Err(BadInvite::Part("address"));
        }
        Ok(invite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Invite {
        Invite {
            mesh: MeshId([1; 32]),
            name: "home".to_owned(),
            hosts: vec![NodeAddress {
                node: NodeId([2; 32]),
                addresses: vec!["/ip4/192.0.2.7/udp/4301/quic-v1".to_owned()],
            }],
            invite: InviteId([3; 16]),
            secret: Secret([4; 16]),
            role: Role::Worker,
            expires: UnixMillis(1_790_000_000_123),
            sponsor: AccountId([5; 32]),
        }
    }

    #[test]
    fn an_invite_survives_its_text_and_is_frozen() {
        let text = invite().to_text();
        assert_eq!(
            text,
            "weft1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqsgqqqqqqqqqqqdphk6egpqqqqqqqqqqqqy\
             qszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqspqqqqqqqqqqqp7qqqqqqqqqqq9a5hqdp0xyunyt3\
             s9cezude0w4j8qte5xvcrztm3w45kxttkxypsxqcrqvpsxqcrqvpsxqcrqvpsgpqyqszqgpqyqszqgpqyqszqgqqqq\
             qq8kmzscjsqzqqqq5zs2pg9q5zs2pg9q5zs2pg9q5zs2pg9q5zs2pg9q5zs2pg9q5zsxmnzx4"
        );
        assert_eq!(text.parse(), Ok(invite()));
        assert_eq!(format!("\n {} \n", text.to_ascii_uppercase()).parse(), Ok(invite()));
    }

    #[test]
    fn an_invite_that_was_not_copied_whole_is_refused() {
        let text = invite().to_text();
        for cut in [&text[..text.len() - 1], &text[1..], &text[..5], "", "weft1"] {
            assert!(matches!(cut.parse::<Invite>(), Err(BadInvite::Text(_))), "{cut}");
        }
    }

    #[test]
    fn an_invite_names_one_to_three_addresses() {
        let address = "/ip4/192.0.2.7/tcp/4301".to_owned();
        for addresses in
            [vec![], vec![address; 4], vec!["no".to_owned()], vec![format!("/{}", "a".repeat(100))]]
        {
            let hosts = vec![NodeAddress { node: NodeId([2; 32]), addresses }];
            let text = Invite { hosts, ..invite() }.to_text();
            assert_eq!(text.parse::<Invite>(), Err(BadInvite::Part("address")));
        }
    }

    #[test]
    fn a_proof_is_good_for_one_node_and_does_not_show_the_secret() {
        let invite = invite();
        let proof = invite.proof(NodeId([7; 32]), AccountId([8; 32]));
        let shown = proof.clone().verify(&invite.mesh).unwrap();
        assert_eq!(*shown.signer(), invite.secret.key().public());
        assert_eq!(shown.claim().node, NodeId([7; 32]));
        let bytes = encode(&proof);
        assert!(!bytes.windows(16).any(|window| window == invite.secret.0));
        assert!(!format!("{invite:?}").contains("04040404"));
    }
}
