//! What was encoded yesterday is decoded today, and the other way round.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use protocol::{codec::decode, sign::Signed, wire::genesis::Genesis};

use super::{WireType, all};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// One line for each variant: its name, a space, its bytes in hex.
fn rendered(wire_type: &WireType) -> String {
    wire_type
        .samples
        .iter()
        .map(|(variant, bytes)| format!("{variant} {}\n", hex::encode(bytes)))
        .collect()
}

#[test]
fn the_bytes_of_every_wire_type_are_those_of_its_fixture() {
    for wire_type in all() {
        let path = fixtures().join(format!("{}.hex", wire_type.name));
        let encoded = rendered(&wire_type);
        if env::var_os("BLESS").is_some() {
            fs::create_dir_all(fixtures()).unwrap();
            fs::write(&path, &encoded).unwrap();
        }
        let frozen = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}: write it with BLESS=1", path.display()));
        // By line, so that a failure names the variant and not a screenful.
        let by_variant = |text: &str| -> BTreeMap<String, String> {
            text.lines()
                .filter_map(|line| line.split_once(' '))
                .map(|(variant, bytes)| (variant.to_owned(), bytes.to_owned()))
                .collect()
        };
        let (encoded, frozen) = (by_variant(&encoded), by_variant(&frozen));
        let variants: BTreeSet<_> = encoded.keys().chain(frozen.keys()).collect();
        for variant in variants {
            assert_eq!(
                encoded.get(variant),
                frozen.get(variant),
                "{} `{variant}`: encoding (left) and fixture (right) differ",
                wire_type.name
            );
        }
        for (variant, bytes) in frozen {
            let bytes = hex::decode(bytes).unwrap();
            assert_eq!(
                (wire_type.round_trip)(&bytes),
                Ok(bytes),
                "{} `{variant}` does not decode",
                wire_type.name
            );
        }
    }
}

#[test]
fn the_frozen_genesis_is_signed_by_its_operator() {
    let frozen = fs::read_to_string(fixtures().join("signed-genesis.hex")).unwrap();
    let bytes = hex::decode(frozen.trim_end().split_once(' ').unwrap().1).unwrap();
    let verified = decode::<Signed<Genesis>>(&bytes).unwrap().verify(&Genesis::MESH).unwrap();
    assert_eq!(verified.signer(), &verified.claim().operators[0].0);
}

/// `JobSpec` is `job-spec`.
fn dashed(name: &str) -> String {
    let mut dashed = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !dashed.is_empty() {
            dashed.push('-');
        }
        dashed.extend(c.to_lowercase());
    }
    dashed
}

/// The types that a source file declares to have a canonical encoding.
fn declared(source: &str) -> BTreeSet<String> {
    let mut declared = BTreeSet::new();
    let mut inside = false;
    for line in source.lines().take_while(|line| !line.starts_with("#[cfg(test)]")) {
        if let Some(name) = line.trim().strip_prefix("impl Canonical for ") {
            declared.extend(name.split(|c: char| !c.is_alphanumeric()).next().map(dashed));
        }
        inside = match line.trim() {
            "canonical! {" => true,
            "}" => false,
            _ => inside,
        };
        if let Some((name, _)) =
            line.trim().split_once(": ").filter(|(name, _)| inside && !name.starts_with("//"))
        {
            declared.insert(dashed(name));
        }
    }
    declared
}

#[test]
fn every_type_with_a_canonical_encoding_has_a_fixture() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut without = BTreeSet::new();
    for directory in [source.clone(), source.join("wire")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                without.extend(declared(&fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(without.len() > 30, "the source is read wrongly: only {without:?}");
    for wire_type in all() {
        without.remove(wire_type.name);
    }
    // `Signed<T>` is an envelope: its bytes are those of `signed-genesis` and its like.
    without.remove("signed");
    without.remove("envelope");
    assert_eq!(without, BTreeSet::new(), "without a sample in tests/wire");
}
