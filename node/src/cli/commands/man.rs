//! `weft man`: manual pages, written from the same grammar as the help.

use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;
use portal_api::views::Kind;
use serde::Serialize;

use crate::cli::{args::Cli, context::Context, error::CliError, exit::Exit};

/// The pages that were written, for programs.
#[derive(Debug, Serialize)]
struct Pages {
    #[serde(skip_serializing_if = "Option::is_none")]
    dir: Option<String>,
    pages: Vec<Page>,
}

impl Kind for Pages {
    const KIND: &'static str = "ManualPages";
}

/// A page: its text only where it was not written to a file.
#[derive(Debug, Serialize)]
struct Page {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    roff: Option<String>,
}

/// Prints the page of the program, or writes those of all commands.
///
/// # Errors
///
/// If a page cannot be written.
pub fn man(context: &Context, dir: Option<&Path>) -> Result<Exit, CliError> {
    let weft = grammar();
    let Some(dir) = dir else {
        let text = render(&weft)?;
        if context.screen.is_for_people() {
            context.screen.text(&text)?;
            return Ok(Exit::SUCCESS);
        }
        let page = Page { file: "weft.1".to_owned(), roff: Some(text) };
        return show(context, Pages { dir: None, pages: vec![page] });
    };
    let pages = all(&weft)?;
    if context.dry_run() {
        return context.would(format!("write {} pages into {}", pages.len(), dir.display()));
    }
    std::fs::create_dir_all(dir).map_err(|error| CliError::unwritable(dir, &error))?;
    let mut written = Vec::new();
    for (file, text) in pages {
        let path = dir.join(&file);
        std::fs::write(&path, text).map_err(|error| CliError::unwritable(&path, &error))?;
        written.push(Page { file, roff: None });
    }
    show(context, Pages { dir: Some(dir.display().to_string()), pages: written })
}

fn show(context: &Context, pages: Pages) -> Result<Exit, CliError> {
    context.screen.document(
        pages,
        |pages| pages.pages.iter().map(|page| page.file.as_str()).collect::<Vec<_>>().join("\n"),
        |pages| {
            let dir = pages.dir.as_deref().unwrap_or_default();
            format!("{} pages in {dir}; read one with  man -l {dir}/weft.1\n", pages.pages.len())
        },
    )?;
    Ok(Exit::SUCCESS)
}

/// The grammar, with the names of commands as they are called.
fn grammar() -> clap::Command {
    let mut weft = Cli::command();
    weft.build();
    weft
}

/// A page for each command that is shown: file names and texts, in the order of the help.
fn all(command: &clap::Command) -> Result<Vec<(String, String)>, CliError> {
    let mut pages = vec![(Man::new(command.clone()).get_filename(), render(command)?)];
    let shown = command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help");
    for command in shown {
        pages.extend(all(command)?);
    }
    Ok(pages)
}

fn render(command: &clap::Command) -> Result<String, CliError> {
    let mut page = Vec::new();
    let man = Man::new(command.clone())
        .manual("weft")
        .source(format!("weft {}", env!("CARGO_PKG_VERSION")));
    man.render(&mut page).map_err(|error| CliError::internal(error.to_string()))?;
    String::from_utf8(page).map_err(|error| CliError::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = all(&grammar()).unwrap();
        let names: Vec<_> = pages.iter().map(|(file, _)| file.as_str()).collect();
        for name in ["weft.1", "weft-up.1", "weft-job-explain.1", "weft-doctor.1"] {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
        for (file, text) in &pages {
            assert!(text.contains(".SH NAME"), "{file}");
        }
    }
}
