//! The reference tables of `docs/protocol.md` are those of the code.
//!
//! A table stands between `<!-- table: NAME -->` and `<!-- end -->`. It is rendered from the source, so it is never
//! out of date; `BLESS=1 cargo test -p tests --test reference` writes it again, and the diff is what is reviewed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test reports by failing, also in its functions"
)]

mod codes;
mod source;
mod tables;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{source::headings, tables::table};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The document with all of its tables rendered again.
fn rendered(document: &str) -> String {
    let mut rendered = String::new();
    let mut inside = false;
    for line in document.lines() {
        if line == "<!-- end -->" {
            inside = false;
        }
        if !inside {
            rendered.push_str(line);
            rendered.push('\n');
        }
        if let Some(name) =
            line.strip_prefix("<!-- table: ").and_then(|rest| rest.strip_suffix(" -->"))
        {
            inside = true;
            rendered.push_str(&format!("\n{}\n", table(name)));
        }
    }
    assert!(!inside, "a table has no end");
    rendered
}

#[test]
fn the_tables_of_the_protocol_document_are_those_of_the_code() {
    let document = read("docs/protocol.md");
    let expected = rendered(&document);
    if env::var_os("BLESS").is_some() {
        fs::write(root().join("docs/protocol.md"), &expected).unwrap();
        return;
    }
    for (number, (found, expected)) in (1..).zip(document.lines().zip(expected.lines())) {
        assert_eq!(found, expected, "docs/protocol.md:{number}: write it again with BLESS=1");
    }
    assert_eq!(
        document.lines().count(),
        expected.lines().count(),
        "docs/protocol.md: write it again with BLESS=1"
    );
}

/// `(docs/protocol.md, "Blobs")` in the source names a section that exists.
#[test]
fn every_section_that_the_source_names_exists() {
    let document = read("docs/protocol.md");
    let headings = headings(&document);
    let mut named = 0;
    let crates = ["protocol", "ledger", "sandbox", "portal-api", "bootstrap", "node"];
    let sources = crates.map(|name| root().join(name).join("src"));
    for file in sources.iter().flat_map(|directory| source::rust_files(directory)) {
        let text = fs::read_to_string(&file).unwrap();
        // References may be broken over two lines of a comment.
        let text = text.replace("\n//! ", " ").replace("\n/// ", " ");
        for rest in text.split("`docs/protocol.md`, \"").skip(1) {
            let (section, _) = rest.split_once('"').unwrap();
            named += 1;
            assert!(headings.contains(section), "{}: no section \"{section}\"", file.display());
        }
    }
    assert!(named >= 10, "references are read wrongly: only {named}");
}
