//! What all documents have in common.

use serde::{Deserialize, Deserializer, Serialize};

/// The version of all documents. Fields are added to it, never changed or taken away.
pub const API_VERSION: &str = "weft/v1";

/// Something that is a document of its own.
pub trait Kind {
    /// The `kind` of the document.
    const KIND: &'static str;
}

/// Something that comes in lists.
pub trait ListKind {
    /// The `kind` of a list of them.
    const LIST_KIND: &'static str;
}

/// A document: `apiVersion`, `kind`, and the fields of its body at the same level.
///
/// Reading one checks both, so that a client never takes one document for another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document<T> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    /// The fields.
    #[serde(flatten)]
    pub body: T,
}

impl<T: Kind> Document<T> {
    /// The document of a body.
    pub const fn of(body: T) -> Self {
        Self { api_version: API_VERSION, kind: T::KIND, body }
    }
}

impl<'de, T: Kind + Deserialize<'de>> Deserialize<'de> for Document<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let any = AnyDocument::deserialize(deserializer)?;
        Self::try_from(any).map_err(serde::de::Error::custom)
    }
}

/// A document of whatever version and kind.
#[derive(Deserialize)]
struct AnyDocument<T> {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    #[serde(flatten)]
    body: T,
}

/// A document is not the one that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a document {API_VERSION} {expected}, found {version} {found}")]
struct OtherDocument {
    expected: &'static str,
    version: String,
    found: String,
}

impl<T: Kind> TryFrom<AnyDocument<T>> for Document<T> {
    type Error = OtherDocument;

    fn try_from(any: AnyDocument<T>) -> Result<Self, OtherDocument> {
        if any.api_version == API_VERSION && any.kind == T::KIND {
            Ok(Self::of(any.body))
        } else {
            Err(OtherDocument { expected: T::KIND, version: any.api_version, found: any.kind })
        }
    }
}

/// A list, or one page of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List<T> {
    /// What is in it. At most 500.
    pub items: Vec<T>,
    /// Where the next page begins, for `?cursor=`; `null` after the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

impl<T: ListKind> Kind for List<T> {
    const KIND: &'static str = T::LIST_KIND;
}

impl<T> List<T> {
    /// A list that has no further page.
    pub const fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Thing {
        size: u64,
    }

    impl Kind for Thing {
        const KIND: &'static str = "Thing";
    }

    #[test]
    fn version_and_kind_stand_beside_the_fields() {
        let text = serde_json::to_string(&Document::of(Thing { size: u64::MAX })).unwrap();
        assert_eq!(text, r#"{"apiVersion":"weft/v1","kind":"Thing","size":18446744073709551615}"#);
        let read: Document<Thing> = serde_json::from_str(&text).unwrap();
        assert_eq!(read.body, Thing { size: u64::MAX });
    }

    #[test]
    fn another_document_is_not_taken_for_this_one() {
        for text in [
            r#"{"apiVersion":"weft/v2","kind":"Thing","size":1}"#,
            r#"{"apiVersion":"weft/v1","kind":"Other","size":1}"#,
            r#"{"kind":"Thing","size":1}"#,
        ] {
            assert!(serde_json::from_str::<Document<Thing>>(text).is_err(), "{text}");
        }
    }
}
