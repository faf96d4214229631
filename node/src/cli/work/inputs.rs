//! The inputs of a job, from the file system.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use glob::MatchOptions;
use portal_api::ErrorCode;
use protocol::{
    limits::JOB_TASKS_MAX,
    wire::manifest::{InputFile, TaskInput},
};

use super::{
    content::{Content, hash_bytes, hash_file},
    naming::{find_collision, input_name, line_name, literal_directory},
    walk,
};
use crate::cli::error::CliError;

/// As the shell does it: `*` stops at `/` and does not match a leading dot.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    // Hidden files are left out below: here the library gives up on names that are not UTF-8.
    require_literal_leading_dot: false,
};
/// `ELOOP` (errno(3)) on Linux.
const LINK_LOOP: i32 = 40;
/// The longest line that `--by-line` takes, in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The longest input that is read into memory, in bytes: from a pipe, or for `weft exec`.
const MEMORY_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// A file that a pattern matched, and what its task is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// The name.
    pub name: String,
    /// Its length when it was found, in bytes.
    pub len: u64,
}

/// What the patterns matched.
#[derive(Debug, Default)]
pub struct Matches {
    /// Files, each once, in the order of the patterns and then of their names.
    pub files: Vec<Found>,
    /// What was left out although it matched, and why: for people.
    pub skipped: Vec<String>,
}

/// What the tasks read, and what of it has to be uploaded.
#[derive(Debug, Default)]
pub struct Inputs {
    /// One for each task.
    pub tasks: Vec<TaskInput>,
    /// Everything that does not lie in the manifest.
    pub contents: Vec<(protocol::ids::Hash, Content)>,
    /// The length of all of them, in bytes.
    pub bytes: u64,
}

impl Inputs {
    fn add(&mut self, hashed: super::content::Hashed) -> protocol::wire::manifest::InputSource {
        self.bytes = self.bytes.saturating_add(hashed.len);
        if let Some(content) = hashed.content {
            self.contents.push((hashed.source.blob().hash, content));
        }
        hashed.source
    }

    /// One task for each file: its standard input, and a file below `/in`.
    ///
    /// # Errors
    ///
    /// If one cannot be read.
    pub fn of_files(files: &[Found], progress: &mut dyn FnMut(u64)) -> Result<Self, CliError> {
        let mut inputs = Self::default();
        for file in files {
            let hashed = hash_file(&file.path, progress)
                .map_err(|error| CliError::unreadable(&file.path, &error))?;
            let stdin = inputs.add(hashed);
            inputs.tasks.push(TaskInput {
                name: file.name.clone(),
                stdin,
                files: Vec::new(),
                stdin_as: Some(file.name.clone()),
            });
        }
        Ok(inputs)
    }

    /// One task for each line of a file, without its newline. A last line without a newline counts; an empty one
    /// after the last newline does not.
    ///
    /// # Errors
    ///
    /// If it cannot be read, has no line, too many lines, or one that is too long.
    pub fn of_lines(path: &Path) -> Result<Self, CliError> {
        check_is_file(path)?;
        let unreadable = |error| CliError::unreadable(path, &error);
        let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
        let mut inputs = Self::default();
        loop {
            let mut line = Vec::new();
            let number = inputs.tasks.len().saturating_add(1);
            let limit = LINE_BYTES_MAX.saturating_add(1);
            let read =
                reader.by_ref().take(limit).read_until(b'\n', &mut line).map_err(unreadable)?;
            if read == 0 {
                break;
            }
            if u64::try_from(read).is_ok_and(|read| read > LINE_BYTES_MAX) {
                let detail = format!("{}, line {number}: longer than 64 MiB", path.display());
                return Err(CliError::new(ErrorCode::PayloadTooLarge, detail));
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            let name = line_name(number);
            let stdin = inputs.add(hash_bytes(line.into()));
            inputs.tasks.push(TaskInput {
                name: name.clone(),
                stdin,
                files: Vec::new(),
                stdin_as: Some(name),
            });
            check_count(inputs.tasks.len())?;
        }
        if inputs.tasks.is_empty() {
            return Err(CliError::new(
                ErrorCode::NoInput,
                format!("{} has no lines", path.display()),
            )
            .help("with --by-line each line of the file is one input"));
        }
        Ok(inputs)
    }

    /// The one task of `weft run`: its standard input and its files.
    ///
    /// # Errors
    ///
    /// If one cannot be read, or two have the same name.
    pub fn of_run(stdin: Option<&Path>, files: &[PathBuf]) -> Result<Self, CliError> {
        let mut inputs = Self::default();
        let mut task = TaskInput::none();
        if let Some(path) = stdin {
            let hashed = if path == Path::new("-") {
                hash_bytes(read_pipe()?.into())
            } else {
                check_is_file(path)?;
                hash_file(path, &mut |_| {}).map_err(|error| CliError::unreadable(path, &error))?
            };
            task.stdin = inputs.add(hashed);
        }
        for path in files {
            check_is_file(path)?;
            let name = input_file_name(path)?;
            if task.files.iter().any(|file| file.path == name) {
                return Err(CliError::new(
                    ErrorCode::OutputCollision,
                    format!("{}: another input is called `{name}` too", path.display()),
                ));
            }
            let hashed =
                hash_file(path, &mut |_| {}).map_err(|error| CliError::unreadable(path, &error))?;
            let source = inputs.add(hashed);
            task.files.push(InputFile { path: name, source });
        }
        inputs.tasks.push(task);
        Ok(inputs)
    }
}

/// Expands patterns. Links to files are followed, directories are skipped, and so is what is neither a file nor a
/// directory, or a link to nothing.
///
/// # Errors
///
/// If a pattern is none, or nothing matches, or something that matches cannot be looked at or named, or names
/// collide.
pub fn expand(
    patterns: &[String],
    home: Option<&Path>,
    reduced: bool,
) -> Result<Matches, CliError> {
    let mut matches = Matches::default();
    for pattern in patterns {
        let pattern = expand_home(pattern, home);
        let before = matches.files.len();
        let directories = expand_one(&pattern, &mut matches)?;
        if matches.files.len() == before {
            return Err(nothing(&pattern, directories));
        }
        check_count(matches.files.len())?;
    }
    if let Some(collision) =
        find_collision(matches.files.iter().map(|file| file.name.as_str()), reduced)
    {
        let detail = format!(
            "`{}` and {} would both need `{}` in the output",
            collision.first,
            {
                if collision.first == collision.second {
                    "another input of that name".to_owned()
                } else {
                    format!("`{}`", collision.second)
                }
            },
            collision.place
        );
        return Err(CliError::new(ErrorCode::OutputCollision, detail));
    }
    Ok(matches)
}

/// The paths that a pattern means.
fn matching(pattern: &str, directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    let unreadable = |error: glob::PatternError| {
        CliError::new(ErrorCode::Usage, format!("--in {pattern}: {}", error.msg))
            .help("patterns have *, ?, [abc] and **; a character that is meant itself stands in brackets: [*]")
    };
    let hidden = asks_for_hidden(pattern, directory);
    if pattern.split('/').any(|part| part == "**") {
        let pattern = glob::Pattern::new(pattern).map_err(unreadable)?;
        return Ok(walk::files(&pattern, directory, MATCHING, hidden)?.into_iter().collect());
    }
    let mut found = Vec::new();
    for path in glob::glob_with(pattern, MATCHING).map_err(unreadable)? {
        let path = path.map_err(|error| CliError::unreadable(error.path(), error.error()))?;
        if hidden || !is_hidden(&path, directory) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Returns how many directories were skipped.
fn expand_one(pattern: &str, matches: &mut Matches) -> Result<u64, CliError> {
    let directory = literal_directory(pattern);
    let mut directories = 0_u64;
    // A file whose name looks like a pattern is meant itself if it is there.
    let paths: Vec<_> = if fs::symlink_metadata(pattern).is_ok() {
        vec![PathBuf::from(pattern)]
    } else {
        matching(pattern, &directory)?
    };
    for path in paths {
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.raw_os_error() == Some(LINK_LOOP) => continue,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                matches.skipped.push(format!("{} is a link to nothing", path.display()));
                continue;
            }
            Err(error) => return Err(CliError::unreadable(&path, &error)),
        };
        if metadata.is_dir() {
            directories = directories.saturating_add(1);
        } else if metadata.is_file() {
            let name = input_name(&directory, &path).ok_or_else(|| bad_name(&path))?;
            matches.files.push(Found { path, name, len: metadata.len() });
        } else {
            matches.skipped.push(format!("{} is not a file", path.display()));
        }
    }
    Ok(directories)
}

/// Whether a pattern names hidden files itself, below the directory where it begins.
fn asks_for_hidden(pattern: &str, directory: &Path) -> bool {
    let pattern = Path::new(pattern);
    let below = pattern.strip_prefix(directory).unwrap_or(pattern);
    below
        .iter()
        .any(|part| part.as_encoded_bytes().starts_with(b".") && part != "." && part != "..")
}

/// Whether a file, or a directory on the way to it below `directory`, is hidden.
fn is_hidden(path: &Path, directory: &Path) -> bool {
    let below = path.strip_prefix(directory).unwrap_or(path);
    below.iter().any(|part| {
        let part = part.as_encoded_bytes();
        part.starts_with(b".") && part != b"." && part != b".."
    })
}

fn nothing(pattern: &str, directories: u64) -> CliError {
    let has_wildcard = pattern.contains(['*', '?', '[']);
    match directories {
        0 if has_wildcard => {
            CliError::new(ErrorCode::NoInput, format!("nothing matches {pattern}"))
        }
        0 => CliError::new(ErrorCode::FileUnreadable, format!("{pattern}: there is no such file")),
        _ if has_wildcard => {
            CliError::new(ErrorCode::NoInput, format!("{pattern} matches only directories"))
                .help(format!("files below them:  '{}/**/*'", literal_directory(pattern).display()))
        }
        _ => CliError::new(ErrorCode::NoInput, format!("{pattern} is a directory"))
            .help(format!("the files in it:  '{}/*'", pattern.trim_end_matches('/'))),
    }
}

/// `~` where the shell did not expand it, because the pattern stands in quotes.
fn expand_home(pattern: &str, home: Option<&Path>) -> String {
    match (pattern.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => {
            format!("{}/{rest}", glob::Pattern::escape(&home.to_string_lossy()))
        }
        _ => pattern.to_owned(),
    }
}

fn check_count(count: usize) -> Result<(), CliError> {
    if u32::try_from(count).is_ok_and(|count| count <= JOB_TASKS_MAX) {
        Ok(())
    } else {
        Err(CliError::new(
            ErrorCode::PayloadTooLarge,
            format!("a job has at most {JOB_TASKS_MAX} inputs"),
        ))
    }
}

fn check_is_file(path: &Path) -> Result<(), CliError> {
    let metadata = fs::metadata(path).map_err(|error| CliError::unreadable(path, &error))?;
    if metadata.is_dir() {
        return Err(CliError::new(
            ErrorCode::FileUnreadable,
            format!("{} is a directory", path.display()),
        )
        .help("name a file"));
    }
    Ok(())
}

fn bad_name(path: &Path) -> CliError {
    CliError::new(
        ErrorCode::FileUnreadable,
        format!(
            "{}: a name of an input has no control characters, no backslash, and is UTF-8",
            path.display()
        ),
    )
    .help("rename the file, or choose a pattern that leaves it out")
}

/// What a file that was named is called below `/in`: its last part.
///
/// # Errors
///
/// If that cannot be a name.
pub fn input_file_name(path: &Path) -> Result<String, CliError> {
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    input_name(directory, path).ok_or_else(|| bad_name(path))
}

/// Reads a file as a whole.
///
/// # Errors
///
/// If it cannot be read, is none, or is too long.
pub fn read_file(path: &Path) -> Result<Vec<u8>, CliError> {
    check_is_file(path)?;
    let file = File::open(path).map_err(|error| CliError::unreadable(path, &error))?;
    read_bounded(file, path)
}

/// Reads the standard input of this command.
///
/// # Errors
///
/// If it cannot be read, or is too long.
pub fn read_pipe() -> Result<Vec<u8>, CliError> {
    read_bounded(std::io::stdin().lock(), Path::new("standard input"))
}

fn read_bounded(reader: impl std::io::Read, path: &Path) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let limit = MEMORY_BYTES_MAX.saturating_add(1);
    reader
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::unreadable(path, &error))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MEMORY_BYTES_MAX) {
        return Err(CliError::new(
            ErrorCode::PayloadTooLarge,
            format!("{} is longer than 1 GiB", path.display()),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "inputs_tests.rs"]
mod tests;
