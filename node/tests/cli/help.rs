//! What the program says about itself: help, codes, completions.

use std::{fs, path::Path};

use crate::person::Person;

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
fn completions_are_printed_for_a_shell() {
    let person = Person::new();
    let said = person.weft(&["completions", "bash"]);
    assert_eq!(said.code, 0);
    assert!(said.stdout.contains("_weft"), "{}", said.stdout.len());
}
