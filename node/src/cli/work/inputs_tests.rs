use std::os::unix::fs::symlink;

use protocol::wire::manifest::InputSource;

use super::*;

/// A directory with files, directories and links of every kind.
fn garden() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("sub/deep")).unwrap();
    for (name, text) in [
        ("a.txt", "one"),
        ("b.txt", "two"),
        (".hidden", "no"),
        ("sub/c.txt", "three"),
        ("sub/deep/d.txt", "four"),
    ] {
        fs::write(at(name), text).unwrap();
    }
    symlink("a.txt", at("link.txt")).unwrap();
    symlink("nowhere", at("broken.txt")).unwrap();
    symlink("sub", at("linked-directory")).unwrap();
    dir
}

fn names(dir: &Path, patterns: &[&str]) -> Result<Vec<String>, ErrorCode> {
    let patterns: Vec<_> =
        patterns.iter().map(|pattern| format!("{}/{pattern}", dir.display())).collect();
    let matches = expand(&patterns, None, false).map_err(|error| error.code())?;
    Ok(matches.files.into_iter().map(|file| file.name).collect())
}

#[test]
fn links_to_files_are_followed_and_directories_are_skipped() {
    let dir = garden();
    assert_eq!(
        names(dir.path(), &["*"]),
        Ok(vec!["a.txt".into(), "b.txt".into(), "link.txt".into()])
    );
    assert_eq!(names(dir.path(), &["*/*.txt"]).unwrap(), ["linked-directory/c.txt", "sub/c.txt"]);
    assert_eq!(names(dir.path(), &["sub/**/*.txt"]).unwrap(), ["c.txt", "deep/d.txt"]);
}

#[test]
fn a_link_to_nothing_is_said() {
    let dir = garden();
    let matches = expand(&[format!("{}/*.txt", dir.path().display())], None, false).unwrap();
    assert_eq!(matches.files.len(), 3);
    assert_eq!(matches.skipped.len(), 1);
    assert!(matches.skipped[0].contains("broken.txt is a link to nothing"));
}

#[test]
fn inputs_that_would_overwrite_each_other_are_refused() {
    let dir = garden();
    assert_eq!(names(dir.path(), &["a.txt", "b.txt"]).unwrap(), ["a.txt", "b.txt"]);
    assert_eq!(names(dir.path(), &["a.txt", "a.txt"]), Err(ErrorCode::OutputCollision));
    fs::write(dir.path().join("sub/a.txt"), "").unwrap();
    assert_eq!(names(dir.path(), &["a.txt", "sub/a.txt"]), Err(ErrorCode::OutputCollision));
    fs::write(dir.path().join("a.txt.out"), "").unwrap();
    assert_eq!(names(dir.path(), &["a.*"]), Err(ErrorCode::OutputCollision));
}

#[test]
fn a_pattern_that_matches_no_file_is_an_error_that_says_why() {
    let dir = garden();
    let error = |pattern: &str| {
        expand(&[format!("{}/{pattern}", dir.path().display())], None, false).unwrap_err()
    };
    assert_eq!(error("*.jpg").code(), ErrorCode::NoInput);
    assert_eq!(error("none.txt").code(), ErrorCode::FileUnreadable);
    assert_eq!(error("sub").code(), ErrorCode::NoInput);
    assert!(error("sub").render().contains("is a directory"));
    assert!(error("su*").render().contains("matches only directories"));
    assert_eq!(error("a[").code(), ErrorCode::Usage);
}

#[test]
fn a_file_that_looks_like_a_pattern_is_meant_itself() {
    let dir = garden();
    fs::write(dir.path().join("x[1].txt"), "").unwrap();
    assert_eq!(names(dir.path(), &["x[1].txt"]).unwrap(), ["x[1].txt"]);
}

#[test]
fn a_home_directory_is_expanded_also_in_quotes() {
    let dir = garden();
    let matches = expand(&["~/*.txt".to_owned()], Some(dir.path()), false).unwrap();
    assert_eq!(matches.files.len(), 3);
}

#[test]
fn a_mapped_file_is_the_standard_input_and_a_file() {
    let dir = garden();
    let matches = expand(&[format!("{}/sub/*.txt", dir.path().display())], None, false).unwrap();
    let inputs = Inputs::of_files(&matches.files, &mut |_| {}).unwrap();
    assert_eq!(inputs.tasks.len(), 1);
    assert_eq!(inputs.tasks[0].path().as_deref(), Some("/in/c.txt"));
    assert_eq!(inputs.tasks[0].stdin, InputSource::Inline(b"three".to_vec()));
    assert_eq!(inputs.bytes, 5);
}

#[test]
fn each_line_is_an_input_without_its_newline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    let lines = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        Inputs::of_lines(&path).map(|inputs| {
            let line = |task: TaskInput| match task.stdin {
                InputSource::Inline(bytes) => (task.name, bytes),
                InputSource::Blob(blob) => panic!("a blob {blob:?}"),
            };
            inputs.tasks.into_iter().map(line).collect::<Vec<_>>()
        })
    };
    let expected = vec![
        ("line-000001".to_owned(), b"a".to_vec()),
        ("line-000002".to_owned(), Vec::new()),
        ("line-000003".to_owned(), b"\xff\r".to_vec()),
    ];
    assert_eq!(lines(b"a\n\n\xff\r\n").unwrap(), expected);
    assert_eq!(lines(b"a\n\n\xff\r").unwrap(), expected);
    assert_eq!(lines(b"").unwrap_err().code(), ErrorCode::NoInput);
    assert_eq!(Inputs::of_lines(dir.path()).unwrap_err().code(), ErrorCode::FileUnreadable);
}

#[test]
fn a_run_finds_its_files_by_their_names() {
    let dir = garden();
    let at = |name: &str| dir.path().join(name);
    let inputs = Inputs::of_run(Some(&at("a.txt")), &[at("b.txt"), at("sub/c.txt")]).unwrap();
    let task = &inputs.tasks[0];
    assert_eq!(task.stdin, InputSource::Inline(b"one".to_vec()));
    assert_eq!(
        task.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
        ["b.txt", "c.txt"]
    );
    assert_eq!(task.name, "");
    let twice = Inputs::of_run(None, &[at("a.txt"), at("a.txt")]).unwrap_err();
    assert_eq!(twice.code(), ErrorCode::OutputCollision);
    assert_eq!(Inputs::of_run(None, &[at("sub")]).unwrap_err().code(), ErrorCode::FileUnreadable);
    assert_eq!(
        Inputs::of_run(Some(&at("none")), &[]).unwrap_err().code(),
        ErrorCode::FileUnreadable
    );
}

#[test]
fn hidden_files_are_inputs_only_where_they_are_asked_for() {
    let dir = garden();
    assert_eq!(names(dir.path(), &[".h*"]).unwrap(), [".hidden"]);
    assert_eq!(names(dir.path(), &["*/*"]).unwrap(), ["linked-directory/c.txt", "sub/c.txt"]);
    fs::create_dir(dir.path().join(".secret")).unwrap();
    fs::write(dir.path().join(".secret/e.txt"), "five").unwrap();
    assert_eq!(names(dir.path(), &[".secret/*"]).unwrap(), ["e.txt"]);
    assert!(!names(dir.path(), &["**/*.txt"]).unwrap().contains(&".secret/e.txt".to_owned()));
}

#[test]
fn links_that_lead_in_circles_are_not_walked() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::write(dir.path().join("a/b/one.txt"), "one").unwrap();
    for (link, to) in [("a/up", ".."), ("a/b/up", "../.."), ("a/b/self", ".")] {
        symlink(to, dir.path().join(link)).unwrap();
    }
    symlink("b/one.txt", dir.path().join("a/file-link.txt")).unwrap();
    assert_eq!(names(dir.path(), &["**/*.txt"]).unwrap(), ["a/b/one.txt", "a/file-link.txt"]);
}
