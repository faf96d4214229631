//! What this program says about itself.

use clap::CommandFactory as _;
use portal_api::{
    ErrorCode,
    views::{Kind, List, ListKind, Version},
};
use serde::Serialize;

use crate::{
    cli::{
        args::Cli,
        codes::{self, Explained},
        context::Context,
        error::CliError,
        exit,
        exit::Exit,
        human,
        table::Table,
    },
    home::nearest,
};

/// A code that is met in several places: the first, and the others beside it.
#[derive(Debug, Serialize)]
struct Explanation {
    #[serde(flatten)]
    first: Explained,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<Explained>,
}

impl Kind for Explanation {
    const KIND: &'static str = Explained::KIND;
}

impl ListKind for Explained {
    const LIST_KIND: &'static str = "ExplanationList";
}

/// `weft explain`.
///
/// # Errors
///
/// `not-found` if there is no such code.
pub fn explain(context: &Context, code: Option<&str>) -> Result<Exit, CliError> {
    let Some(code) = code else { return list_codes(context) };
    let mut explained = codes::explained(code).into_iter();
    let first = explained.next().ok_or_else(|| unknown(code))?;
    context.screen.document(
        Explanation { first, also: explained.collect() },
        |explanation| explanation.first.code.to_owned(),
        |explanation| {
            let parts = std::iter::once(&explanation.first).chain(&explanation.also);
            parts.map(in_words).collect::<Vec<_>>().join("\n")
        },
    )?;
    Ok(Exit::SUCCESS)
}

fn in_words(explained: &Explained) -> String {
    let mut numbers = Vec::new();
    if let Some(code) = explained.exit_code {
        numbers.push(format!("exit code {code}"));
    }
    if let Some(status) = explained.http_status {
        numbers.push(format!("HTTP status {status}"));
    }
    let numbers =
        if numbers.is_empty() { String::new() } else { format!("  {}\n", numbers.join(", ")) };
    format!(
        "{}: {}\n\n{}\n  way out: {}\n{numbers}",
        explained.code,
        explained.title,
        human::wrapped(explained.meaning, "  "),
        human::wrapped(explained.help, "           ").trim()
    )
}

fn list_codes(context: &Context) -> Result<Exit, CliError> {
    let items = codes::all().collect();
    context.screen.list(
        List::whole(items),
        |list: &List<Explained>| list.items.as_slice(),
        |explained| explained.code.to_owned(),
        |list| {
            let mut table = Table::new(&["CODE", "MET", "EXIT", "MEANING"]);
            for it in &list.items {
                table.row([
                    it.code.to_owned(),
                    it.met.name().to_owned(),
                    it.exit_code.map(|code| code.to_string()).unwrap_or_default(),
                    it.title.to_owned(),
                ]);
            }
            table
        },
    )?;
    Ok(Exit::SUCCESS)
}

fn unknown(code: &str) -> CliError {
    let all: Vec<_> = codes::all().map(|explained| explained.code).collect();
    let detail = match nearest(&code.to_ascii_lowercase(), all) {
        Some(near) => format!("there is no code `{code}`; did you mean `{near}`?"),
        None => format!("there is no code `{code}`"),
    };
    CliError::new(ErrorCode::NotFound, detail).help(
        "`weft explain` lists all codes; one stands after `Error:`, such as daemon-unreachable",
    )
}

/// A script for a shell, for programs.
#[derive(Debug, Serialize)]
struct Completions {
    shell: String,
    script: String,
}

impl Kind for Completions {
    const KIND: &'static str = "Completions";
}

/// An exit code, for programs.
#[derive(Debug, Serialize)]
struct ExitCode {
    code: u8,
    meaning: &'static str,
}

impl ListKind for ExitCode {
    const LIST_KIND: &'static str = "ExitCodeList";
}

/// `weft completions`.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn completions(context: &Context, shell: clap_complete::Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weft", &mut script);
    if context.screen.is_for_people() {
        context.screen.bytes(&script)?;
        return Ok(Exit::SUCCESS);
    }
    let script = String::from_utf8_lossy(&script).into_owned();
    let completions = Completions { shell: shell.to_string(), script };
    context.screen.document(completions, |it| it.shell.clone(), |_| String::new())?;
    Ok(Exit::SUCCESS)
}

/// `weft version`.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn version(context: &Context) -> Result<Exit, CliError> {
    context.screen.document(
        Version::of_this_build(),
        |version| version.version.clone(),
        |version| {
            format!(
                "weft {} · protocol {} · {} {}\n",
                version.version, version.protocol, version.os, version.arch
            )
        },
    )?;
    Ok(Exit::SUCCESS)
}

/// `weft exit-codes`, and `weft help exit-codes`.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn exit_codes(context: &Context) -> Result<Exit, CliError> {
    if context.screen.is_for_people() {
        context.screen.text(&format!("{}\n", exit::HELP))?;
        return Ok(Exit::SUCCESS);
    }
    let items = exit::HELP.lines().filter_map(|line| {
        let (code, meaning) = line.trim().split_once("  ")?;
        Some(ExitCode { code: code.parse().ok()?, meaning })
    });
    context.screen.list(
        List::whole(items.collect()),
        |list: &List<ExitCode>| list.items.as_slice(),
        |it| it.code.to_string(),
        |_| Table::new(&[]),
    )?;
    Ok(Exit::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::codes::Met;

    #[test]
    fn a_code_that_is_misspelt_is_guessed() {
        assert!(
            unknown("daemon-unreachabel").render().contains("did you mean `daemon-unreachable`?")
        );
    }

    #[test]
    fn a_word_with_two_meanings_has_both_explained() {
        let met: Vec<_> = codes::explained("timeout").iter().map(|it| it.met).collect();
        assert_eq!(met, [Met::Error, Met::End]);
    }
}
