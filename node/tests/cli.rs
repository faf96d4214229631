//! The program as a person meets it: what it prints where, and its exit code. No node runs in these tests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// A person's home directory, in which `weft` is called.
struct Person {
    home: TempDir,
}

/// What a call of `weft` said.
struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Person {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn weft(&self, args: &[&str]) -> Said {
        self.weft_with(args, &[])
    }

    fn weft_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Said {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_weft"))
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .envs(variables.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))))
            .current_dir(self.home.path())
            .output()
            .unwrap();
        Said {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    /// It failed with this exit code and this error, printed no result, and knows a way out.
    #[track_caller]
    fn is_error(&self, code: i32, error: &str) -> &Self {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert_eq!(self.stdout, "");
        // News and warnings may stand before it.
        let shown = self.stderr.find("Error: ").map(|at| &self.stderr[at..]).unwrap_or_default();
        assert!(shown.starts_with(&format!("Error: {error}\n\n  × ")), "{}", self.stderr);
        assert!(self.stderr.contains("\n  help: "), "{}", self.stderr);
        assert!(
            self.stderr.ends_with(&format!("  more: weft explain {error}\n")),
            "{}",
            self.stderr
        );
        self
    }

    /// The same for a program that asked for documents: one, on standard output, and no word beside it.
    #[track_caller]
    fn is_error_document(&self, code: i32, error: &str) {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert!(!self.stderr.contains("Error:"), "{}", self.stderr);
        let document: Value = serde_json::from_str(&self.stdout).unwrap();
        for (field, value) in [("apiVersion", "weft/v1"), ("kind", "Error"), ("code", error)] {
            assert_eq!(document.get(field).unwrap(), value, "{document}");
        }
        assert_eq!(document.get("exit").unwrap(), code, "{document}");
        for field in ["title", "detail", "help"] {
            let said = document.get(field).and_then(Value::as_str).unwrap();
            assert!(!said.is_empty(), "{field}: {document}");
        }
    }

    #[track_caller]
    fn says(&self, text: &str) {
        assert!(self.stderr.contains(text), "{}", self.stderr);
    }

    #[track_caller]
    fn document(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

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
fn help_and_version_are_no_errors() {
    let person = Person::new();
    let help = person.weft(&["help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    let codes = person.weft(&["help", "exit-codes"]);
    assert_eq!(codes.code, 0);
    assert!(codes.stdout.contains("124  --timeout was reached"), "{}", codes.stdout);
    assert_eq!(person.weft(&["--version"]).stdout, format!("weft {}\n", env!("CARGO_PKG_VERSION")));
    let version = person.weft(&["version", "-o", "json"]).document();
    assert_eq!((&version["apiVersion"], &version["kind"]), (&"weft/v1".into(), &"Version".into()));
}

/// Also what is usually text.
#[test]
fn everything_is_one_document_for_programs() {
    let person = Person::new();
    for (line, kind) in [
        ("completions zsh", "Completions"),
        ("exit-codes", "ExitCodeList"),
        ("man", "ManualPages"),
        ("man pages", "ManualPages"),
        ("explain", "ExplanationList"),
        ("explain WD-014", "Explanation"),
        ("version", "Version"),
        ("config path", "Paths"),
        ("config get roles", "Setting"),
        ("config check", "Action"),
    ] {
        let args: Vec<_> = line.split(' ').collect();
        let document = person.weft(&[args.as_slice(), &["-o", "json"]].concat()).document();
        assert_eq!(document.get("kind").unwrap(), kind, "{line}");
    }
    let codes = person.weft(&["exit-codes", "-o", "name"]);
    assert!(codes.stdout.lines().any(|code| code == "124"), "{}", codes.stdout);
    assert!(person.path("pages/weft-job-explain.1").exists());
}

/// Every page of help, against the file that was reviewed. `BLESS=1` writes it anew.
#[test]
fn the_help_is_the_one_that_was_reviewed() {
    let person = Person::new();
    let mut pages = String::new();
    for line in [
        "",
        "init",
        "up",
        "down",
        "status",
        "join",
        "leave",
        "doctor",
        "run",
        "map",
        "exec",
        "job",
        "job list",
        "job show",
        "job wait",
        "job logs",
        "job results",
        "job cancel",
        "job explain",
        "node",
        "node list",
        "node show",
        "node approve",
        "node reject",
        "node block",
        "peers",
        "id",
        "credits",
        "credits balance",
        "credits history",
        "receipt",
        "receipt list",
        "receipt show",
        "receipt export",
        "receipt verify",
        "config",
        "config show",
        "config get",
        "config set",
        "config path",
        "config check",
        "explain",
        "completions",
        "man",
        "version",
        "exit-codes",
    ] {
        let args: Vec<_> = ["help"].into_iter().chain(line.split_whitespace()).collect();
        let said = person.weft(&args);
        assert_eq!(said.code, 0, "{line}");
        pages.push_str(&format!("$ weft {}\n{}\n", args.join(" "), said.stdout));
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        fs::write(&golden, &pages).unwrap();
    }
    let reviewed = fs::read_to_string(&golden).unwrap();
    for (number, (is, was)) in (1..).zip(pages.lines().zip(reviewed.lines())) {
        assert_eq!(is, was, "line {number} of {}", golden.display());
    }
    assert_eq!(pages.lines().count(), reviewed.lines().count());
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
fn an_error_code_is_explained() {
    let person = Person::new();
    let said = person.weft(&["explain", "daemon-unreachable"]);
    assert_eq!(said.code, 0);
    assert!(
        said.stdout.starts_with("daemon-unreachable: No node is running here\n"),
        "{}",
        said.stdout
    );
    assert_eq!(person.weft(&["explain", "trap", "-o", "json"]).document()["exit_code"], 134);
    let both = person.weft(&["explain", "timeout", "-o", "json"]).document();
    assert_eq!((&both["met"], &both["also"][0]["met"]), (&"error".into(), &"end".into()));
    let all = person.weft(&["explain", "-o", "json"]).document();
    assert_eq!(all["kind"], "ExplanationList");
    let names = person.weft(&["explain", "-o", "name"]);
    assert_eq!(names.stdout.lines().count(), all["items"].as_array().unwrap().len());
    for code in names.stdout.lines() {
        assert_eq!(person.weft(&["explain", code]).code, 0, "{code}");
    }
    person.weft(&["explain", "daemon-unreachabel"]).is_error(1, "not-found").says("did you mean");
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

#[test]
fn completions_are_printed_for_a_shell() {
    let person = Person::new();
    let said = person.weft(&["completions", "bash"]);
    assert_eq!(said.code, 0);
    assert!(said.stdout.contains("_weft"), "{}", said.stdout.len());
}
