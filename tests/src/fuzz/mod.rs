//! What a stranger can make a node read, as functions that take any bytes.
//!
//! A target panics if a decoder does, or if it accepts what it should not: that is all a fuzzer needs. The tests here run
//! every target over its corpus (`tests/fuzz/corpus/<target>/`) and over mutations of it that are the same in every run;
//! `tests/fuzz/run` lets libFuzzer look for more. What it finds is put into the corpus, and stays.
//!
//! The files of this module depend on one crate each, so that a fuzzer can be built without the rest.

pub mod api;
pub mod net;
pub mod node;
pub mod sandbox;
pub mod wire;

/// Something that reads bytes of a stranger.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Reads.
    pub read: fn(&[u8]),
    /// Mutations of each input in its corpus that an ordinary test reads.
    pub mutations: usize,
}

const fn target(name: &'static str, read: fn(&[u8]), mutations: usize) -> Target {
    Target { name, read, mutations }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("wire", wire::messages, 40),
    target("signed", wire::signed, 20),
    target("names", wire::names, 100),
    target("invite", wire::invite, 100),
    target("module", sandbox::module, 20),
    target("frames", sandbox::frames, 200),
    target("body", api::body, 100),
    target("reference", api::reference, 100),
    target("receipt", api::receipt, 100),
    target("multicast", wire::multicast, 200),
    target("address", net::address, 100),
    target("exchange", net::exchange, 40),
    target("raft", node::raft, 200),
    target("settings", node::settings, 100),
    target("peers", node::peers, 100),
    target("bans", node::bans, 100),
    target("command-line", node::command_line, 30),
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use protocol::testing::Numbers;

    use super::*;

    /// Values at which lengths and numbers break.
    const EDGES: [u64; 8] = [0, 1, 0x7f, 0x80, 0xffff, 1 << 31, u64::MAX >> 1, u64::MAX];

    /// One of the changes that break decoders.
    fn mutate(input: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
        let at = numbers.below(input.len());
        match numbers.below(7) {
            0 => input.truncate(at),
            1 => input.extend_from_slice(&other[numbers.below(other.len())..]),
            2 => {
                let end = at.saturating_add(numbers.below(16)).min(input.len());
                input.drain(at..end);
            }
            3 => {
                let edge = EDGES[numbers.below(EDGES.len())].to_le_bytes();
                for (to, from) in input.iter_mut().skip(at).zip(&edge[..1 << numbers.below(4)]) {
                    *to = *from;
                }
            }
            4 => {
                let copied: Vec<u8> =
                    input.iter().skip(at).take(numbers.below(32)).copied().collect();
                let to = numbers.below(input.len());
                input.splice(to..to, copied);
            }
            _ => {
                let changed = numbers.byte();
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= changed | 1;
                }
            }
        }
    }

    fn corpus(target: &Target) -> Vec<Vec<u8>> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
        let mut files: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    #[test]
    fn every_target_survives_its_corpus_and_what_is_near_it() {
        for target in TARGETS {
            let corpus = corpus(target);
            assert!(!corpus.is_empty(), "{} has no corpus", target.name);
            let mut numbers = Numbers::default();
            for input in &corpus {
                (target.read)(input);
                for _ in 0..target.mutations {
                    let mut input = input.clone();
                    for _ in 0..=numbers.below(3) {
                        let other = &corpus[numbers.below(corpus.len())];
                        mutate(&mut input, other, &mut numbers);
                    }
                    (target.read)(&input);
                }
            }
        }
    }

    #[test]
    fn every_corpus_has_a_target() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for entry in fs::read_dir(dir).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(TARGETS.iter().any(|target| target.name == name), "{name}");
        }
    }
}
