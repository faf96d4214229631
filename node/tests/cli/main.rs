//! The program as a person meets it: what it prints where, and its exit code. No node runs in these tests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod help;
mod person;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
};

use person::Person;

/// A module that ends at once.
const NOTHING: &str = "primes";

fn example(person: &Person) -> PathBuf {
    person.file("m.wasm", sandbox::guests::example(NOTHING).unwrap())
}

#[test]
fn without_a_node_every_question_is_answered_alike() {
    let person = Person::new();
    for line in [
        "status",
        "id",
        "peers",
        "node list",
        "node approve x",
        "job list",
        "job show x",
        "job wait x",
        "job logs x",
        "job results x",
        "job cancel x",
        "job explain x",
        "credits balance",
        "credits history",
        "receipt list",
        "receipt show r-00000000000000000000000000000000-0",
        "down",
        "run --example primes",
    ] {
        let args: Vec<_> = line.split(' ').collect();
        person.weft(&args).is_error(5, "daemon-unreachable").says("no node answers");
        person
            .weft(&[args.as_slice(), &["-o", "json"]].concat())
            .is_error_document(5, "daemon-unreachable");
    }
}

/// Whatever goes wrong, a program that asked for a document gets one, and the exit code is the same.
#[test]
fn an_error_is_one_document_for_programs() {
    let person = Person::new();
    person.file("text.wasm", "not a module");
    person.file("config/config.toml", "nonsense = 1\n");
    person.file("file", "");
    for (line, code, error) in [
        ("nonsense", 2, "usage"),
        ("job", 2, "usage"),
        ("run", 2, "usage"),
        ("status --nonsense", 2, "usage"),
        ("up --slots many", 2, "usage"),
        ("completions nosuchshell", 2, "usage"),
        ("status --api nonsense", 2, "usage"),
        ("explain nonsense", 1, "not-found"),
        ("run --example nonsense", 1, "not-found"),
        ("run none.wasm", 1, "file-unreadable"),
        ("run text.wasm", 1, "module-invalid"),
        ("exec text.wasm", 1, "module-invalid"),
        ("map text.wasm --in none* --out d", 1, "module-invalid"),
        ("receipt verify none.json", 1, "file-unreadable"),
        ("receipt verify file", 1, "file-unreadable"),
        ("config check --data-dir config", 1, "config-invalid"),
        ("config get nonsense", 1, "config-invalid"),
        ("config set roles boss", 1, "config-invalid"),
        ("up --data-dir config", 1, "config-invalid"),
        ("up --data-dir file", 1, "data-dir-unusable"),
        ("init --data-dir file", 1, "data-dir-unusable"),
        ("job explain 00000000000000000000000000000000", 5, "daemon-unreachable"),
        ("down --api http://127.0.0.1:1", 5, "daemon-unreachable"),
    ] {
        let args: Vec<_> = line.split(' ').collect();
        person.weft(&[args.as_slice(), &["-o", "json"]].concat()).is_error_document(code, error);
        person.weft(&[&["--output=json"], args.as_slice()].concat()).is_error_document(code, error);
        let lines = person.weft(&[args.as_slice(), &["-o", "jsonl"]].concat());
        assert_eq!(lines.stdout.lines().count(), 1, "{line}: {}", lines.stdout);
        lines.is_error_document(code, error);
        let said = person.weft(&args);
        assert_eq!((said.code, said.stdout.as_str()), (code, ""), "{line}: {}", said.stderr);
    }
}

#[test]
fn wrong_usage_is_two() {
    let person = Person::new();
    for line in [
        "",
        "nonsense",
        "run",
        "status --nonsense",
        "status -o xml",
        "up --slots many",
        "map m.wasm --out d",
    ] {
        let said = person.weft(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{line}: {}", said.stderr);
    }
    assert!(person.weft(&["statsu"]).stderr.contains("'status'"));
    person.weft(&["status", "--api", "nonsense"]).is_error(2, "usage");
    person
        .weft(&[
            "map",
            example(&person).to_str().unwrap(),
            "--in",
            "a",
            "b",
            "--by-line",
            "--out",
            "d",
        ])
        .is_error(2, "usage");
}

#[test]
fn a_module_is_checked_before_anything_else() {
    let person = Person::new();
    person.file("text.wasm", "not a module");
    person.file("empty.wasm", "");
    fs::create_dir(person.path("dir.wasm")).unwrap();
    for (module, error, says) in [
        ("none.wasm", "file-unreadable", "there is no such file"),
        ("dir.wasm", "file-unreadable", "is a directory, not a module"),
        ("text.wasm", "module-invalid", "not a WebAssembly module"),
        ("empty.wasm", "module-invalid", "empty"),
    ] {
        person.weft(&["run", module]).is_error(1, error).says(says);
        person.weft(&["exec", module]).is_error(1, error).says(says);
        person.weft(&["map", module, "--in", "*", "--out", "d"]).is_error(1, error).says(says);
        assert!(!person.path("d").exists());
    }
    person
        .weft(&["run", "wordfreq.wasm"])
        .is_error(1, "file-unreadable")
        .says("weft run --example wordfreq");
}

#[test]
fn an_example_that_is_misspelt_is_guessed() {
    let person = Person::new();
    person
        .weft(&["run", "--example", "prims"])
        .is_error(1, "not-found")
        .says("did you mean `primes`?");
}

#[test]
fn inputs_are_checked_before_anything_is_submitted() {
    let person = Person::new();
    let module = example(&person);
    let module = module.to_str().unwrap();
    person.file("in/a.txt", "one");
    person.file("in/sub/a.txt", "two");
    symlink("nowhere", person.path("in/broken")).unwrap();
    let map = |patterns: &[&str]| {
        let args = [&["map", module, "--out", "d", "--in"], patterns].concat();
        person.weft(&args)
    };
    map(&["in/*.jpg"]).is_error(1, "no-input").says("nothing matches in/*.jpg");
    map(&["in/none"]).is_error(1, "file-unreadable");
    map(&["in"]).is_error(1, "no-input").says("'in/*'");
    map(&["in/a.txt", "in/sub/a.txt"]).is_error(1, "output-collision").says("`a.txt`");
    map(&["in/*"])
        .is_error(5, "daemon-unreachable")
        .says("in/broken is a link to nothing; left out");
    person.weft(&["run", module, "--stdin", "none"]).is_error(1, "file-unreadable");
    person
        .weft(&["run", module, "--in", "in"])
        .is_error(1, "file-unreadable")
        .says("is a directory");
}

#[test]
fn a_place_that_cannot_be_written_is_known_before_anything_is_submitted() {
    let person = Person::new();
    let module = example(&person);
    let module = module.to_str().unwrap();
    person.file("file", "");
    for out in ["file", "file/below", "/proc/nowhere"] {
        person
            .weft(&["map", module, "--in", "file", "--out", out])
            .is_error(1, "output-unwritable");
        person.weft(&["run", module, "--out", out]).is_error(1, "output-unwritable");
    }
}

#[test]
fn init_makes_keys_once() {
    let person = Person::new();
    let first = person.weft(&["init", "-o", "json", "--data-dir", "node"]).document();
    assert_eq!(first["kind"], "Identity");
    assert!(first["peer"].as_str().unwrap().starts_with("12D3KooW"));
    let again = person.weft_with(&["init", "-o", "json"], &[("WEFT_DATA_DIR", "node")]).document();
    assert_eq!(first, again);
    for file in ["node/identity.key", "node/owner.key"] {
        assert_eq!(fs::metadata(person.path(file)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let elsewhere = person.weft(&["init", "-o", "name"]);
    assert_ne!(elsewhere.stdout.trim(), first["peer"].as_str().unwrap());
    assert!(person.path(".local/share/weft/owner.key").exists());
}

#[test]
fn a_data_directory_that_cannot_be_used_says_why() {
    let person = Person::new();
    person.file("file", "");
    for dir in ["file", "file/below", "/proc/nowhere"] {
        person.weft(&["up", "--data-dir", dir]).is_error(1, "data-dir-unusable");
        person.weft(&["init", "--data-dir", dir]).is_error(1, "data-dir-unusable");
    }
    person.weft(&["init", "--data-dir", "node"]);
    fs::set_permissions(person.path("node/owner.key"), fs::Permissions::from_mode(0o644)).unwrap();
    person.weft(&["up", "--data-dir", "node"]).is_error(1, "data-dir-unusable").says("chmod 600");
    fs::create_dir(person.path("open")).unwrap();
    fs::set_permissions(person.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    person.weft(&["init", "--data-dir", "open"]).is_error(1, "data-dir-unusable").says("chmod 700");
}

#[test]
fn settings_that_make_no_sense_keep_a_node_from_starting() {
    let person = Person::new();
    let up = |args: &[&str]| person.weft(&[&["up", "--data-dir", "node"], args].concat());
    up(&["--api", "0.0.0.0:4304"]).is_error(1, "config-invalid").says("--api");
    up(&["--listen", "127.0.0.1:1"]).is_error(1, "config-invalid").says("not a multiaddress");
    up(&["--bootstrap", "/ip4/127.0.0.1/tcp/1"]).is_error(1, "config-invalid").says("/p2p/ID");
    up(&["--roles", "boss"]).is_error(1, "config-invalid").says("there is no role `boss`");
    up(&["--name", "no spaces"]).is_error(1, "config-invalid");
    assert_eq!(up(&["--mode", "inference"]).code, 2);
    person.file("node/config.toml", "[p2p]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nbootstap = []\n");
    up(&[])
        .is_error(1, "config-invalid")
        .says("config.toml, line 3: there is no setting `p2p.bootstap`; did you mean");
    person.weft(&["config", "check", "--data-dir", "node"]).is_error(1, "config-invalid");
}

#[test]
fn a_setting_is_set_shown_and_explained() {
    let person = Person::new();
    let weft = |args: &[&str]| {
        person.weft_with(args, &[("WEFT_DATA_DIR", "node"), ("WEFT_LIMITS__SLOTS", "7")])
    };
    assert_eq!(
        weft(&["config", "set", "p2p.listen", "/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1"])
            .code,
        0
    );
    assert_eq!(
        weft(&["config", "get", "p2p.listen"]).stdout,
        "/ip4/127.0.0.1/tcp/0\n/ip4/127.0.0.1/udp/0/quic-v1\n"
    );
    let shown = weft(&["config", "show", "-o", "json"]).document();
    let find = |name: &str| {
        shown["items"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone()
    };
    assert_eq!(find("limits.slots")["value"], 7);
    assert_eq!(find("limits.slots")["origin"], "WEFT_LIMITS__SLOTS");
    assert!(find("p2p.listen")["origin"].as_str().unwrap().ends_with("config.toml, line 2"));
    assert_eq!(find("roles")["origin"], "default");
    weft(&["config", "set", "api.listen", "0.0.0.0:1"]).is_error(1, "config-invalid");
    assert_eq!(weft(&["config", "get", "api.listen"]).stdout, "127.0.0.1:4304\n");
    weft(&["config", "get", "nonsense"]).is_error(1, "config-invalid");
    assert_eq!(weft(&["config", "check"]).code, 0);
}

#[test]
fn a_dry_run_changes_nothing() {
    let person = Person::new();
    for line in ["init -n", "up -n", "config set name otter -n", "exec --example primes -n"] {
        let args: Vec<_> = line.split(' ').collect();
        let said = person.weft(&args);
        assert_eq!(said.code, 0, "{line}: {}", said.stderr);
        said.says("would ");
        let document = person.weft(&[args.as_slice(), &["-o", "json"]].concat()).document();
        assert_eq!((&document["kind"], &document["dry_run"]), (&"Action".into(), &true.into()));
    }
    assert!(!person.path(".local").exists());
}

#[test]
fn what_is_no_receipt_is_said_to_be_none() {
    let person = Person::new();
    person.file("text.json", "not JSON");
    person.file("other.json", r#"{"apiVersion":"weft/v1","kind":"Job"}"#);
    for file in ["text.json", "other.json", "none.json", "."] {
        person.weft(&["receipt", "verify", file]).is_error(1, "file-unreadable");
    }
}
