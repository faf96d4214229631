//! Reads what the tables need out of formatted source: item names, fields, variants and what is said about them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A field of a struct or of a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) doc: String,
}

/// A variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) name: String,
    /// What it carries: `Hash`, or `{reason, detail}`.
    pub(crate) fields: Vec<Field>,
    pub(crate) doc: String,
}

/// A struct or an enum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Struct { name: String, doc: String, fields: Vec<Field> },
    Enum { name: String, doc: String, variants: Vec<Variant> },
}

/// All Rust files below a directory.
pub(crate) fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
    {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display())).path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The headings of a Markdown document, without their marks.
pub(crate) fn headings(document: &str) -> BTreeSet<&str> {
    document
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| line.trim_start_matches('#').trim())
        .collect()
}

/// Documentation as plain Markdown: links to items become their names.
pub(crate) fn plain(doc: &str) -> String {
    let mut plain = String::new();
    let mut rest = doc;
    while let Some((before, link)) = rest.split_once('[') {
        plain.push_str(before);
        let Some((text, after)) = link.split_once(']') else {
            rest = link;
            continue;
        };
        plain.push_str(text);
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    plain.push_str(rest);
    plain.replace("crate::limits::", "").replace("Self::", "").replace('|', "\\|")
}

/// The lines of a source file outside its tests, each with the first paragraph of the comment above it.
pub(crate) fn documented_lines(source: &str) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut doc = String::new();
    let mut paragraph = true;
    let mut attribute = false;
    for line in source.lines().take_while(|line| *line != "#[cfg(test)]").map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            paragraph &= !text.is_empty() || doc.is_empty();
            if paragraph {
                doc.push_str(text);
            }
        } else if attribute || line.starts_with("#[") {
            attribute = !line.ends_with(']');
        } else if !line.starts_with("//") {
            lines.push((line.to_owned(), plain(doc.trim())));
            doc.clear();
            paragraph = true;
        }
    }
    lines
}

/// `pub name: Kind,` or `name: Kind,`.
fn field(line: &str, doc: &str) -> Option<Field> {
    let line = line.strip_prefix("pub ").unwrap_or(line).strip_suffix(',')?;
    let (name, kind) = line.split_once(": ")?;
    let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    is_name.then(|| Field { name: name.to_owned(), kind: kind.to_owned(), doc: doc.to_owned() })
}

/// `Name,`, `Name = 1,`, `Name(Kind),` or `Name {`.
fn variant(line: &str, doc: &str) -> Option<Variant> {
    let line = line.strip_suffix(',').or_else(|| line.strip_suffix(" {"))?;
    let line = line.split_once(" = ").map_or(line, |(name, _)| name);
    let (name, kind) = match line.split_once('(') {
        Some((name, kind)) => (name, Some(kind.strip_suffix(')')?)),
        None => (line, None),
    };
    let fields =
        kind.map(|kind| Field { name: String::new(), kind: kind.to_owned(), doc: String::new() });
    let is_name = name.chars().all(char::is_alphanumeric) && name.starts_with(char::is_uppercase);
    is_name.then(|| Variant {
        name: name.to_owned(),
        fields: fields.into_iter().collect(),
        doc: doc.to_owned(),
    })
}

/// The structs and enums of a source file, in its order.
pub(crate) fn items(source: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut open: Option<Item> = None;
    for (line, doc) in documented_lines(source) {
        if line == "}" {
            items.extend(open.take());
            continue;
        }
        match &mut open {
            Some(Item::Struct { fields, .. }) => fields.extend(field(&line, &doc)),
            Some(Item::Enum { variants, .. }) => match (field(&line, &doc), variants.last_mut()) {
                (Some(field), Some(last)) => last.fields.push(field),
                _ => variants.extend(variant(&line, &doc)),
            },
            None => {
                let name =
                    |rest: &str| rest.split([' ', '<']).next().unwrap_or_default().to_owned();
                if let Some(rest) =
                    line.strip_prefix("pub struct ").filter(|rest| rest.ends_with('{'))
                {
                    open = Some(Item::Struct { name: name(rest), doc, fields: Vec::new() });
                } else if let Some(rest) = line.strip_prefix("pub enum ") {
                    open = Some(Item::Enum { name: name(rest), doc, variants: Vec::new() });
                }
            }
        }
    }
    items
}

/// `pub const NAME: Kind = VALUE;`, each with what is said about it.
pub(crate) fn constants(source: &str) -> Vec<(String, String, String)> {
    let mut constants = Vec::new();
    for (line, doc) in documented_lines(source) {
        let Some((declared, value)) =
            line.strip_prefix("pub const ").and_then(|line| line.split_once(" = "))
        else {
            continue;
        };
        let Some((name, _)) = declared.split_once(": ") else { continue };
        constants.push((name.to_owned(), value.trim_end_matches(';').to_owned(), doc));
    }
    constants
}

/// The types in `canonical! { … }`: name, limit, domain.
pub(crate) fn canonical(source: &str) -> Vec<(String, String, Option<String>)> {
    let Some((_, rest)) = source.split_once("\ncanonical! {\n") else { return Vec::new() };
    let Some((body, _)) = rest.split_once("\n}") else { return Vec::new() };
    body.lines()
        .filter_map(|line| line.trim().strip_suffix(';')?.split_once(": "))
        .map(|(name, rest)| {
            let (limit, domain) = match rest.split_once(", signed as ") {
                Some((limit, domain)) => (limit, Some(domain.to_owned())),
                None => (rest, None),
            };
            (name.to_owned(), limit.to_owned(), domain)
        })
        .collect()
}

#[test]
fn items_are_read_with_their_fields_variants_and_comments() {
    let source = "/// A thing.\n///\n/// More.\n#[derive(\n    Debug\n)]\npub struct Thing {\n    /// See [`Other`](x).\n    pub at: u64,\n}\n\
        /// Kinds.\npub enum Kind {\n    /// One.\n    One,\n    /// Two.\n    Two(u8),\n    /// Three.\n    Three {\n        \
        /// Four.\n        four: u32,\n    },\n}\n";
    let field = |name: &str, kind: &str, doc: &str| Field {
        name: name.into(),
        kind: kind.into(),
        doc: doc.into(),
    };
    let variant =
        |name: &str, fields, doc: &str| Variant { name: name.into(), fields, doc: doc.into() };
    let thing = Item::Struct {
        name: "Thing".into(),
        doc: "A thing.".into(),
        fields: vec![field("at", "u64", "See `Other`.")],
    };
    let kind = Item::Enum {
        name: "Kind".into(),
        doc: "Kinds.".into(),
        variants: vec![
            variant("One", vec![], "One."),
            variant("Two", vec![field("", "u8", "")], "Two."),
            variant("Three", vec![field("four", "u32", "Four.")], "Three."),
        ],
    };
    assert_eq!(items(source), [thing, kind]);
}
