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
    let fields = good.as_object().context("a receipt file is an object")?;
    for (name, value) in fields {
        let Some(value) = value.as_str() else { continue };
        if name == "apiVersion" || name == "kind" {
            continue;
        }
        // The first, the middle and the last but the padding.
        let last = value.trim_end_matches('=').len().saturating_sub(1);
        for at in [0, last / 2, last] {
            let mut bad = good.clone();
            let mut bytes = value.as_bytes().to_vec();
            let byte = bytes.get_mut(at).with_context(|| format!("{name} is empty"))?;
            *byte = if *byte == b'A' { b'B' } else { b'A' };
            *bad.get_mut(name).context("it was there")? = String::from_utf8(bytes)?.into();
            fs::write(&file, serde_json::to_vec_pretty(&bad)?)?;
            let said = mesh.weft.run(&verify)?;
            assert_ne!(said.code, 0, "byte {at} of {name} counts for nothing: {said:#?}");
            assert!(!said.stdout.contains("\"VALID\""), "{said:#?}");
        }
    }
    Ok(())
}
