//! What a person is told when something does not work: what, why, and the way out.

use std::{error::Error, io, path::Path};

use portal_api::{ErrorCode, Problem};
use serde_json::{Map, Value};

use super::exit::Exit;
use crate::{
    app::AppError,
    home::{ConfigError, HomeError},
};

/// A command did not do what was asked.
#[derive(Debug)]
pub struct CliError {
    problem: Problem,
    help: Vec<String>,
}

impl CliError {
    /// An error with a sentence that says what exactly.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { problem: Problem::new(code, detail), help: Vec::new() }
    }

    /// Adds a way out, before the general one of the code.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// A file that was named cannot be read.
    #[must_use]
    pub fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::new(ErrorCode::FileUnreadable, format!("{}: {}", path.display(), sentence(error)))
    }

    /// A file or directory for results cannot be written.
    #[must_use]
    pub fn unwritable(path: &Path, error: &io::Error) -> Self {
        Self::new(ErrorCode::OutputUnwritable, format!("{}: {}", path.display(), sentence(error)))
    }

    /// Something that the program takes for granted does not hold.
    #[must_use]
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, detail)
    }

    /// What kind of error.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.problem.code
    }

    /// What exactly.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.problem.detail
    }

    /// For `not-ready`: what was looked at.
    #[must_use]
    pub fn checks(&self) -> &[portal_api::views::Check] {
        &self.problem.extras.checks
    }

    /// What the shell sees.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit(self.problem.code.exit_code())
    }

    /// What programs get that asked with `-o json`: the problem document of the API (`docs/api.md`, "Errors"), with the
    /// exit code, and with the ways out that fit best.
    #[must_use]
    pub fn document(&self) -> Map<String, Value> {
        let Ok(Value::Object(mut document)) = serde_json::to_value(&self.problem) else {
            return Map::new();
        };
        if self.problem.code.status().is_none() {
            document.remove("status");
        }
        if !self.help.is_empty() {
            document.insert("help".to_owned(), self.help.join("\n").into());
        }
        document.insert("exit".to_owned(), self.exit().0.into());
        document
    }

    /// A command line that was not understood.
    #[must_use]
    pub fn usage(error: &clap::Error) -> Self {
        use clap::error::ErrorKind;
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Self::new(ErrorCode::Usage, "a command is missing")
                .help("`weft help` lists all commands");
        }
        let text = error.render().to_string();
        let mut parts = text.split("\n\n").map(str::trim);
        let said = parts.next().unwrap_or_default();
        let mut usage = Self::new(ErrorCode::Usage, said.strip_prefix("error: ").unwrap_or(said));
        for part in parts.filter(|part| !part.is_empty() && !part.starts_with("For more info")) {
            usage = usage.help(part.strip_prefix("tip: ").unwrap_or(part));
        }
        usage
    }

    /// What is printed on standard error.
    ///
    /// ```text
    /// Error: insufficient-credits
    ///
    ///   × 4.20 cr are needed, and 1.05 cr can be spent
    ///   help: Lower `--max-credits` …
    ///   more: weft explain insufficient-credits
    /// ```
    #[must_use]
    pub fn render(&self) -> String {
        let code = self.problem.code;
        let mut text = format!("Error: {code}\n\n  × {}\n", indent(&self.problem.detail, "    "));
        for candidate in &self.problem.extras.candidates {
            text.push_str(&format!("    candidate: {candidate}\n"));
        }
        for check in self.problem.extras.checks.iter().filter(|check| !check.good) {
            text.push_str(&format!("    {}: {}\n", check.name, check.detail));
        }
        let general = [code.help().to_owned()];
        let help = if self.help.is_empty() { general.as_slice() } else { self.help.as_slice() };
        for (at, line) in help.iter().enumerate() {
            let label = if at == 0 { "help:" } else { "  or:" };
            text.push_str(&format!("  {label} {}\n", indent(line, "        ")));
        }
        if let (ErrorCode::Internal, Some(request)) = (code, &self.problem.extras.request_id) {
            text.push_str(&format!("  request: {request}\n"));
        }
        text.push_str(&format!("  more: weft explain {code}\n"));
        text
    }
}

fn indent(text: &str, by: &str) -> String {
    text.trim_end().replace('\n', &format!("\n{by}"))
}

/// What the operating system says, without the number that Rust adds.
fn sentence(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// An error and what caused it, in one line. Causes that say nothing new, as those of libraries that print their
/// own causes, are left out.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = sentence(error);
    let mut source = error.source();
    while let Some(cause) = source {
        let said = sentence(cause);
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> Self {
        Self { problem, help: Vec::new() }
    }
}

impl From<HomeError> for CliError {
    fn from(error: HomeError) -> Self {
        let detail = chain(&error);
        match &error {
            HomeError::Locked { .. } => Self::new(ErrorCode::AlreadyRunning, detail),
            HomeError::Missing { dir } => Self::new(ErrorCode::DataDirUnusable, detail)
                .help(format!("make one:      weft init --data-dir {}", dir.display()))
                .help("or start it:   weft up"),
            HomeError::Exposed { dir, .. } => Self::new(ErrorCode::DataDirUnusable, detail)
                .help(format!("keep it for yourself:  chmod 700 {}", dir.display())),
            HomeError::KeyExposed { path, .. } => Self::new(ErrorCode::DataDirUnusable, detail)
                .help(format!("keep it for yourself:  chmod 600 {}", path.display())),
            HomeError::BadKey { path } => {
                Self::new(ErrorCode::DataDirUnusable, detail).help(format!(
                    "restore it from a backup, or move it away to make a new one: {}",
                    path.display()
                ))
            }
            HomeError::KeysPresent { .. } => Self::new(ErrorCode::WrongState, detail)
                .help("another directory:    --data-dir DIR")
                .help("lose those that are here:  --force"),
            HomeError::Nowhere
            | HomeError::NotADirectory { .. }
            | HomeError::Io { .. }
            | HomeError::Entropy => Self::new(ErrorCode::DataDirUnusable, detail),
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorCode::ConfigInvalid, chain(&error))
    }
}

/// An error of a node that starts or runs.
impl From<AppError> for CliError {
    fn from(error: AppError) -> Self {
        let detail = chain(&error);
        if is_port_in_use(&error, &detail) {
            return Self::new(ErrorCode::PortInUse, detail);
        }
        match error {
            AppError::PortTaken { .. } => Self::new(ErrorCode::PortInUse, detail),
            AppError::NobodyCoordinates => Self::new(ErrorCode::Usage, detail),
            AppError::Refused { .. } => Self::new(ErrorCode::NotPermitted, detail),
            AppError::Address(_) => Self::new(ErrorCode::ConfigInvalid, detail),
            AppError::Blobs(_)
            | AppError::Outbox(_)
            | AppError::Ledger(_)
            | AppError::Membership { .. }
            | AppError::File { .. }
            | AppError::SeveralMeshes(_)
            | AppError::Damaged(_) => Self::new(ErrorCode::DataDirUnusable, detail),
            AppError::Net(_)
            | AppError::Api(_)
            | AppError::Sandbox(_)
            | AppError::Fatal(_)
            | AppError::Found(_)
            | AppError::FoundRejected(_)
            | AppError::Ended(_) => Self::internal(detail),
        }
    }
}

/// Whether a port that was asked for is taken. libp2p wraps the error of the operating system so that only its text
/// can be seen from outside.
fn is_port_in_use(error: &(dyn Error + 'static), text: &str) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse)
        {
            return true;
        }
        cause = error.source();
    }
    text.contains("Address already in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_and_the_way_out() {
        let mut problem = Problem::new(ErrorCode::NotFound, "there is no job `abc`");
        problem.extras.candidates = vec!["abcd0123".to_owned()];
        assert_eq!(
            CliError::from(problem).render(),
            "Error: not-found\n\n  × there is no job `abc`\n    candidate: abcd0123\n  help: Lists show what there is: \
             `weft job list`, `weft node list`, `weft receipt list`.\n  more: weft explain not-found\n"
        );
    }

    #[test]
    fn a_program_gets_the_same_in_one_document() {
        let error = CliError::new(ErrorCode::FileUnreadable, "m.wasm: no such file").help("look");
        let document = Value::Object(error.document());
        for (field, value) in [
            ("/apiVersion", "weft/v1"),
            ("/kind", "Error"),
            ("/code", "file-unreadable"),
            ("/title", "A file cannot be read"),
            ("/detail", "m.wasm: no such file"),
            ("/help", "look"),
        ] {
            assert_eq!(document.pointer(field), Some(&value.into()), "{field}");
        }
        assert_eq!(document["exit"], 1);
        assert_eq!(document.get("status"), None);
        let general = CliError::new(ErrorCode::NotFound, "x").document();
        assert_eq!(general["help"], ErrorCode::NotFound.help());
        assert_eq!(general["status"], 404);
    }

    #[test]
    fn the_causes_of_an_error_are_told_once() {
        let error = HomeError::io("creating", "/nowhere")(io::Error::from_raw_os_error(13));
        assert_eq!(
            CliError::from(error).problem.detail,
            "creating /nowhere failed: Permission denied"
        );
    }

    #[test]
    fn a_port_in_use_is_found_below_all_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("listening failed")]
        struct Listening(#[source] io::Error);
        let error = Listening(io::Error::from_raw_os_error(98));
        let text = chain(&error);
        assert_eq!(text, "listening failed: Address already in use");
        assert!(is_port_in_use(&error, ""));
        assert!(is_port_in_use(&Listening(io::Error::other(text.clone())), &text));
        assert!(!is_port_in_use(&Listening(io::Error::from_raw_os_error(13)), ""));
    }
}
