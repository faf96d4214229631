//! Somebody who calls `weft`, and what they are told.

use std::{
    ffi::OsStr,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// A person's home directory, in which `weft` is called.
pub(crate) struct Person {
    home: TempDir,
}

/// What a call of `weft` said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Person {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn weft(&self, args: &[&str]) -> Said {
        self.weft_with(args, &[])
    }

    pub(crate) fn weft_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Said {
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
    pub(crate) fn is_error(&self, code: i32, error: &str) -> &Self {
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
    pub(crate) fn is_error_document(&self, code: i32, error: &str) {
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
    pub(crate) fn says(&self, text: &str) {
        assert!(self.stderr.contains(text), "{}", self.stderr);
    }

    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }
}
