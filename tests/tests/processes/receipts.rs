//! Receipts as files: proof without a node.

use std::fs;

use anyhow::Context as _;
use serde_json::Value;
use tests::text;

use crate::{Mesh, arg};

#[test]
fn a_receipt_is_valid_without_any_node_and_any_change_to_it_shows() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[&[]])?;
    let file = mesh.path("receipt.json");
    let node = mesh.node(1)?;
    let job = node.ask(&["run", "--example", "primes", "--", "1000"])?;
    let receipt = format!("r-{}-0", text(&job, "/id")?);
    node.run(&["receipt", "export", &receipt, "--out", &arg(&file)])?.exited(0)?;
    mesh.node_mut(1)?.kill()?;

    let verify = ["receipt", "verify", &arg(&file), "-o", "json"];
    let verified = mesh.weft.run(&verify)?.exited(0)?.json()?;
    assert_eq!(text(&verified, "/verdict")?, "VALID");
    assert_eq!(text(&verified, "/receipt")?, receipt);

    let good: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let mut parts = Vec::new();
    texts(&good, "", &mut parts);
    parts.retain(|(at, _)| at != "/apiVersion" && at != "/kind");
    assert!(parts.len() > 5, "a receipt has more parts: {good}");
    for (pointer, part) in parts {
        // The first, the middle and the last but the padding.
        let last = part.trim_end_matches('=').len().saturating_sub(1);
        for at in [0, last / 2, last] {
            let mut bytes = part.clone().into_bytes();
            let byte = bytes.get_mut(at).with_context(|| format!("{pointer} is empty"))?;
            *byte = if *byte == b'A' { b'B' } else { b'A' };
            let mut bad = good.clone();
            *bad.pointer_mut(&pointer).context("it was there")? = String::from_utf8(bytes)?.into();
            fs::write(&file, serde_json::to_vec_pretty(&bad)?)?;
            let said = mesh.weft.run(&verify)?;
            assert_ne!(said.code, 0, "byte {at} of {pointer} counts for nothing: {said:#?}");
            assert!(!said.stdout.contains("\"VALID\""), "{said:#?}");
        }
    }
    Ok(())
}

/// All texts in a document, each with its JSON pointer.
fn texts(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
    if let Some(text) = value.as_str() {
        found.push((at.to_owned(), text.to_owned()));
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        texts(value, &format!("{at}/{name}"), found);
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        texts(value, &format!("{at}/{index}"), found);
    }
}
