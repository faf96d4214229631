//! Every error that a person or a script can meet.

use std::fmt;

use protocol::reject::RejectReason;

macro_rules! catalogue {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $exit:literal, $title:literal, $help:literal;)*) => {
        /// An error that a person or a script can meet. Codes never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable name.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status; 0 for what only the command line meets.
            const fn status_number(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The exit code of the command line.
            #[must_use]
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$name => $exit,)* }
            }

            /// A few words, always the same for one code.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// The way out: sentences, or commands to type.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)* }
            }
        }
    };
}

catalogue! {
    /// A flag or argument is wrong.
    Usage = "usage", 0, 2, "Wrong usage", "See `weft help`.";
    /// A file or directory that was named cannot be read.
    FileUnreadable = "file-unreadable", 0, 1, "A file cannot be read",
        "Check the path and its permissions.";
    /// The place for the results cannot be written.
    OutputUnwritable = "output-unwritable", 0, 1, "The output cannot be written",
        "Name another directory with `--out`, or make this one writable.";
    /// Two inputs would be written to the same place.
    OutputCollision = "output-collision", 0, 1, "Two inputs have the same output name",
        "Rename one of them, or choose a pattern that keeps their directories apart.";
    /// The pattern matches nothing.
    NoInput = "no-input", 0, 1, "There is no input",
        "Put the pattern in quotes, so that weft expands it, and check that it matches files.";
    /// The data directory cannot be used.
    DataDirUnusable = "data-dir-unusable", 0, 1, "The data directory cannot be used",
        "Choose another with `--data-dir` or `WEFT_DATA_DIR`, or give yourself the right to write there.";
    /// The configuration file is wrong.
    ConfigInvalid = "config-invalid", 0, 1, "The configuration is wrong",
        "See the line that is named; `weft config check` says when it is right.";
    /// A port that was asked for is in use.
    PortInUse = "port-in-use", 0, 1, "The port is in use",
        "Choose another port, or 0 for any free one; or stop the program that has it.";
    /// A node is running in this data directory already.
    AlreadyRunning = "already-running", 0, 9, "A node is running here already",
        "See it with `weft status`, or stop it with `weft down`. A second node needs its own `--data-dir`.";
    /// The job ran and failed.
    JobFailed = "job-failed", 0, 3, "The job failed",
        "`weft job logs ID` shows what the tasks said, `weft job explain ID` why it ended.";
    /// Interrupted before the job was accepted.
    Interrupted = "interrupted", 0, 130, "Interrupted",
        "Nothing was submitted.";
    /// No node answers on this machine.
    DaemonUnreachable = "daemon-unreachable", 0, 5, "No node is running here",
        "Start one with `weft up`, or name its directory with `--data-dir`.";

    /// This node waits for approval, or was refused.
    NotApproved = "not-approved", 403, 6, "This node is not approved",
        "On a node of an operator: `weft node list`, then `weft node approve NAME`.";
    /// This node has not asked to join.
    NotEnrolled = "not-enrolled", 403, 6, "This node has not joined the mesh",
        "Start it with `weft up --bootstrap ADDRESS`, and have it approved.";
    /// The node was refused or removed.
    Blacklisted = "blacklisted", 403, 6, "This node was removed from the mesh",
        "Ask an operator of the mesh.";
    /// The caller may not do this.
    NotPermitted = "not-permitted", 403, 6, "Not permitted",
        "Only the owner of the account, or an operator of the mesh, may do this.";
    /// The signature or its signer is wrong.
    BadSignature = "bad-signature", 403, 6, "The signature is wrong",
        "Check that the keys in the data directory belong to this account.";
    /// The token is missing or wrong.
    Unauthenticated = "unauthenticated", 401, 6, "The token is missing or wrong",
        "Send `Authorization: Bearer TOKEN` with the token in the node's data directory, or use its Unix socket.";
    /// A browser sent this from another site.
    CrossOrigin = "cross-origin", 403, 6, "Refused: sent from another site",
        "Pages of other sites may not use this API.";
    /// The name in the `Host` header is not one of this API.
    BadHost = "bad-host", 421, 1, "Not a name of this API",
        "Use 127.0.0.1 or localhost; other names have to be allowed in the configuration.";

    /// Fields have wrong values.
    ValidationFailed = "validation-failed", 422, 2, "Some values are not allowed",
        "Change the fields that are named.";
    /// The request is not one of this API.
    MalformedRequest = "malformed", 400, 1, "The request cannot be understood",
        "`docs/api.md` describes the requests.";
    /// The body is not JSON.
    MalformedJson = "malformed-json", 400, 1, "The body is not JSON",
        "See the line and column that are named.";
    /// The content type is not the one that is expected.
    UnsupportedMediaType = "unsupported-media-type", 415, 1, "Another content type is expected",
        "Send `Content-Type: application/json`.";
    /// There is no such thing.
    NotFound = "not-found", 404, 1, "There is no such thing",
        "Lists show what there is: `weft job list`, `weft node list`, `weft receipt list`.";
    /// The path exists, but not for this method.
    MethodNotAllowed = "method-not-allowed", 405, 1, "Not with this method",
        "The `Allow` header names the methods of this path.";
    /// More than one thing has a name that begins like this.
    AmbiguousId = "ambiguous-id", 409, 1, "More than one fits",
        "Give more characters of the id.";
    /// Not possible in the present state.
    WrongState = "wrong-state", 409, 9, "Not possible in the present state",
        "Look at it first: `weft job show ID` or `weft node show NAME`.";
    /// The cursor is not one of this list.
    InvalidCursor = "invalid-cursor", 400, 2, "Not a cursor of this list",
        "Begin the list again, without a cursor.";
    /// The same id with other content.
    IdempotencyMismatch = "idempotency-mismatch", 422, 9, "The same id with another content",
        "Use a new id or key for a new request.";
    /// Signed for another time.
    OutsideValidity = "outside-validity", 422, 9, "Signed for another time",
        "Check the clocks of both machines, then try again.";
    /// Signed for another mesh.
    WrongMesh = "wrong-mesh", 409, 9, "Meant for another mesh",
        "`weft status` shows which mesh this node is in.";
    /// The software does not speak the same protocol.
    VersionMismatch = "version-mismatch", 409, 9, "The versions do not fit",
        "Install the same version of weft on both machines.";
    /// The node belongs to another account.
    NodeTaken = "node-taken", 409, 9, "The node belongs to another account",
        "Use the keys of that account, or a new data directory for a new node.";

    /// The account does not hold enough.
    InsufficientCredits = "insufficient-credits", 402, 7, "Not enough credits",
        "Lower `--max-credits` or `--fuel`, run on your own nodes with `--scope mine` (free), or share this machine to earn some.";
    /// An amount does not fit.
    AmountOverflow = "amount-overflow", 422, 2, "An amount is too large",
        "Lower the fuel of a task, or split the job.";
    /// No known node can ever run it.
    NotPlaceable = "not-placeable", 409, 4, "No node can run this",
        "`weft job explain ID` says why. Ask for less, or add a node that can.";
    /// No node isolates guests as well as is asked for.
    IsolationUnavailable = "isolation-unavailable", 409, 4, "No node isolates guests that well",
        "Ask for a lower grade of isolation, or run nodes where the kernel offers more.";

    /// Larger than allowed.
    PayloadTooLarge = "payload-too-large", 413, 1, "Too large",
        "Upload large content as blobs; the limit is in the message.";
    /// The store of the node is full.
    StorageFull = "storage-full", 507, 1, "The node's store is full",
        "Free some space, or raise the quota of the store in the configuration.";
    /// Content that a job names was not uploaded.
    BlobMissing = "blob-missing", 422, 1, "Content was not uploaded",
        "Upload the module, the manifest and its pages with `POST /api/v1/blobs` before the job.";
    /// The module is not one that is admitted.
    ModuleInvalid = "module-invalid", 422, 1, "Not a module that can run",
        "Build it for `wasm32-wasip1` as a command; the message says what is wrong.";
    /// The module imports something that is not offered.
    ModuleImportDenied = "module-import-denied", 422, 1, "The module imports what is not offered",
        "Only WASI preview 1 is offered; build it for `wasm32-wasip1`.";

    /// Too many requests.
    RateLimited = "rate-limited", 429, 1, "Too many requests",
        "Wait as long as the answer says, then try again.";
    /// A bounded queue is full.
    QueueFull = "queue-full", 503, 1, "Too much at once",
        "Wait as long as the answer says, then try again.";
    /// Nobody leads at the moment.
    NoLeader = "no-leader", 503, 1, "No coordinator leads at the moment",
        "Wait a few seconds. If it stays so, `weft peers` shows whether the coordinators are reached.";
    /// Not ready for requests.
    NotReady = "not-ready", 503, 8, "The node is not ready",
        "The checks that are named say why.";
    /// It took too long.
    NodeUnreachable = "node-unreachable", 502, 1, "The other node cannot be reached",
        "Check the address: `weft id` there prints it. Firewalls and guest networks may be in between.";
    /// It took too long.
    Timeout = "timeout", 504, 124, "It took too long",
        "Try again; `weft status` says whether the node is well.";
    /// A bug.
    Internal = "internal", 500, 1, "Something broke that should not have",
        "Please report it, with the request id and the node's log of that time.";
}

impl ErrorCode {
    /// The error of that name.
    #[must_use]
    pub fn by_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|error| error.code() == code)
    }

    /// The HTTP status. `None` for what only the command line meets.
    #[must_use]
    pub fn status(self) -> Option<http::StatusCode> {
        http::StatusCode::from_u16(self.status_number()).ok()
    }

    /// The error that best says what a bare HTTP status says.
    #[must_use]
    pub fn of_status(status: http::StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::Unauthenticated,
            402 => Self::InsufficientCredits,
            403 => Self::NotPermitted,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            408 | 504 => Self::Timeout,
            409 => Self::WrongState,
            413 => Self::PayloadTooLarge,
            415 => Self::UnsupportedMediaType,
            421 => Self::BadHost,
            422 => Self::ValidationFailed,
            429 => Self::RateLimited,
            503 => Self::NotReady,
            400..=499 => Self::MalformedRequest,
            _ => Self::Internal,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl From<RejectReason> for ErrorCode {
    fn from(reason: RejectReason) -> Self {
        match reason {
            RejectReason::Malformed => Self::MalformedRequest,
            RejectReason::TooLarge => Self::PayloadTooLarge,
            RejectReason::BadSignature => Self::BadSignature,
            RejectReason::WrongMesh => Self::WrongMesh,
            RejectReason::Version => Self::VersionMismatch,
            RejectReason::RateLimited => Self::RateLimited,
            RejectReason::NotEnrolled => Self::NotEnrolled,
            RejectReason::NotApproved => Self::NotApproved,
            RejectReason::Blacklisted => Self::Blacklisted,
            RejectReason::NotPermitted => Self::NotPermitted,
            RejectReason::NodeTaken => Self::NodeTaken,
            RejectReason::Invalid => Self::ValidationFailed,
            // Whoever is asked for the leader and is not it knows no other: to a client that is the same.
            RejectReason::NotLeader | RejectReason::NoLeader => Self::NoLeader,
            RejectReason::Busy | RejectReason::NoFreeSlot => Self::QueueFull,
            RejectReason::InsufficientCredits => Self::InsufficientCredits,
            RejectReason::IdempotencyMismatch => Self::IdempotencyMismatch,
            RejectReason::OutsideValidity => Self::OutsideValidity,
            RejectReason::AmountOverflow => Self::AmountOverflow,
            RejectReason::NotFound => Self::NotFound,
            RejectReason::WrongState
            | RejectReason::NotLeaseHolder
            | RejectReason::TaskEnded
            | RejectReason::Draining
            | RejectReason::Paused
            | RejectReason::TaskTooLarge
            | RejectReason::StaleFence => Self::WrongState,
            RejectReason::IsolationUnavailable => Self::IsolationUnavailable,
            RejectReason::NotPlaceable => Self::NotPlaceable,
            RejectReason::NodeUnreachable => Self::NodeUnreachable,
            RejectReason::Internal => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_found_again() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::by_code(code.code()), Some(*code));
        }
        assert_eq!(ErrorCode::by_code("no-such-code"), None);
    }

    #[test]
    fn what_travels_over_http_has_an_error_status() {
        for code in ErrorCode::ALL {
            if let Some(status) = code.status() {
                assert!(status.is_client_error() || status.is_server_error(), "{code}");
            }
            assert_ne!(code.exit_code(), 0, "{code}");
        }
    }

    #[test]
    fn a_rejection_keeps_its_code_where_the_catalogue_has_it() {
        for reason in RejectReason::ALL {
            if let Some(same) = ErrorCode::by_code(reason.code()) {
                assert_eq!(ErrorCode::from(*reason), same, "{reason}");
            }
            assert!(ErrorCode::from(*reason).status().is_some(), "{reason}");
        }
    }
}
