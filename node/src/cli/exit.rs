//! What the exit code of a command says.

use std::process::ExitCode;

/// How a command ended: the number that the shell sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// It did what was asked.
    pub const SUCCESS: Self = Self(0);
    /// The job ran and failed.
    pub const JOB_FAILED: Self = Self(3);
    /// `weft doctor` found problems.
    pub const UNHEALTHY: Self = Self(8);

    /// The code of a program: those above 255 do not fit and become 255, so that a failure stays one.
    #[must_use]
    pub fn of_program(code: u32) -> Self {
        Self(u8::try_from(code).unwrap_or(u8::MAX))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// `weft help exit-codes`.
pub const HELP: &str = "\
What the exit codes mean:

    0  success
    1  general error: a file is missing, a module is not one, the node answered with an error
    2  wrong usage: a flag or an argument
    3  the job ran and failed (`weft run --exit-code` passes the program's own code on)
    4  no known node can run this (`weft job explain JOB`)
    5  no node is running here, or its API cannot be reached
    6  not permitted: this node is not approved, or the token is missing
    7  not enough credits
    8  the node is not ready, or `weft doctor` found problems
    9  conflict: it exists already, or is not in a state where this is possible
  124  --timeout was reached; a job that was accepted goes on
  130  interrupted before the job was accepted; after that Ctrl-C only stops watching, with 0

`weft exec` exits with the program's own code: 124 for its time limit, 126 for a module that is refused,
134 for a trap, 137 for another limit.

`weft receipt verify` exits with 0 for VALID, 10 WRONG RESULT, 11 WRONG BILL, 12 INDETERMINATE, 13 for a bad
signature or proof.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_never_looks_like_success() {
        assert_eq!(Exit::of_program(7), Exit(7));
        assert_eq!(Exit::of_program(256), Exit(255));
        assert_eq!(Exit::of_program(0), Exit::SUCCESS);
    }

    #[test]
    fn every_exit_code_of_the_catalogue_is_explained() {
        for code in portal_api::ErrorCode::ALL {
            let line = format!("{:>5}  ", code.exit_code());
            assert!(HELP.contains(&line), "{code} exits with {}", code.exit_code());
        }
    }
}
