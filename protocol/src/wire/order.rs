//! What an operator, or its owner, tells a node to do (`docs/protocol.md`, "Orders").

use serde::{Deserialize, Serialize};

use crate::{ids::NodeId, time::UnixMillis, wire::canonical};

/// What a node is told to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Take no new work. What runs goes on until the deadline; what is left then is handed back.
    Drain {
        /// When; without one, what runs goes on to its end.
        deadline: Option<UnixMillis>,
        /// Why, for people. At most [`NOTE_BYTES_MAX`](crate::wire::availability::NOTE_BYTES_MAX) bytes.
        note: String,
    },
    /// Take work again.
    Resume,
}

/// An order. Signed by the account of an operator or of the node's owner; the node keeps it, also over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeOrder {
    /// The node.
    pub node: NodeId,
    /// What.
    pub order: Order,
    /// When it was given: only a later one replaces it.
    pub at: UnixMillis,
}

canonical! {
    NodeOrder: 512, signed as NodeOrder;
}
