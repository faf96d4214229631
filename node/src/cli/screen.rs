//! Where everything is printed: results on standard output, everything else on standard error.
//!
//! An error is for people, on standard error. Where a program asked with `-o json` or `-o jsonl` it is the one document
//! on standard output instead: a program that reads documents need not read sentences too.

use std::io::{self, IsTerminal as _, Write as _};

use portal_api::{
    ErrorCode,
    views::{Document, Kind},
};
use serde::Serialize;

use super::{
    args::{ColorWhen, Format, Globals, Progress},
    error::CliError,
    table::Table,
};

/// How results and news are shown.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    format: Format,
    header: bool,
    quiet: bool,
    verbose: u8,
    progress: Progress,
    color: bool,
}

impl Screen {
    /// A screen for errors about a command line that was not understood.
    #[must_use]
    pub fn of_format(format: Format) -> Self {
        Self {
            format,
            header: true,
            quiet: false,
            verbose: 0,
            progress: Progress::None,
            color: false,
        }
    }

    /// The screen that the flags ask for.
    #[must_use]
    pub fn new(globals: &Globals) -> Self {
        let terminal = io::stderr().is_terminal();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let progress = match globals.progress {
            _ if globals.quiet => Progress::None,
            Progress::Auto if terminal && !dumb => Progress::Bar,
            Progress::Auto => Progress::Plain,
            chosen @ (Progress::Bar | Progress::Plain | Progress::None) => chosen,
        };
        Self {
            format: if globals.json { Format::Json } else { globals.output },
            header: !globals.no_header,
            quiet: globals.quiet,
            verbose: globals.verbose,
            progress,
            color: match globals.color {
                ColorWhen::Always => true,
                ColorWhen::Never => false,
                ColorWhen::Auto => terminal && !dumb && !no_color,
            },
        }
    }

    /// How results are printed.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Whether results are for people.
    #[must_use]
    pub const fn is_for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Whether everything is to be shown whole.
    #[must_use]
    pub const fn is_wide(&self) -> bool {
        matches!(self.format, Format::Wide)
    }

    /// How progress is shown: never [`Progress::Auto`].
    #[must_use]
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    /// How often `-v` was given.
    #[must_use]
    pub const fn verbosity(&self) -> u8 {
        self.verbose
    }

    /// Prints text for people on standard output.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written.
    pub fn text(&self, text: &str) -> Result<(), CliError> {
        write_stdout(text.as_bytes())
    }

    /// Prints bytes on standard output as they are.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        write_stdout(bytes)
    }

    /// Prints one document: as JSON, as its name, or as the text that `people` makes of it.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written.
    pub fn document<T: Kind + Serialize>(
        &self,
        body: T,
        name: impl FnOnce(&T) -> String,
        people: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        let text = match self.format {
            Format::Table | Format::Wide => people(&body),
            Format::Name => format!("{}\n", name(&body)),
            Format::Json => pretty(&Document::of(body))?,
            Format::Jsonl => line(&Document::of(body))?,
        };
        write_stdout(text.as_bytes())
    }

    /// Prints a list: one document as JSON, or each item as JSON, as its name, or in a table.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written.
    pub fn list<L: Kind + Serialize, T: Serialize>(
        &self,
        list: L,
        items: impl Fn(&L) -> &[T],
        name: impl Fn(&T) -> String,
        table: impl FnOnce(&L) -> Table,
    ) -> Result<(), CliError> {
        let text = match self.format {
            Format::Table | Format::Wide => table(&list).render(self.header),
            Format::Name => items(&list).iter().map(|item| name(item) + "\n").collect(),
            Format::Json => pretty(&Document::of(list))?,
            Format::Jsonl => items(&list).iter().map(line).collect::<Result<String, _>>()?,
        };
        write_stdout(text.as_bytes())
    }

    /// News for people, on standard error; nothing with `-q`.
    pub fn news(&self, line: &str) {
        if !self.quiet {
            write_stderr(&format!("{line}\n"));
        }
    }

    /// News for those who asked for more with `-v`.
    pub fn detail(&self, line: &str) {
        if self.verbose > 0 {
            write_stderr(&format!("{line}\n"));
        }
    }

    /// Why something did not work, where that is a part of a result; also with `-q`.
    pub fn complaint(&self, line: &str) {
        write_stderr(&format!("{line}\n"));
    }

    /// Something that a person should know although it worked; also with `-q`.
    pub fn warn(&self, line: &str) {
        write_stderr(&format!("  {} {line}\n", self.paint("⚠", "33")));
    }

    /// A good end.
    pub fn success(&self, line: &str) {
        self.news(&format!("  {} {line}", self.paint("✓", "32")));
    }

    /// Prints an error: for people on standard error, for programs as a document on standard output.
    pub fn error(&self, error: &CliError) {
        let printed = match self.format {
            Format::Json => pretty(&error.document()).and_then(|text| self.text(&text)),
            Format::Jsonl => line(&error.document()).and_then(|text| self.text(&text)),
            Format::Table | Format::Wide | Format::Name => return self.error_for_people(error),
        };
        if printed.is_err() {
            // Standard output is what does not work.
            self.error_for_people(error);
        }
    }

    fn error_for_people(self, error: &CliError) {
        let text = error.render();
        match text.strip_prefix("Error:") {
            Some(rest) => write_stderr(&format!("{}{rest}", self.paint("Error:", "1;31"))),
            None => write_stderr(&text),
        }
    }

    fn paint(&self, text: &str, color: &str) -> String {
        if self.color { format!("\u{1b}[{color}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn pretty(document: &impl Serialize) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| CliError::internal(error.to_string()))?;
    Ok(text + "\n")
}

fn line(document: &impl Serialize) -> Result<String, CliError> {
    let text =
        serde_json::to_string(document).map_err(|error| CliError::internal(error.to_string()))?;
    Ok(text + "\n")
}

/// A reader that has seen enough (`weft … | head`) is not an error.
fn write_stdout(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::new(ErrorCode::OutputUnwritable, format!("standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// There is nobody to tell if this fails.
pub(super) fn write_stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The same for what a program wrote, as it is.
pub(super) fn write_stderr_bytes(bytes: &[u8]) {
    let _ = io::stderr().lock().write_all(bytes);
}
