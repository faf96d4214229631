//! What a node has to offer, as it says itself (`docs/protocol.md`, "Capacity adverts").
//!
//! Adverts are hints: only a direct heartbeat is believed about slots.

use serde::{Deserialize, Serialize};

use crate::{
    ids::NodeId,
    limits::GOSSIP_BYTES_MAX,
    time::UnixMillis,
    wire::{canonical, enroll::Role},
};

/// How well guests are kept from their host. Ordered: more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Isolation {
    /// A process of its own, nothing else.
    C,
    /// Landlock and seccomp.
    B,
    /// Namespaces, landlock, seccomp and a hard memory bound.
    A,
}

impl Isolation {
    /// The letter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }
}

/// The operating system of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::enum_variant_names, reason = "macOS is its name")]
pub enum Os {
    /// Linux.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
    /// Something else.
    Other,
}

/// The instruction set of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
    /// Something else.
    Other,
}

/// A capacity advert. Signed by the node that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advert {
    /// The version of this format: 1.
    pub version: u16,
    /// The node: the signer.
    pub node: NodeId,
    /// Larger than that of every earlier advert of the node; kept over restarts.
    pub seq: u64,
    /// When it was made.
    pub at: UnixMillis,
    /// How long it is good for, in milliseconds. At most 90 s.
    pub ttl_ms: u32,
    /// The software version.
    pub software: String,
    /// The operating system.
    pub os: Os,
    /// The instruction set.
    pub arch: Arch,
    /// What it does.
    pub roles: Vec<Role>,
    /// How well its guests are isolated.
    pub isolation: Isolation,
    /// Cores that it shares.
    pub cores: u16,
    /// Memory that it shares, in bytes.
    pub memory_bytes: u64,
    /// Memory that is free, in bytes.
    pub memory_free_bytes: u64,
    /// Processor load of the host, in percent of all cores.
    pub cpu_percent: u8,
    /// Memory in use on the host, in percent.
    pub memory_percent: u8,
    /// Tasks that it runs at a time.
    pub slots: u16,
    /// Of those, free.
    pub slots_free: u16,
    /// Labels.
    pub tags: Vec<String>,
}

canonical! {
    // What is left of a gossip message inside an envelope.
    Advert: GOSSIP_BYTES_MAX - 160, signed as Advert;
}
