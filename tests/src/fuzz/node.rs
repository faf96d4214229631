//! Files in the data directory, and the command line.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::Path};

use clap::Parser as _;
use ledger::replica::FRAME_BYTES_MAX;
use node::{
    cli::args::{Cli, asked_format},
    home::{Config, Settings, quantity},
    net::{
        bans::{self, Now},
        remember,
    },
};
use protocol::time::{Timestamp, UnixMillis};

/// A configuration file, and the quantities in it.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut settings = Settings::default();
    if settings.add_file(Path::new("config.toml"), text).is_ok() {
        let _config = Config::try_from(&settings);
    }
    let _bytes = quantity::parse_bytes(text);
    let _duration = quantity::parse_duration(text);
    let _credits = quantity::parse_credits(text);
    let _fuel = quantity::parse_fuel(text);
}

/// A file of remembered peers: what is read is bounded.
pub fn peers(bytes: &[u8]) {
    if let Ok(peers) = remember::parse(bytes, Path::new("peers")) {
        assert!(peers.len() <= remember::REMEMBERED_MAX);
    }
}

/// A file of bans: whoever is read of it is banned until later than now.
pub fn bans(bytes: &[u8]) {
    let now = Now { here: Timestamp::ORIGIN, wall: UnixMillis(1_700_000_000_000) };
    if let Ok(bans) = bans::parse(bytes, Path::new("bans"), now) {
        assert!(bans.iter().all(|ban| ban.until > now.here));
    }
}

/// A message between coordinators, or the answer to one.
pub fn raft(bytes: &[u8]) {
    assert!(bytes.len() > FRAME_BYTES_MAX || ledger::testing::frame(bytes).is_none_or(|same| same));
}

/// A command line: words that need not be text, with zeros between them.
pub fn command_line(bytes: &[u8]) {
    let words = bytes.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let words: Vec<_> = [OsString::from("weft")].into_iter().chain(words).take(64).collect();
    let _format = asked_format(&words);
    let _cli = Cli::try_parse_from(words);
}
