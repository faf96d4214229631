//! The reference of all settings, `docs/config.toml`, is written from the table that the program reads.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use std::{fmt::Write as _, fs, path::Path};

use node::home::{Config, KEYS, Key, Settings};

const HEADER: &str = "\
# All settings of a node, each with its default. `weft config path` says where the file belongs; it may be missing,
# and so may every line of it. What is set elsewhere wins: flags, then the variable in brackets, then the file in the
# data directory, then /etc/weft/config.toml. `weft config show --origin` says what is in effect and why,
# `weft config check` whether a file makes sense.
#
# Written from the table in node/src/home/settings.rs: `BLESS=1 cargo test -p node --test configuration`.
";

/// Breaks a text into lines of comment.
fn comment(text: &str, out: &mut String) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + word.len() > 110 {
            writeln!(out, "{line}").unwrap();
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    writeln!(out, "{line}").unwrap();
}

fn reference() -> String {
    let mut out = HEADER.to_owned();
    let mut table = "";
    // A key without a table must stand before all tables.
    let (bare, tables): (Vec<&Key>, Vec<&Key>) =
        KEYS.iter().partition(|key| !key.name.contains('.'));
    for key in bare.into_iter().chain(tables) {
        let (its_table, name) = key.name.split_once('.').unwrap_or(("", key.name));
        out.push('\n');
        if its_table != table {
            table = its_table;
            writeln!(out, "[{table}]").unwrap();
        }
        comment(&format!("{} [{}]", key.doc, key.variable()), &mut out);
        writeln!(out, "{name} = {}", key.default).unwrap();
    }
    out
}

#[test]
fn the_reference_of_all_settings_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.toml");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), reference());
}

#[test]
fn the_reference_is_the_default() {
    let mut settings = Settings::default();
    settings.add_file(Path::new("docs/config.toml"), &reference()).unwrap();
    let mut config = Config::try_from(&settings).unwrap();
    let default = Config::try_from(&Settings::default()).unwrap();
    // What stands in a file was chosen by a person.
    (config.listen_chosen, config.api_chosen) = (false, false);
    assert_eq!(config, default);
}
