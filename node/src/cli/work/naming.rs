//! What the results of inputs are called, and which names cannot stand beside each other.
//!
//! The output of the input `name` is the file `name.out`, and the files that its task leaves in `/out` lie in the
//! directory `name`. All of that is decided before anything is submitted: pure.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

/// The longest directory at the beginning of a pattern that has no wildcard in it, and that names are relative
/// to. The last part of a pattern is never part of it.
#[must_use]
pub fn literal_directory(pattern: &str) -> PathBuf {
    let parts: Vec<_> = Path::new(pattern).components().collect();
    let is_literal =
        |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let last = parts.len().saturating_sub(1);
    parts.iter().take(last).take_while(|part| is_literal(part)).collect()
}

/// The name of a file that a pattern matched: its path relative to the pattern's literal directory. `None` where
/// the path cannot be a name: it is not UTF-8, or has a backslash, a control character or `..` in it.
#[must_use]
pub fn input_name(directory: &Path, file: &Path) -> Option<String> {
    let relative = file.strip_prefix(directory).ok()?;
    let name = relative.to_str()?;
    protocol::wire::is_relative_path(name).then(|| name.to_owned())
}

/// The name of a line, counted from 1.
#[must_use]
pub fn line_name(number: usize) -> String {
    format!("line-{number:06}")
}

/// Two inputs whose results would get in each other's way, or one and the reduced result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// One name.
    pub first: String,
    /// The other.
    pub second: String,
    /// The place that both would need.
    pub place: String,
}

/// Finds names that cannot stand beside each other: equal ones; `a` and `a/b`, since the first is the directory of
/// its files; `a` and `a.out`, since the second would be that file and that directory; and, where there is a
/// reduced result, a name that would take its place.
#[must_use]
pub fn find_collision<'a>(
    names: impl IntoIterator<Item = &'a str>,
    reduced: bool,
) -> Option<Collision> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Some(collision(name, name, &format!("{name}.out")));
        }
    }
    for name in &seen {
        // `name` as a directory contains every other name that begins with `name/`. The files of its own task
        // could have any of these names.
        for (at, _) in name.match_indices('/') {
            let parent = name.get(..at).unwrap_or_default();
            if seen.contains(parent) {
                return Some(collision(parent, name, &format!("{parent}/")));
            }
            if let Some(owner) = parent.strip_suffix(".out").filter(|owner| seen.contains(owner)) {
                return Some(collision(owner, name, parent));
            }
        }
        if let Some(owner) = name.strip_suffix(".out").filter(|owner| seen.contains(owner)) {
            return Some(collision(owner, name, name));
        }
        for result in ["result.json", "result.bin"] {
            if reduced && (*name == result || name.starts_with(&format!("{result}/"))) {
                return Some(collision(name, "the reduced result", result));
            }
        }
    }
    None
}

fn collision(first: &str, second: &str, place: &str) -> Collision {
    Collision { first: first.to_owned(), second: second.to_owned(), place: place.to_owned() }
}

/// A name for a job, made from a file's name: what is not allowed in names becomes `-`.
#[must_use]
pub fn job_name(file: &str) -> String {
    let stem = Path::new(file)
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let name: String = stem
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(protocol::limits::NAME_BYTES_MAX)
        .collect();
    if name.is_empty() { "job".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_relative_to_the_longest_literal_directory() {
        for (pattern, directory) in [
            ("/usr/share/common-licenses/*", "/usr/share/common-licenses"),
            ("/data/*/2026/*.txt", "/data"),
            ("/data/**/*.txt", "/data"),
            ("*.txt", ""),
            ("docs/a.txt", "docs"),
            ("a.txt", ""),
            ("docs/[ab].txt", "docs"),
            ("docs/x?/y", "docs"),
            ("./docs/*", "./docs"),
            ("../docs/*", "../docs"),
            ("/*", "/"),
        ] {
            assert_eq!(literal_directory(pattern), Path::new(directory), "{pattern}");
        }
        assert_eq!(
            input_name(Path::new("/data"), Path::new("/data/a/b.txt")),
            Some("a/b.txt".to_owned())
        );
        assert_eq!(input_name(Path::new(""), Path::new("a.txt")), Some("a.txt".to_owned()));
        assert_eq!(input_name(Path::new("/data"), Path::new("/data/a\\b")), None);
        assert_eq!(input_name(Path::new("/data"), Path::new("/data/a\nb")), None);
        assert_eq!(input_name(Path::new("/data"), Path::new("/other/a")), None);
    }

    #[test]
    fn lines_are_counted_from_one() {
        assert_eq!(line_name(1), "line-000001");
        assert_eq!(line_name(1_234_567), "line-1234567");
    }

    #[test]
    fn names_that_get_in_each_others_way_are_found() {
        let place = |names: &[&str], reduced| {
            find_collision(names.iter().copied(), reduced).map(|collision| collision.place)
        };
        for names in
            [["a.txt", "b.txt"], ["a/x", "b/x"], ["a", "ab/c"], ["a.b", "a"], ["result.json", "x"]]
        {
            assert_eq!(place(&names, false), None, "{names:?}");
        }
        assert_eq!(place(&["a", "a"], false), Some("a.out".to_owned()));
        assert_eq!(place(&["a", "a/b"], false), Some("a/".to_owned()));
        assert_eq!(place(&["a/b/c", "a"], false), Some("a/".to_owned()));
        assert_eq!(place(&["a", "a.out"], false), Some("a.out".to_owned()));
        assert_eq!(place(&["a", "a.out/b"], false), Some("a.out".to_owned()));
        assert_eq!(place(&["result.json"], true), Some("result.json".to_owned()));
        assert_eq!(place(&["result.bin/x"], true), Some("result.bin".to_owned()));
    }

    proptest! {
        #[test]
        fn results_without_a_collision_have_places_of_their_own(
            names in prop::collection::btree_set("[ab](/[ab]|\\.out){0,2}", 0..6),
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            if find_collision(names.iter().copied(), false).is_none() {
                // Neither two files, nor a file where another needs a directory.
                let files: BTreeSet<String> = names.iter().map(|name| format!("{name}.out")).collect();
                prop_assert_eq!(files.len(), names.len());
                for name in &names {
                    let directory = format!("{name}/");
                    prop_assert!(!files.contains(*name));
                    for file in &files {
                        prop_assert!(!file.starts_with(&directory), "{} lies in {}", file, directory);
                        let below = format!("{file}/");
                        prop_assert!(!name.starts_with(&below));
                    }
                }
            }
        }
    }

    #[test]
    fn a_job_is_called_like_its_module() {
        assert_eq!(job_name("/x/wordfreq.wasm"), "wordfreq");
        assert_eq!(job_name("a b!.wasm"), "a-b-");
        assert_eq!(job_name("..."), "job");
        assert!(protocol::wire::is_name(&job_name(&"ä".repeat(100))));
    }
}
