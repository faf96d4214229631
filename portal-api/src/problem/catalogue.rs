//! Every error that a person or a script can meet.

use std::fmt;

use protocol::reject::RejectReason;

macro_rules! catalogue {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal, $exit:literal, $title:literal, $help:literal;)*) => {
        /// An error that a person or a script can meet. Codes never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $name,)*
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

            /// What it means and where it comes from, for people: sentences.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)* }
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
    /// A flag or an argument is not one that this command takes, or its value has the wrong form. Nothing was
    /// done.
    Usage = "usage", 0, 2, "Wrong usage", "See `weft help`.";
    /// A file or directory that was named on the command line is not there, may not be read by this user, or
    /// is not of the kind that is expected.
    FileUnreadable = "file-unreadable", 0, 1, "A file cannot be read",
        "Check the path and its permissions.";
    /// The place for the results cannot be written: it is a file, its directory may not be written by this
    /// user, or the disk is full.
    OutputUnwritable = "output-unwritable", 0, 1, "The output cannot be written",
        "Name another directory with `--out`, or make this one writable.";
    /// Two inputs of a mapped job would be written to the same place below `--out`, because results are named
    /// after their inputs. It is refused before anything is submitted.
    OutputCollision = "output-collision", 0, 1, "Two inputs have the same output name",
        "Rename one of them, or choose a pattern that keeps their directories apart.";
    /// The pattern or the file of inputs matches nothing, so that the job would have no task.
    NoInput = "no-input", 0, 1, "There is no input",
        "Put the pattern in quotes, so that weft expands it, and check that it matches files.";
    /// The directory that holds the node's keys and data cannot be used: it is no directory, it is full or
    /// read-only, other users can write to it, a key in it is damaged or can be read by others, or another
    /// version of weft wrote it.
    DataDirUnusable = "data-dir-unusable", 0, 1, "The data directory cannot be used",
        "Choose another with `--data-dir` or `WEFT_DATA_DIR`, or give yourself the right to write there.";
    /// A setting in the configuration file, in a variable of the environment or in a flag is unknown or has a
    /// value that makes no sense. A node does not start with a setting that it would have to guess.
    ConfigInvalid = "config-invalid", 0, 1, "The configuration is wrong",
        "See the line that is named; `weft config check` says when it is right.";
    /// A port that was asked for by name is in use by another program. A default port that is taken is no
    /// error: the next free one is used.
    PortInUse = "port-in-use", 0, 1, "The port is in use",
        "Choose another port, or 0 for any free one; or stop the program that has it.";
    /// A node holds the lock of this data directory. Two nodes with one identity would be taken for one that
    /// lies.
    AlreadyRunning = "already-running", 0, 9, "A node is running here already",
        "See it with `weft status`, or stop it with `weft down`. A second node needs its own `--data-dir`.";
    /// The job was accepted and ran, and its tasks did not end as they should.
    JobFailed = "job-failed", 0, 3, "The job failed",
        "`weft job logs ID` shows what the tasks said, `weft job explain ID` why it ended.";
    /// The command was interrupted, or a question was answered with no, before anything was changed.
    Interrupted = "interrupted", 0, 130, "Interrupted",
        "Nothing was submitted.";
    /// The command needs a running node, and nothing answers on the socket in the data directory or at the
    /// address that `--api` names.
    DaemonUnreachable = "daemon-unreachable", 0, 5, "No node is running here",
        "Start one with `weft up`, or name its directory with `--data-dir`.";

    /// The node is known to the mesh and waits for an operator to approve it. Until then it may say hello and
    /// ask to join, and nothing else.
    NotApproved = "not-approved", 403, 6, "This node is not approved",
        "On a node of an operator: `weft node list`, then `weft node approve NAME`.";
    /// The node is not known to the mesh: it has not asked to join it, or has asked another.
    NotEnrolled = "not-enrolled", 403, 6, "This node has not joined the mesh",
        "Start it with `weft up --bootstrap ADDRESS`, and have it approved.";
    /// The node is suspended.
    Suspended = "suspended", 403, 6, "This node is suspended",
        "It gets no work until an operator lets it go on: `weft node reinstate NAME`.";
    /// The node's key was replaced by another.
    KeyReplaced = "key-replaced", 403, 6, "This key was replaced",
        "Start the node with the new key; `weft identity show` says which key is in use.";
    /// There is no such invite, or it was not proved.
    InviteInvalid = "invite-invalid", 403, 6, "The invite is not valid",
        "Copy the whole invite again, or ask for a new one: `weft invite`.";
    /// The invite is used up, expired or revoked.
    InviteOver = "invite-over", 403, 6, "The invite is over",
        "It is used up, expired or taken back. Ask for a new one: `weft invite`.";
    /// An operator of the mesh has refused or removed this node. The decision is a signed entry of the
    /// ledger.
    Blacklisted = "blacklisted", 403, 6, "This node was removed from the mesh",
        "Ask an operator of the mesh.";
    /// Whoever signed the request may not do this: it is for the owner of the account or of the node, or for
    /// an operator of the mesh.
    NotPermitted = "not-permitted", 403, 6, "Not permitted",
        "Only the owner of the account, or an operator of the mesh, may do this.";
    /// The signature does not belong to the statement, or the key that made it is not the one of the account
    /// or node that the statement names.
    BadSignature = "bad-signature", 403, 6, "The signature is wrong",
        "Check that the keys in the data directory belong to this account.";
    /// The request over TCP has no token, or another one than the node's. The Unix socket needs none: the
    /// directory is its owner's alone.
    Unauthenticated = "unauthenticated", 401, 6, "The token is missing or wrong",
        "Send `Authorization: Bearer TOKEN` with the token in the node's data directory, or use its Unix socket.";
    /// A browser sent a request that changes something on behalf of a page from another site. Other pages may
    /// not use the API, whoever opened them.
    CrossOrigin = "cross-origin", 403, 6, "Refused: sent from another site",
        "Pages of other sites may not use this API.";
    /// The `Host` header names another host than this machine. A page may have bound its own name to this
    /// address, so such requests are refused.
    BadHost = "bad-host", 421, 1, "Not a name of this API",
        "Use 127.0.0.1 or localhost; other names have to be allowed in the configuration.";

    /// The request is well-formed, but some of its fields have values that are not allowed; each is named.
    ValidationFailed = "validation-failed", 422, 2, "Some values are not allowed",
        "Change the fields that are named.";
    /// The bytes are not a request of this protocol: a part is missing, left over, or of another kind.
    MalformedRequest = "malformed", 400, 1, "The request cannot be understood",
        "`docs/api.md` describes the requests.";
    /// The body is not JSON, or is not complete.
    MalformedJson = "malformed-json", 400, 1, "The body is not JSON",
        "See the line and column that are named.";
    /// The body's content type is not the one that this route takes.
    UnsupportedMediaType = "unsupported-media-type", 415, 1, "Another content type is expected",
        "Send `Content-Type: application/json`.";
    /// Nothing has this id, name or path: it never existed, it is misspelt, or it belongs to another mesh or
    /// account.
    NotFound = "not-found", 404, 1, "There is no such thing",
        "Lists show what there is: `weft job list`, `weft node list`, `weft receipt list`.";
    /// The path exists, but takes other methods.
    MethodNotAllowed = "method-not-allowed", 405, 1, "Not with this method",
        "The `Allow` header names the methods of this path.";
    /// Several things have an id that begins or ends like this, or a name like this; they are listed.
    AmbiguousId = "ambiguous-id", 409, 1, "More than one fits",
        "Give more characters of the id.";
    /// The thing exists, but is in a state in which this cannot be done to it: a job that has ended cannot be
    /// cancelled, a node that is a member cannot be refused.
    WrongState = "wrong-state", 409, 9, "Not possible in the present state",
        "Look at it first: `weft job show ID` or `weft node show NAME`.";
    /// The code is not the one that the node shows.
    CodeMismatch = "code-mismatch", 409, 9, "The codes differ",
        "Look at both screens again. If they differ, somebody may sit between the machines: reject the node.";
    /// The cursor was made for another list, for another filter, or by another node.
    InvalidCursor = "invalid-cursor", 400, 2, "Not a cursor of this list",
        "Begin the list again, without a cursor.";
    /// The id or key was used before for something else. The same content would have been answered with what
    /// there is.
    IdempotencyMismatch = "idempotency-mismatch", 422, 9, "The same id with another content",
        "Use a new id or key for a new request.";
    /// The signed time of the request is too far from the time of the mesh: too old to be new, or from the
    /// future. Usually a clock is wrong.
    OutsideValidity = "outside-validity", 422, 9, "Signed for another time",
        "Check the clocks of both machines, then try again.";
    /// The statement names another mesh than the one that was asked.
    WrongMesh = "wrong-mesh", 409, 9, "Meant for another mesh",
        "`weft status` shows which mesh this node is in.";
    /// The other side speaks another version of the protocol, or wrote its data in a newer format.
    VersionMismatch = "version-mismatch", 409, 9, "The versions do not fit",
        "Install the same version of weft on both machines.";
    /// The node's key is registered under another account, and one node has one owner.
    NodeTaken = "node-taken", 409, 9, "The node belongs to another account",
        "Use the keys of that account, or a new data directory for a new node.";

    /// The job would hold more credits than the account can spend. What open jobs hold cannot be spent twice.
    InsufficientCredits = "insufficient-credits", 402, 7, "Not enough credits",
        "Lower `--max-credits` or `--fuel`, run on your own nodes with `--scope mine` (free), or share this machine to earn some.";
    /// Tasks times price, or another amount, is larger than an amount can be.
    AmountOverflow = "amount-overflow", 422, 2, "An amount is too large",
        "Lower the fuel of a task, or split the job.";
    /// No node that the mesh knows could ever run a task of this job, however long it waited: too little
    /// memory, too weak an isolation, a label that nobody has, or no worker at all.
    NotPlaceable = "not-placeable", 409, 4, "No node can run this",
        "`weft job explain ID` says why. Ask for less, or add a node that can.";
    /// The job asks for a grade of isolation that no node offers. Grades are measured by each node, not
    /// configured.
    IsolationUnavailable = "isolation-unavailable", 409, 4, "No node isolates guests that well",
        "Ask for a lower grade of isolation, or run nodes where the kernel offers more.";

    /// A message, file or field is longer than its limit.
    PayloadTooLarge = "payload-too-large", 413, 1, "Too large",
        "Upload large content as blobs; the limit is in the message.";
    /// The node's store of contents is at its quota, or its disk is full.
    StorageFull = "storage-full", 507, 1, "The node's store is full",
        "Free some space, or raise the quota of the store in the configuration.";
    /// The job names a module, a manifest or a page of inputs that the node does not have.
    BlobMissing = "blob-missing", 422, 1, "Content was not uploaded",
        "Upload the module, the manifest and its pages with `POST /api/v1/blobs` before the job.";
    /// The file is not a WebAssembly module, or one that is not admitted: a limit is passed, a feature is
    /// used that is not offered, or there is no `_start`.
    ModuleInvalid = "module-invalid", 422, 1, "Not a module that can run",
        "Build it for `wasm32-wasip1` as a command; the message says what is wrong.";
    /// The module imports a function that guests do not get.
    ModuleImportDenied = "module-import-denied", 422, 1, "The module imports what is not offered",
        "Only WASI preview 1 is offered; build it for `wasm32-wasip1`.";

    /// This caller has asked more often than its quota allows.
    RateLimited = "rate-limited", 429, 1, "Too many requests",
        "Wait as long as the answer says, then try again.";
    /// A bounded queue is full: the node does what it can, and would rather say so than fall behind without
    /// end.
    QueueFull = "queue-full", 503, 1, "Too much at once",
        "Wait as long as the answer says, then try again.";
    /// No coordinator leads the mesh at the moment, or it cannot be reached from here. Until one does,
    /// nothing can be submitted or changed.
    NoLeader = "no-leader", 503, 1, "No coordinator leads at the moment",
        "Wait a few seconds. If it stays so, `weft peers` shows whether the coordinators are reached.";
    /// The node runs and cannot serve yet, or not any more: it is starting, joining, or shutting down.
    NotReady = "not-ready", 503, 8, "The node is not ready",
        "The checks that are named say why.";
    /// The address that was named does not answer: nothing listens there, or what does is no node of weft.
    NodeUnreachable = "node-unreachable", 502, 1, "The other node cannot be reached",
        "Check the address: `weft id` there prints it. Firewalls and guest networks may be in between.";
    /// An answer or an end did not come within the time that was allowed. What was accepted goes on.
    Timeout = "timeout", 504, 124, "It took too long",
        "Try again; `weft status` says whether the node is well.";
    /// Something did not hold that the program takes for granted. It is a bug of weft, not of whoever met it.
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
            RejectReason::Suspended => Self::Suspended,
            RejectReason::KeyReplaced => Self::KeyReplaced,
            RejectReason::InviteInvalid => Self::InviteInvalid,
            RejectReason::InviteOver => Self::InviteOver,
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
