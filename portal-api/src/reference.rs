//! How people name things: by a whole id, a part of one, or a name.

use std::{fmt, str::FromStr};

use protocol::{
    ids::{JobId, NodeId},
    wire::is_name,
};

use crate::{
    problem::{ErrorCode, Problem},
    views::{Job, Node},
};

/// The fewest characters of an id that are taken for it.
const PART_CHARS_MIN: usize = 4;
/// Candidates that an answer names.
const CANDIDATES_MAX: usize = 10;

/// Which job is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobRef {
    /// The one of this id.
    Id(JobId),
    /// The one whose id begins with these 4 to 31 hex digits in lower case, or else the newest of this name.
    Prefix(String),
    /// The newest of this name.
    Name(String),
}

impl FromStr for JobRef {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let lower = text.to_ascii_lowercase();
        if let Ok(id) = lower.parse() {
            return Ok(Self::Id(id));
        }
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && (PART_CHARS_MIN..32).contains(&text.len()) {
            return Ok(Self::Prefix(lower));
        }
        if is_name(text) {
            return Ok(Self::Name(text.to_owned()));
        }
        let detail = "a job is named by its id (32 hex digits), at least 4 digits that it begins with, or its name";
        Err(Problem::new(ErrorCode::NotFound, detail))
    }
}

impl fmt::Display for JobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Prefix(text) | Self::Name(text) => f.write_str(text),
        }
    }
}

impl JobRef {
    /// The job that is meant, out of those whose id begins so, and out of the newest jobs.
    ///
    /// # Errors
    ///
    /// `not-found` if it is none, `ambiguous-id` if the digits fit more than one.
    pub fn choose(&self, of_prefix: &[JobId], newest: &[Job]) -> Result<JobId, Problem> {
        let text = match self {
            Self::Id(id) => return Ok(*id),
            Self::Prefix(text) | Self::Name(text) => text,
        };
        match of_prefix {
            [one] => return Ok(*one),
            [] => {}
            several => return Err(ambiguous("job", text, several.iter().map(ToString::to_string))),
        }
        let named = newest.iter().find(|job| job.name.eq_ignore_ascii_case(text));
        named
            .map(|job| job.id)
            .ok_or_else(|| not_found("job", text, newest.iter().map(|job| job.name.clone())))
    }
}

/// Which node is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeRef {
    /// The one of this peer id.
    Id(NodeId),
    /// The one of this name, or whose peer id begins or ends so: people see the last eight characters.
    Text(String),
}

impl FromStr for NodeRef {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        // What tables show is accepted too: `…x4pWq8fT`.
        let text = text.trim_start_matches('…');
        if is_name(text) {
            return Ok(Self::Text(text.to_owned()));
        }
        let detail = "a node is named by its peer id (12D3KooW…), the end of it, or its name";
        Err(Problem::new(ErrorCode::NotFound, detail))
    }
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl NodeRef {
    /// The node that is meant. A name is tried first.
    ///
    /// # Errors
    ///
    /// `not-found` if it is none, `ambiguous-id` if it fits more than one.
    pub fn choose<'a>(&self, nodes: &'a [Node]) -> Result<&'a Node, Problem> {
        let text = match self {
            Self::Id(id) => {
                let found = nodes.iter().find(|node| node.peer == *id);
                return found.ok_or_else(|| not_found("node", &id.to_string(), std::iter::empty()));
            }
            Self::Text(text) => text,
        };
        let mut of_name: Vec<_> = nodes.iter().filter(|node| node.name == *text).collect();
        if of_name.len() > 1 {
            // While a key is replaced, a node is there twice: the new one is meant.
            of_name.retain(|node| node.replaced_by.is_none());
        }
        let of_part = || {
            let fits = |node: &&Node| {
                let peer = node.peer.to_string();
                text.len() >= PART_CHARS_MIN && (peer.ends_with(text) || peer.starts_with(text))
            };
            nodes.iter().filter(fits).collect()
        };
        let found: Vec<_> = if of_name.is_empty() { of_part() } else { of_name };
        match found.as_slice() {
            [one] => Ok(one),
            [] => Err(not_found("node", text, nodes.iter().map(|node| node.name.clone()))),
            several => Err(ambiguous(
                "node",
                text,
                several.iter().map(|node| format!("{} {}", node.name, node.peer)),
            )),
        }
    }
}

fn ambiguous(kind: &str, text: &str, candidates: impl ExactSizeIterator<Item = String>) -> Problem {
    let detail = format!("`{text}` fits {} {kind}s", candidates.len());
    let mut problem = Problem::new(ErrorCode::AmbiguousId, detail);
    problem.extras.candidates = candidates.take(CANDIDATES_MAX).collect();
    problem
}

fn not_found(kind: &str, text: &str, names: impl Iterator<Item = String>) -> Problem {
    let mut problem = Problem::new(ErrorCode::NotFound, format!("there is no {kind} `{text}`"));
    let mut close: Vec<_> = names.filter(|name| is_close(name, text)).collect();
    close.sort_unstable();
    close.dedup();
    close.truncate(CANDIDATES_MAX);
    problem.extras.candidates = close;
    problem
}

/// Whether two names differ by at most two insertions, removals or changes of a character. Names are at most 63
/// bytes, so that the table is small.
fn is_close(left: &str, right: &str) -> bool {
    let right: Vec<_> = right.to_ascii_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, letter) in left.to_ascii_lowercase().chars().enumerate() {
        let mut diagonal = at;
        let mut before = at.saturating_add(1);
        let mut next = vec![before];
        for (other, above) in right.iter().zip(row.iter().skip(1)) {
            let changed = diagonal.saturating_add(usize::from(*other != letter));
            before = changed.min(above.saturating_add(1)).min(before.saturating_add(1));
            diagonal = *above;
            next.push(before);
        }
        row = next;
    }
    row.last().is_some_and(|distance| *distance <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_id_prefix_or_name() {
        let id = JobId([0xab; 16]);
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(JobRef::Id(id)));
        assert_eq!("ABab".parse(), Ok(JobRef::Prefix("abab".to_owned())));
        assert_eq!("abc".parse(), Ok(JobRef::Name("abc".to_owned())));
        assert_eq!("wordfreq".parse(), Ok(JobRef::Name("wordfreq".to_owned())));
        assert_eq!("a/b".parse::<JobRef>().unwrap_err().code, ErrorCode::NotFound);
    }

    #[test]
    fn digits_that_fit_two_jobs_are_ambiguous() {
        let job: JobRef = "abab".parse().unwrap();
        let (one, two) = (JobId([0xab; 16]), JobId([0xac; 16]));
        assert_eq!(job.choose(&[one], &[]), Ok(one));
        let problem = job.choose(&[one, two], &[]).unwrap_err();
        assert_eq!(problem.code, ErrorCode::AmbiguousId);
        assert_eq!(problem.extras.candidates, [one.to_string(), two.to_string()]);
        assert_eq!(job.choose(&[], &[]).unwrap_err().code, ErrorCode::NotFound);
    }

    #[test]
    fn close_names_differ_by_two_characters_at_most() {
        for (left, right) in
            [("wordfreq", "wordfrek"), ("otter", "oter"), ("Otter", "otter"), ("ab", "ba")]
        {
            assert!(is_close(left, right), "{left} {right}");
        }
        for (left, right) in [("otter", "finch"), ("a", "abcd"), ("", "abc")] {
            assert!(!is_close(left, right), "{left} {right}");
        }
    }
}
