//! This machine, as its adverts name it.

use protocol::wire::advert::{Arch, Os};

/// The operating system and the instruction set.
#[must_use]
pub(super) fn platform() -> (Os, Arch) {
    let os = match std::env::consts::OS {
        "linux" => Os::Linux,
        "macos" => Os::MacOs,
        "windows" => Os::Windows,
        _ => Os::Other,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => Arch::X86_64,
        "aarch64" => Arch::Aarch64,
        _ => Arch::Other,
    };
    (os, arch)
}
