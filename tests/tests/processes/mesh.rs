//! Nodes that find each other, and what they do together.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::ensure;
use tests::{Weft, items, number, text, until};

use crate::{Mesh, arg, books, guest, root};

#[test]
fn three_nodes_count_the_words_of_the_documents_as_one_program_does() -> anyhow::Result<()> {
    let mesh = Mesh::form(&[&[], &[], &[]])?;
    let out = mesh.path("out");
    let documents = root().join("docs");
    let job = mesh.node(2)?.ask(&[
        "map",
        &guest("wordfreq"),
        "--in",
        &arg(&documents.join("**/*.md")),
        "--reduce",
        "--out",
        &arg(&out),
    ])?;

    let (mut expected, mut files) = (BTreeMap::new(), 0);
    count_words(&documents, &mut expected, &mut files)?;
    let counted: BTreeMap<String, u64> =
        serde_json::from_slice(&fs::read(out.join("result.json"))?)?;
    assert_eq!(counted, expected);
    // Reducing is one more task.
    books::check(mesh.node(2)?, text(&job, "/id")?, files + 1)?;
    Ok(())
}

/// Words are runs of letters, digits and apostrophes, in lower case.
fn count_words(
    dir: &Path,
    words: &mut BTreeMap<String, u64>,
    files: &mut usize,
) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            count_words(&path, words, files)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            *files = files.saturating_add(1);
            let content = fs::read(&path)?.to_ascii_lowercase();
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'\'';
            for word in content.split(|byte| !is_part(byte)).filter(|word| !word.is_empty()) {
                let count = words.entry(String::from_utf8_lossy(word).into_owned()).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
    Ok(())
}

#[test]
fn a_node_may_do_nothing_in_a_mesh_until_it_is_approved() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let founder = weft.up(&dir.path().join("founder"), &[])?;
    let joiner = weft.up(&dir.path().join("joiner"), &["--bootstrap", founder.address()])?;
    let primes = ["run", "--example", "primes", "--", "1000"];
    for command in [primes.as_slice(), &["credits", "balance"], &["job", "list"]] {
        let said = joiner.run(command)?.exited(6)?;
        assert!(said.stderr.contains("not-approved"), "{said:#?}");
    }

    until("being asked", Duration::from_secs(30), || {
        let listed = founder.ask(&["node", "list"])?;
        let asks = items(&listed).any(|node| {
            text(node, "/peer").is_ok_and(|peer| peer == joiner.peer())
                && text(node, "/admission").is_ok_and(|admission| admission == "PENDING")
        });
        Ok(asks.then_some(()))
    })?;
    founder.run(&["node", "approve", joiner.peer()])?.exited(0)?;
    joiner.joined()?;
    let said = joiner.run(&primes)?.exited(0)?;
    assert_eq!(said.stdout, "168\n");
    Ok(())
}

#[test]
fn a_node_that_is_asked_to_end_does_so_and_comes_back_with_its_ledger() -> anyhow::Result<()> {
    let (weft, dir) = (Weft::built()?, tempfile::tempdir()?);
    let data = dir.path().join("node");
    let node = weft.up(&data, &[])?;
    node.run(&["run", "--example", "primes", "--", "1000"])?.exited(0)?;
    let before = node.ask(&["credits", "balance"])?;
    let peer = node.peer().to_owned();
    ensure!(node.terminate()?.success(), "SIGTERM is not a failure");
    let said = weft.run(&["--data-dir", &arg(&data), "status"])?.exited(5)?;
    assert!(said.stderr.contains("daemon-unreachable"), "{said:#?}");

    let node = weft.up(&data, &[])?;
    assert_eq!(node.peer(), peer);
    let after = node.ask(&["credits", "balance"])?;
    for amount in ["/available_ucr", "/held_ucr", "/earned_ucr", "/spent_ucr"] {
        assert_eq!(number(&after, amount)?, number(&before, amount)?, "{amount}");
    }
    Ok(())
}
