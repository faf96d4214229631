//! Whatever a stranger sends, a decoder answers: it never panics, and what it accepts is canonical.
//!
//! The corpus is every sample, each changed in the ways that break decoders, and random mixtures of them. It is
//! the same in every run; a fuzzer's finds are added to `corpus/<type>/`.

use std::{fs, path::Path};

use protocol::{codec::DecodeError, testing::Numbers};

use super::{WireType, all};

/// Decodes; what is accepted must be canonical.
#[track_caller]
fn check(wire_type: &WireType, bytes: &[u8]) {
    if let Ok(again) = (wire_type.round_trip)(bytes) {
        assert_eq!(again, bytes, "{} accepted other bytes than its own", wire_type.name);
    }
}

#[test]
fn decoders_survive_truncated_and_flipped_samples() {
    for wire_type in all() {
        for (_, sample) in &wire_type.samples {
            let step = sample.len().div_ceil(400).max(1);
            for at in (0..sample.len()).step_by(step) {
                check(&wire_type, &sample[..at]);
                for change in [0x01, 0x80, 0xff, sample[at]] {
                    let mut changed = sample.clone();
                    changed[at] ^= change;
                    check(&wire_type, &changed);
                }
            }
            let mut longer = sample.clone();
            longer.push(0);
            assert!(
                (wire_type.round_trip)(&longer).is_err(),
                "{} took a byte that is left over",
                wire_type.name
            );
        }
    }
}

#[test]
fn decoders_survive_every_length_that_a_prefix_can_claim() {
    for wire_type in all() {
        for (_, sample) in &wire_type.samples {
            let step = sample.len().div_ceil(400).max(1);
            for at in (0..sample.len().saturating_sub(8)).step_by(step) {
                for claimed in [u64::MAX, 1 << 60, 1 << 32, 1 << 24, 0] {
                    let mut bomb = sample.clone();
                    bomb[at..at + 8].copy_from_slice(&claimed.to_le_bytes());
                    check(&wire_type, &bomb);
                }
            }
        }
    }
}

#[test]
fn decoders_survive_the_messages_of_other_types() {
    let types = all();
    for wire_type in &types {
        for (_, sample) in types.iter().flat_map(|other| &other.samples) {
            check(wire_type, sample);
        }
    }
}

#[test]
fn decoders_survive_random_mixtures() {
    let types = all();
    let corpus: Vec<&Vec<u8>> =
        types.iter().flat_map(|wire_type| &wire_type.samples).map(|(_, bytes)| bytes).collect();
    let mut numbers = Numbers::default();
    for wire_type in &types {
        for _ in 0..2_000 {
            let (head, tail) =
                (corpus[numbers.below(corpus.len())], corpus[numbers.below(corpus.len())]);
            let mut mixed = head[..numbers.below(head.len() + 1)].to_vec();
            mixed.extend_from_slice(&tail[numbers.below(tail.len() + 1)..]);
            for _ in 0..numbers.below(4) {
                let at = numbers.below(mixed.len());
                if let Some(byte) = mixed.get_mut(at) {
                    *byte = numbers.byte();
                }
            }
            check(wire_type, &mixed);
        }
    }
}

#[test]
fn what_is_longer_than_its_limit_is_not_read() {
    for wire_type in all() {
        let found = wire_type.bytes_max + 1;
        let error = (wire_type.round_trip)(&vec![0; found]).unwrap_err();
        assert_eq!(
            error,
            DecodeError::TooLong { found, limit: wire_type.bytes_max },
            "{}",
            wire_type.name
        );
    }
}

#[test]
fn decoders_survive_what_a_fuzzer_found() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for wire_type in all() {
        for entry in fs::read_dir(corpus.join(wire_type.name)).into_iter().flatten() {
            check(&wire_type, &fs::read(entry.unwrap().path()).unwrap());
        }
    }
}
