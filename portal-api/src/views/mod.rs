//! The documents of the API, exactly as `weft -o json` prints them.
//!
//! Everything is a [`Document`]: `apiVersion` and `kind` beside the fields. Lists have `items`. Ids are whole,
//! states in upper case, times RFC 3339 in UTC, durations seconds (`_seconds`), sizes bytes (`_bytes`), credits
//! integers in millionths (`_ucr`). Within `weft/v1` fields are only added; readers ignore those they do not
//! know.

mod blob;
mod coordination;
mod credits;
mod document;
mod explain;
mod health;
mod invite;
mod job;
mod joining;
mod local;
mod node;
mod receipt;
mod receipt_file;
mod status;
mod submit;
mod task;
mod version;

pub use blob::Blob;
pub use coordination::{CoordinatorMember, CoordinatorRequest, Coordinators, LedgerCopy};
pub use credits::{Balance, HistoryEntry, LedgerList, LedgerPoint};
pub use document::{API_VERSION, Document, Kind, List, ListKind};
pub use explain::{Explain, Obstacle};
pub use health::{Check, Health, ShuttingDown};
pub use invite::{Invite, InvitePlan, NewInvite};
pub use job::{Job, RECEIPTS_SHOWN_MAX, Reduce, TaskCounts};
pub use joining::{JoinRequest, JoinState, Joining, LeaveRequest, Left};
pub use local::{
    DrainRequest, LimitsChange, OwnerLimits, Pause, PauseRequest, Reason, Sharing, reasons,
};
pub use node::{Decision, Identity, KeyChange, LabelChange, Node, Peer};
pub use receipt::{Receipt, ReceiptDetail};
pub use receipt_file::{BadReceiptFile, ReceiptData, ReceiptFile, TaskData};
pub use status::{Credit, Mesh, OpenWork, Shared, Status};
pub use submit::{Limits, Plan, ScopeName, SubmitRequest};
pub use task::{JobResults, Output, OutputFile, Stream, Task, TaskResult};
pub use version::Version;
