//! What was found, and what can be done about it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::Finding;

/// How much something matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is as it should be.
    Ok,
    /// Good to know.
    Note,
    /// It works, but less well than it could.
    Warn,
    /// Something does not work.
    Problem,
}

impl Severity {
    /// The sign before a line.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Ok => "✓",
            Self::Note => "·",
            Self::Warn => "⚠",
            Self::Problem => "✗",
        }
    }
}

/// What one look said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What was looked at.
    pub check: &'static str,
    /// What was found, by its code; absent where all is well.
    #[serde(serialize_with = "code", skip_serializing_if = "Option::is_none")]
    pub code: Option<Finding>,
    /// How much it matters.
    pub severity: Severity,
    /// For people: one line.
    pub text: String,
    /// What was seen: facts from which the text follows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// What a person can do, if there is more to say than the code does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What `--fix` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub treatment: Option<Treatment>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn code<S: serde::Serializer>(finding: &Option<Finding>, serializer: S) -> Result<S::Ok, S::Error> {
    match finding {
        Some(finding) => serializer.serialize_str(finding.code()),
        None => serializer.serialize_none(),
    }
}

impl Diagnosis {
    /// All is well.
    #[must_use]
    pub fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self {
            check,
            code: None,
            severity: Severity::Ok,
            text: text.into(),
            evidence: Vec::new(),
            fix: None,
            treatment: None,
        }
    }

    /// Something was found.
    #[must_use]
    pub fn found(
        check: &'static str,
        finding: Finding,
        severity: Severity,
        text: impl Into<String>,
    ) -> Self {
        Self { code: Some(finding), severity, ..Self::ok(check, text) }
    }

    /// Adds what was seen.
    #[must_use]
    pub fn because(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    /// Adds what a person can do.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Adds what can be done at once.
    #[must_use]
    pub fn treat(mut self, treatment: Treatment) -> Self {
        self.treatment = Some(treatment);
        self
    }
}

/// Something that can be done at once and harms nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Treatment {
    /// Take away from others what they may do with a file or directory.
    Restrict {
        /// Which.
        path: PathBuf,
        /// The permission bits that it gets.
        mode: u32,
    },
    /// Remove a file that the node writes anew.
    Remove {
        /// Which.
        path: PathBuf,
    },
}

impl Treatment {
    /// What it does, as the command that does the same. For `--dry-run`.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Restrict { path, mode } => format!("chmod {mode:03o} {}", path.display()),
            Self::Remove { path } => format!("rm {}", path.display()),
        }
    }

    /// Does it. Links are not followed: what they lead to is not the node's.
    ///
    /// # Errors
    ///
    /// As chmod(2) and unlink(2).
    pub fn apply(&self) -> io::Result<()> {
        match self {
            Self::Restrict { path, mode } => {
                not_a_link(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(*mode))
            }
            Self::Remove { path } => fs::remove_file(path),
        }
    }
}

fn not_a_link(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::Error::other("it is a link"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_treatment_says_what_it_does_and_does_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let restrict = Treatment::Restrict { path: path.clone(), mode: 0o600 };
        assert_eq!(restrict.summary(), format!("chmod 600 {}", path.display()));
        restrict.apply().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        Treatment::Restrict { path: link, mode: 0o777 }.apply().unwrap_err();
        Treatment::Remove { path: path.clone() }.apply().unwrap();
        assert!(!path.exists());
    }
}
