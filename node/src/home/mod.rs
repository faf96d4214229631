//! What a node keeps on disk for itself: keys, settings, the lock, the socket, the token of its API.
//!
//! ```text
//! DIR/identity.key   the node's secret key: its peer id        0600, PKCS#8 PEM
//! DIR/identity.next, identity.old   the key that it changes to, and the one before   0600
//! DIR/owner.key      the owner's secret key: its account       0600, PKCS#8 PEM
//! DIR/config.toml    settings; optional, only ever written by `weft config set` and `weft limits set`
//! DIR/holds.json     a pause, a drain: what holds until it is taken back
//! DIR/api.token      what programs on this machine show to the API over TCP   0600
//! DIR/lock           held by the running node
//! DIR/weft.sock      the API for this machine's owner
//! DIR/weft.log       what a detached node has to say
//! DIR/mesh/<id>/     a mesh: `db`, `promise`
//! DIR/blobs/  DIR/artifacts/  DIR/peers  DIR/old/
//! ```
//!
//! # Invariants
//!
//! 1. A secret is written once, whole, for its owner's eyes only, and never overwritten.
//! 2. Only the holder of the lock writes below `mesh/`, `blobs/` and `artifacts/`.

pub mod backup;
mod config;
mod dir;
mod durable;
mod edit;
mod error;
mod keys;
mod lock;
mod petname;
mod private;
pub mod quantity;
mod settings;
mod socket;
mod up;

pub use config::{Config, LogFormat, RoleSet, mode_roles};
pub use dir::Home;
pub(crate) use durable::{replace, sync_dir};
pub use edit::edit;
pub use error::{ConfigError, HomeError};
pub use keys::Keys;
pub(crate) use keys::{is_key, key_seed_hex};
pub use lock::HomeLock;
pub use petname::petname;
pub(crate) use settings::nearest;
pub use settings::{KEYS, Key, Kind, Origin, Setting, Settings, Value};
pub(crate) use socket::connect;
pub use up::UpOptions;
