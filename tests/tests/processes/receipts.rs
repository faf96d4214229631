//! Receipts as files: proof without a node.

use std::fs;

use anyhow::Context as _;
use serde_json::Value;
use tests::text;

use crate::{Mesh, arg, guest};

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

#[test]
fn a_task_is_run_again_from_its_receipt_alone() -> anyhow::Result<()> {
    let mut mesh = Mesh::form(&[&[]])?;
    let node = mesh.node(1)?;
    let (long, short) = (mesh.path("in/long.txt"), mesh.path("in/short.txt"));
    fs::create_dir_all(mesh.path("in"))?;
    fs::write(&long, "warp and weft ".repeat(100))?;
    fs::write(&short, "weft")?;
    let out = mesh.path("out");
    let map = ["map", &guest("wordfreq"), "--in", &arg(&long), &arg(&short), "--reduce"];
    let job = node.ask(&[map.as_slice(), &["--out", &arg(&out)]].concat())?;
    let id = text(&job, "/id")?.to_owned();

    // Two mapped inputs, one of them large enough to be a blob, and the reducing task.
    for task in 0..3 {
        let file = mesh.path(&format!("receipt-{task}.json"));
        let export = ["receipt", "export", &format!("r-{id}-{task}"), "--out", &arg(&file)];
        node.run(&[&export[..], &["--with-data"]].concat())?.exited(0)?;
    }
    let bare = mesh.path("bare.json");
    node.run(&["receipt", "export", &format!("r-{id}-0"), "--out", &arg(&bare)])?.exited(0)?;
    mesh.node_mut(1)?.kill()?;

    for task in 0..3 {
        let file = mesh.path(&format!("receipt-{task}.json"));
        let verify = ["receipt", "verify", &arg(&file), "--reexec", "-o", "json"];
        let verified = mesh.weft.run(&verify)?.exited(0)?.json()?;
        assert_eq!(text(&verified, "/verdict")?, "VALID");
    }
    let without = mesh.weft.run(&["receipt", "verify", &arg(&bare), "--reexec"])?.exited(1)?;
    assert!(without.stderr.contains("--with-data"), "{without:?}");

    // Content that is not what the receipt names proves nothing, also where nothing is run again.
    let mut bad: Value = serde_json::from_slice(&fs::read(mesh.path("receipt-0.json"))?)?;
    let content = bad.pointer_mut("/data/blobs/0").context("the long input is a blob")?;
    *content = content.as_str().context("base64")?.replacen('d', "e", 1).into();
    fs::write(&bare, serde_json::to_vec_pretty(&bad)?)?;
    mesh.weft.run(&["receipt", "verify", &arg(&bare)])?.exited(13)?;
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
