//! One program for all targets: `WEFT_FUZZ_TARGET` says which. A program each would link everything a dozen times.

#![no_main]

#[path = "../../src/fuzz/api.rs"]
mod api;
#[cfg(feature = "node")]
#[path = "../../src/fuzz/net.rs"]
mod net;
#[cfg(feature = "node")]
#[path = "../../src/fuzz/node.rs"]
mod node_files;
#[path = "../../src/fuzz/sandbox.rs"]
mod sandbox_modules;
#[path = "../../src/fuzz/wire.rs"]
mod wire;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn chosen() -> fn(&[u8]) {
    match std::env::var("WEFT_FUZZ_TARGET").as_deref() {
        Ok("wire") => wire::messages,
        Ok("signed") => wire::signed,
        Ok("names") => wire::names,
        Ok("multicast") => wire::multicast,
        Ok("invite") => wire::invite,
        Ok("module") => sandbox_modules::module,
        Ok("frames") => sandbox_modules::frames,
        Ok("body") => api::body,
        Ok("reference") => api::reference,
        Ok("receipt") => api::receipt,
        #[cfg(feature = "node")]
        Ok("settings") => node_files::settings,
        #[cfg(feature = "node")]
        Ok("peers") => node_files::peers,
        #[cfg(feature = "node")]
        Ok("bans") => node_files::bans,
        #[cfg(feature = "node")]
        Ok("raft") => node_files::raft,
        #[cfg(feature = "node")]
        Ok("address") => net::address,
        #[cfg(feature = "node")]
        Ok("exchange") => net::exchange,
        #[cfg(feature = "node")]
        Ok("command-line") => node_files::command_line,
        other => panic!("WEFT_FUZZ_TARGET is {other:?}: see tests/src/fuzz/mod.rs for the targets"),
    }
}

fuzz_target!(|data: &[u8]| TARGET.get_or_init(chosen)(data));
