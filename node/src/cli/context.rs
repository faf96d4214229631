//! What every command has at hand.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    time::Duration,
};

use portal_api::{ErrorCode, views::Kind};
use serde::Serialize;

use super::{
    args::Globals,
    client::{Client, Target},
    error::CliError,
    exit::Exit,
    screen::Screen,
};
use crate::home::Home;

/// What every command has at hand.
#[derive(Debug, Clone)]
pub struct Context {
    globals: Globals,
    /// Where everything is printed.
    pub screen: Screen,
}

/// Something that was done, or would be: for programs.
#[derive(Debug, Serialize)]
struct Action {
    dry_run: bool,
    what: String,
}

impl Kind for Action {
    const KIND: &'static str = "Action";
}

impl Context {
    /// The context that the flags make.
    #[must_use]
    pub fn new(globals: Globals) -> Self {
        Self { screen: Screen::new(&globals), globals }
    }

    /// The flags.
    #[must_use]
    pub const fn globals(&self) -> &Globals {
        &self.globals
    }

    /// Whether to say only what would be done.
    #[must_use]
    pub const fn dry_run(&self) -> bool {
        self.globals.dry_run
    }

    /// Says what was done, where there is nothing else to show.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written.
    pub fn did(&self, what: impl Into<String>) -> Result<Exit, CliError> {
        let what = what.into();
        if self.screen.is_for_people() {
            self.screen.success(&what);
            return Ok(Exit::SUCCESS);
        }
        self.screen.document(
            Action { dry_run: false, what },
            |it| it.what.clone(),
            |_| String::new(),
        )?;
        Ok(Exit::SUCCESS)
    }

    /// Says what would be done without `-n`.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written.
    pub fn would(&self, what: impl Into<String>) -> Result<Exit, CliError> {
        let what = what.into();
        if self.screen.is_for_people() {
            self.screen.news(&format!("  would {what}"));
            return Ok(Exit::SUCCESS);
        }
        self.screen.document(
            Action { dry_run: true, what },
            |it| it.what.clone(),
            |_| String::new(),
        )?;
        Ok(Exit::SUCCESS)
    }

    /// How long this command may take.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.globals.timeout
    }

    /// Where the data directory is, whether it exists or not.
    ///
    /// # Errors
    ///
    /// If nothing says so.
    pub fn data_dir(&self) -> Result<PathBuf, CliError> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        Ok(Home::resolve(self.globals.data_dir.as_deref(), variable)?)
    }

    /// A client of the node that the flags name.
    ///
    /// # Errors
    ///
    /// If they name none.
    pub fn client(&self) -> Result<Client, CliError> {
        let target = Target::choose(self.globals.api.as_deref(), &self.data_dir()?)?;
        Ok(Client::new(target))
    }

    /// Whether there is somebody at a terminal who can be asked, and who did not say yes beforehand.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        !self.globals.yes && !self.globals.no_input && io::stdin().is_terminal()
    }

    /// Asks for a yes. Without a terminal, or with `--no-input`, there is nobody to ask.
    ///
    /// # Errors
    ///
    /// `usage` where nobody can be asked; `interrupted` if the answer is no.
    pub fn confirm(&self, question: &str) -> Result<(), CliError> {
        if self.globals.yes {
            return Ok(());
        }
        if self.globals.no_input || !io::stdin().is_terminal() {
            return Err(CliError::new(
                ErrorCode::Usage,
                format!("{question} Nobody can be asked here"),
            )
            .help("say yes beforehand with --yes"));
        }
        super::screen::write_stderr(&format!("{question} [y/N] "));
        let _ = io::stderr().flush();
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
            Ok(())
        } else {
            Err(CliError::new(ErrorCode::Interrupted, "not confirmed; nothing was changed"))
        }
    }
}
