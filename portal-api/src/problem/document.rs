//! An error as a value, and as an RFC 9457 problem document.

use std::fmt;

use protocol::{reject::RejectReason, units::Credits, wire::client::ClientResponse};
use serde::{Deserialize, Serialize};

use super::ErrorCode;
use crate::views::{API_VERSION, Check};

/// The content type of a problem document.
pub const CONTENT_TYPE: &str = "application/problem+json";
/// The `kind` of a problem document, which is a document of the API besides.
const KIND: &str = "Error";
/// Where problem types are described. Stable names; nothing is fetched from there.
const TYPE_PREFIX: &str = "https://weft.invalid/problems/";

/// Something went wrong: what, for whom and how to get out of it.
///
/// Backends return it, the API writes it as a problem document, clients read it back and show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Document", into = "Document")]
pub struct Problem {
    /// What kind of error.
    pub code: ErrorCode,
    /// What exactly: one sentence for people.
    pub detail: String,
    /// What programs want to know.
    pub extras: Box<Extras>,
}

/// What programs want to know about an error. Everything may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extras {
    /// The request, as in the log of the node and in the header `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// For `insufficient-credits`: what is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_ucr: Option<Credits>,
    /// For `insufficient-credits`: what can be spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_ucr: Option<Credits>,
    /// When to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// For `validation-failed`: which fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// For `ambiguous-id` and `not-found`: what fits, or nearly. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// For `not-ready`: what was looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Which: a JSON pointer (RFC 6901) into the body.
    pub pointer: String,
    /// What is wrong, as a code.
    pub code: String,
    /// For people.
    pub detail: String,
}

impl FieldError {
    /// What is wrong with one field.
    #[must_use]
    pub fn new(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.to_owned(), detail: detail.into() }
    }
}

impl Problem {
    /// An error with a sentence for people.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), extras: Box::default() }
    }

    /// `validation-failed`: these fields have wrong values.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let fields: Vec<_> =
            errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect();
        let mut problem = Self::new(ErrorCode::ValidationFailed, fields.join("; "));
        problem.extras.errors = errors;
        problem
    }

    /// A rejection by the mesh. The amounts are those of `insufficient-credits`, in µcr: what is needed, what is
    /// there. Without a detail, the amounts or the title say it.
    #[must_use]
    pub fn rejected(reason: RejectReason, detail: &str, amounts: Option<(u64, u64)>) -> Self {
        let code = ErrorCode::from(reason);
        let mut problem = Self::new(code, if detail.is_empty() { code.title() } else { detail });
        if let Some((needed, available)) = amounts {
            let (needed, available) =
                (Credits::from_micros(needed), Credits::from_micros(available));
            problem.detail = format!("{needed} are needed, and {available} can be spent");
            problem.extras.needed_ucr = Some(needed);
            problem.extras.available_ucr = Some(available);
        }
        if matches!(code, ErrorCode::NoLeader | ErrorCode::QueueFull | ErrorCode::RateLimited) {
            problem.extras.retry_after_seconds = Some(1);
        }
        problem
    }

    /// The rejection in a coordinator's response, if it is one.
    #[must_use]
    pub fn of_response(response: &ClientResponse) -> Option<Self> {
        match response {
            ClientResponse::Rejected { reason, detail, amounts } => {
                Some(Self::rejected(*reason, detail, *amounts))
            }
            ClientResponse::Committed { .. }
            | ClientResponse::Answer(_)
            | ClientResponse::Obeyed
            | ClientResponse::Candidate(_)
            | ClientResponse::Kept => None,
        }
    }

    /// The same, to be tried again after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.extras.retry_after_seconds = Some(seconds);
        self
    }
}

/// `code: detail`, for logs.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

/// How a problem is written.
#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(rename = "apiVersion", default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(rename = "type", default)]
    problem_type: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    status: u16,
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    help: String,
    #[serde(flatten)]
    extras: Extras,
}

impl From<Problem> for Document {
    fn from(problem: Problem) -> Self {
        let Problem { code, detail, extras } = problem;
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            problem_type: format!("{TYPE_PREFIX}{code}"),
            title: code.title().to_owned(),
            status: code.status().map_or(0, |status| status.as_u16()),
            code: code.code().to_owned(),
            detail,
            help: code.help().to_owned(),
            extras: *extras,
        }
    }
}

impl From<Document> for Problem {
    /// A code that this build does not know, from a newer node, keeps its words under the code of its status.
    fn from(document: Document) -> Self {
        let extras = Box::new(document.extras);
        match ErrorCode::by_code(&document.code) {
            Some(code) => Self { code, detail: document.detail, extras },
            None => {
                let status = http::StatusCode::from_u16(document.status);
                let code = status.map_or(ErrorCode::Internal, ErrorCode::of_status);
                Self { code, detail: format!("{}: {}", document.code, document.detail), extras }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_survives_its_document() {
        for code in ErrorCode::ALL {
            let mut problem = Problem::new(*code, "what exactly");
            problem.extras.request_id = Some("7".to_owned());
            problem.extras.errors = vec![FieldError::new("/tasks", "too-large", "why")];
            problem.extras.checks =
                vec![Check { name: "a".to_owned(), good: false, detail: "b".to_owned() }];
            let text = serde_json::to_string(&problem).unwrap();
            assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
        }
    }

    #[test]
    fn not_enough_credits_says_how_much_is_missing() {
        let problem =
            Problem::rejected(RejectReason::InsufficientCredits, "", Some((4_200_000, 1_050_000)));
        let document: serde_json::Value = serde_json::to_value(&problem).unwrap();
        assert_eq!(document["status"], 402);
        assert_eq!(document["code"], "insufficient-credits");
        assert_eq!(document["needed_ucr"], 4_200_000);
        assert_eq!(document["available_ucr"], 1_050_000);
        assert_eq!(document["detail"], "4.20 cr are needed, and 1.05 cr can be spent");
    }

    #[test]
    fn a_code_of_a_newer_node_keeps_its_words() {
        let text = r#"{"code":"brand-new","status":409,"detail":"why","title":"t"}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        assert_eq!(problem.detail, "brand-new: why");
        assert_eq!(problem.code, ErrorCode::WrongState);
    }
}
