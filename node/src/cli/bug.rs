//! Bugs that are caught: an error with a code, and a file for the report.
//!
//! The file holds the place in the source, the message and the backtrace of the first bug; nothing of what the program
//! was working on.

use std::{
    any::Any,
    backtrace::Backtrace,
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook},
    path::PathBuf,
    sync::OnceLock,
};

use super::error::CliError;

/// Where the report of the first bug is. `None`: it could not be written.
static REPORT: OnceLock<Option<PathBuf>> = OnceLock::new();

/// Writes a report for the first bug from now on, in whichever thread, and says in the log that there was one.
pub(super) fn watch() {
    set_hook(Box::new(|info| {
        let report = REPORT.get_or_init(|| write(info));
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let report = report.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        tracing::error!(place, report, "a bug was caught: please report it");
    }));
}

/// Runs something; a bug in it becomes an error.
///
/// # Errors
///
/// What `run` says, or `internal` with the place of the report.
pub(super) fn caught<T>(run: impl FnOnce() -> Result<T, CliError>) -> Result<T, CliError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let error = CliError::internal(format!("a bug: {}", message(panic.as_ref())));
        Err(match REPORT.get() {
            Some(Some(path)) => error.help(format!("please report it, with {}", path.display())),
            Some(None) | None => error,
        })
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}

fn write(info: &PanicHookInfo<'_>) -> Option<PathBuf> {
    let path = std::env::temp_dir().join(format!("weft-bug-{}.txt", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).ok()?;
    let report = format!(
        "weft {} on {} {}\n\n{}\nat {}\n\n{}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        message(info.payload()),
        info.location().map(ToString::to_string).unwrap_or_default(),
        Backtrace::force_capture()
    );
    file.write_all(report.as_bytes()).ok().map(|()| path)
}

#[cfg(test)]
mod tests {
    use portal_api::ErrorCode;

    use super::*;

    #[test]
    fn a_bug_is_an_error_with_its_message() {
        let error = caught::<()>(|| panic!("seven {}", "eight")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Internal);
        assert!(error.render().contains("a bug: seven eight"));
        assert_eq!(caught(|| Ok(7)).unwrap(), 7);
    }
}
