//! House rules that the compiler does not know. A rule that is not checked is a wish.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test reports by failing, also in its functions"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

/// Who may depend on whom inside the workspace. Adding a line is a design decision: say why in the commit.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("ledger", &["protocol"]),
    ("sandbox", &["protocol"]),
    ("portal-api", &["protocol"]),
    ("bootstrap", &["protocol"]),
    ("node", &["protocol", "ledger", "sandbox", "portal-api"]),
    ("tests", &["protocol", "ledger", "sandbox", "portal-api", "node"]),
];

/// Who must not even reach what, through any number of others.
const MUST_NOT_REACH: &[(&str, &[&str])] = &[
    // A known address runs on the smallest machine there is.
    ("bootstrap", &["rocksdb", "librocksdb-sys", "wasmer", "openraft"]),
    // The API knows a trait, not the node behind it.
    ("portal-api", &["rocksdb", "wasmer", "openraft"]),
    ("ledger", &["wasmer", "axum"]),
    ("sandbox", &["rocksdb", "openraft", "axum"]),
];

/// Who must not ask for what. (The lock file cannot tell: `protocol` has libp2p behind a feature.)
const MUST_NOT_NAME: &[(&str, &str)] =
    &[("portal-api", "libp2p"), ("ledger", "libp2p"), ("sandbox", "libp2p"), ("node", "wasmer")];

/// The pure cores: a directory or a file, and what in it is not part of the core.
const PURE: &[(&str, &[&str])] = &[
    ("protocol/src", &["net"]),
    ("ledger/src", &["replica"]),
    ("sandbox/src/admission", &[]),
    ("sandbox/src/admission.rs", &[]),
    ("sandbox/src/metering", &[]),
    ("sandbox/src/metering.rs", &[]),
    ("node/src/core", &[]),
];

/// What a pure core must not mention.
const IMPURE: &[&str] = &[
    "tokio",
    "libp2p",
    "rocksdb",
    "axum",
    "wasmer::",
    "std::net",
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "std::io",
    "Instant::now",
    "SystemTime",
    "getrandom",
    "OsRng",
    "async fn",
    "HashMap",
    "HashSet",
];

/// Versions below which something known is broken, and where it is written down.
const NOT_BELOW: &[(&str, (u64, u64, u64))] = &[
    ("cranelift-codegen", (0, 135, 0)), // 0.129 has CVE-2026-34971; libp2p would lock it (docs/decisions/0001)
    ("libp2p-gossipsub", (0, 50, 1)),   // GHSA-g3g5-x568-qvqx
    ("libp2p-quic", (0, 13, 1)),        // GHSA-5hq8-qhww-jm7q
    ("yamux", (0, 13, 10)),             // CVE-2026-32314
    ("quinn-proto", (0, 11, 15)),
];

/// The longest source file, without its tests.
const FILE_LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest(path: &str) -> toml::Table {
    read(&root().join(path)).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below a directory that belong to the project, or the file itself; none if there is no such thing.
fn files(at: &Path) -> Vec<PathBuf> {
    if at.is_file() {
        return vec![at.to_owned()];
    }
    let skipped = [".git", "target", "node_modules"];
    let mut found = Vec::new();
    for entry in fs::read_dir(at).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !skipped.contains(&name.as_str()) {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// The sources of the crates, without what others wrote.
fn sources() -> Vec<PathBuf> {
    let third_party = root().join("sandbox/third_party");
    MAY_DEPEND_ON
        .iter()
        .flat_map(|(member, _)| files(&root().join(member)))
        .filter(|path| has_extension(path, "rs") && !path.starts_with(&third_party))
        .collect()
}

/// Whether a whole file is test code.
fn is_test(path: &Path) -> bool {
    let inside = path.strip_prefix(root()).unwrap_or(path);
    inside
        .components()
        .skip(1)
        .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// The lines of a file that are not its tests, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines().take_while(|line| *line != "#[cfg(test)]"))
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Package → what it depends on, from the lock file. Packages with several versions are taken together.
fn lock() -> (BTreeMap<String, BTreeSet<String>>, BTreeMap<String, Vec<String>>) {
    let lock = manifest("Cargo.lock");
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in lock.get("package").and_then(toml::Value::as_array).into_iter().flatten() {
        let name = package["name"].as_str().unwrap().to_owned();
        versions
            .entry(name.clone())
            .or_default()
            .push(package["version"].as_str().unwrap().to_owned());
        let dependencies =
            package.get("dependencies").and_then(toml::Value::as_array).into_iter().flatten();
        let names =
            dependencies.map(|text| text.as_str().unwrap().split(' ').next().unwrap().to_owned());
        edges.entry(name).or_default().extend(names);
    }
    (edges, versions)
}

#[test]
fn crates_depend_only_downwards() {
    let members = manifest("Cargo.toml")["workspace"]["members"].as_array().unwrap().clone();
    let members: BTreeSet<_> =
        members.iter().map(|member| member.as_str().unwrap().to_owned()).collect();
    let known: BTreeSet<_> = MAY_DEPEND_ON.iter().map(|(member, _)| (*member).to_owned()).collect();
    assert_eq!(members, known, "the table must name all members");
    for (member, allowed) in MAY_DEPEND_ON {
        let manifest = manifest(&format!("{member}/Cargo.toml"));
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        for dependency in dependencies.into_iter().flat_map(toml::Table::keys) {
            assert!(
                !known.contains(dependency) || allowed.contains(&dependency.as_str()),
                "{member} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn crates_do_not_reach_what_they_must_not() {
    let (edges, _) = lock();
    for (member, forbidden) in MUST_NOT_REACH {
        let mut reached = BTreeSet::from([(*member).to_owned()]);
        let mut open = vec![(*member).to_owned()];
        while let Some(package) = open.pop() {
            for dependency in edges.get(&package).into_iter().flatten() {
                if reached.insert(dependency.clone()) {
                    open.push(dependency.clone());
                }
            }
        }
        assert!(
            reached.len() > 10,
            "the lock file is read wrongly: {member} reaches only {reached:?}"
        );
        for package in *forbidden {
            assert!(!reached.contains(*package), "{member} must not reach {package}");
        }
    }
    for (member, package) in MUST_NOT_NAME {
        let manifest = manifest(&format!("{member}/Cargo.toml"));
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table).unwrap();
        assert!(!dependencies.contains_key(*package), "{member} must not name {package}");
        let protocol = dependencies.get("protocol").and_then(|protocol| protocol.get("features"));
        assert!(
            *package != "libp2p" || protocol.is_none(),
            "{member} needs no feature of protocol"
        );
    }
}

#[test]
fn every_crate_keeps_the_lints_of_the_workspace() {
    for (member, _) in MAY_DEPEND_ON {
        let manifest = manifest(&format!("{member}/Cargo.toml"));
        let kept = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        assert_eq!(kept, Some(true), "{member}/Cargo.toml: [lints] workspace = true");
    }
}

#[test]
fn versions_with_known_holes_are_not_locked() {
    let (_, versions) = lock();
    for (package, (major, minor, patch)) in NOT_BELOW {
        let locked = versions.get(*package).unwrap_or_else(|| panic!("{package} is not locked"));
        for version in locked {
            let parts: Vec<u64> =
                version.split(['.', '-', '+']).take(3).map(|part| part.parse().unwrap()).collect();
            assert!(
                parts >= vec![*major, *minor, *patch],
                "{package} {version} is below {major}.{minor}.{patch}"
            );
        }
    }
}

#[test]
fn pure_code_is_pure() {
    let mut seen = 0;
    for (place, shells) in PURE {
        let place = root().join(place);
        for file in files(&place).iter().filter(|file| has_extension(file, "rs") && !is_test(file))
        {
            if shells.iter().any(|shell| file.starts_with(place.join(shell))) {
                continue;
            }
            seen += 1;
            for (number, line) in code(&read(file)) {
                let impure = IMPURE.iter().find(|word| !is_comment(line) && line.contains(**word));
                assert_eq!(impure, None, "{}:{number} is not pure", file.display());
            }
        }
    }
    assert!(seen > 30, "only {seen} files of pure cores were found");
}

#[test]
fn files_are_short_enough_to_read() {
    for file in sources().iter().filter(|file| !is_test(file)) {
        let lines = code(&read(file)).count();
        assert!(lines <= FILE_LINES_MAX, "{}: {lines} lines; split it", file.display());
    }
}

#[test]
fn names_on_the_wire_are_declared_in_one_place() {
    let names = root().join("protocol/src/names.rs");
    for file in sources().iter().filter(|file| **file != names && !is_test(file)) {
        for (number, line) in code(&read(file)) {
            let named = !is_comment(line) && line.contains("\"/weft/");
            assert!(
                !named,
                "{}:{number}: protocol names belong in protocol::names",
                file.display()
            );
        }
    }
}

#[test]
fn unsafe_code_is_expected_only_where_the_jail_and_the_engine_are() {
    // The runner loads native code that the node's cache vouches for: it is the one place that can say so.
    let allowed = ["sandbox/src/jail", "sandbox/src/engine", "sandbox/src/runner/exec.rs"];
    for file in sources().into_iter().filter(|file| !is_test(file)) {
        let inside = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        if allowed.iter().any(|allowed| inside.starts_with(allowed)) {
            continue;
        }
        let text = read(&file);
        let expected =
            code(&text).find(|(_, line)| !is_comment(line) && line.contains("expect(unsafe_code"));
        assert_eq!(expected, None, "{inside}");
    }
}

#[test]
fn no_test_is_switched_off() {
    let ignored = concat!("#[", "ignore");
    for file in sources() {
        assert!(
            !read(&file).contains(ignored),
            "{}: a test that is not run proves nothing",
            file.display()
        );
    }
}

#[test]
fn no_file_names_the_machine_that_it_was_written_on() {
    let mut here = vec![format!("{}/", root().display())];
    here.extend(env::var("HOME").ok().filter(|home| home.len() > 1).map(|home| format!("{home}/")));
    for file in files(&root()) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for path in &here {
            assert!(!text.contains(path.as_str()), "{} mentions {path}", file.display());
        }
    }
}

#[test]
fn documents_that_are_named_exist() {
    for file in sources().iter().filter(|file| !file.ends_with("tidy.rs")) {
        for (number, line) in (1..).zip(read(file).lines()) {
            for rest in line.split("docs/").skip(1) {
                let end = rest
                    .find(|c: char| !c.is_alphanumeric() && !"-_/.".contains(c))
                    .unwrap_or(rest.len());
                let Some(path) =
                    rest[..end].strip_suffix(".md").map(|path| format!("docs/{path}.md"))
                else {
                    continue;
                };
                assert!(root().join(&path).is_file(), "{}:{number} names {path}", file.display());
            }
        }
    }
}

#[test]
fn every_decision_is_listed() {
    let records = root().join("docs/decisions");
    let listed = read(&records.join("README.md"));
    for record in files(&records).iter().filter(|record| !record.ends_with("README.md")) {
        let name = record.file_name().unwrap().to_string_lossy().into_owned();
        assert!(
            listed.contains(&format!("]({name})")),
            "docs/decisions/README.md does not list {name}"
        );
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for file in files(&root()).iter().filter(|file| has_extension(file, "md")) {
        for rest in read(file).split("](").skip(1) {
            let target = rest.split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(file.with_file_name(target).exists(), "{} links to {target}", file.display());
        }
    }
}
