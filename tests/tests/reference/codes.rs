//! No code of the catalogues is dead: something says each of them.

use std::{collections::BTreeSet, fs};

use portal_api::ErrorCode;
use protocol::reject::RejectReason;

use crate::{root, source::rust_files};

/// Where the codes are defined and translated: being named there is not being said.
const CATALOGUES: [&str; 2] = ["problem/catalogue.rs", "protocol/src/reject.rs"];

/// The sources without their tests.
fn sources() -> String {
    let crates = ["protocol", "ledger", "sandbox", "portal-api", "bootstrap", "node"];
    let files = crates.iter().flat_map(|name| rust_files(&root().join(name).join("src")));
    let said = files.filter(|file| !CATALOGUES.iter().any(|it| file.ends_with(it)));
    let text = said.map(|file| fs::read_to_string(file).unwrap());
    let code = text.map(|text| text.split("\n#[cfg(test)]").next().unwrap_or_default().to_owned());
    code.collect()
}

fn named(sources: &str, kind: &str, name: &str) -> bool {
    let path = format!("{kind}::{name}");
    let word = |c: char| c.is_alphanumeric() || c == '_';
    sources.split(&path).skip(1).any(|rest| !rest.starts_with(word))
}

#[test]
fn something_says_every_code() {
    let sources = sources();
    let said: Vec<_> = RejectReason::ALL
        .iter()
        .filter(|reason| named(&sources, "RejectReason", &format!("{reason:?}")))
        .collect();
    let silent: Vec<_> = RejectReason::ALL.iter().filter(|it| !said.contains(it)).collect();
    assert_eq!(silent, Vec::<&RejectReason>::new(), "nobody refuses anything for these reasons");
    let translated: BTreeSet<_> = said.iter().map(|reason| ErrorCode::from(**reason)).collect();
    // What a bare HTTP status says, as the router of axum answers with it.
    let catalogue = fs::read_to_string(root().join("portal-api/src/problem/catalogue.rs")).unwrap();
    let (_, bare) = catalogue.split_once("pub fn of_status").unwrap();
    let (bare, _) = bare.split_once("\n    }\n").unwrap();
    let silent: Vec<_> = ErrorCode::ALL
        .iter()
        .filter(|code| !translated.contains(code) && !named(bare, "Self", &format!("{code:?}")))
        .filter(|code| !named(&sources, "ErrorCode", &format!("{code:?}")))
        .collect();
    assert_eq!(silent, Vec::<&ErrorCode>::new(), "nothing ends with these errors");
}
