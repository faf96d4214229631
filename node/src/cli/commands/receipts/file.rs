//! Receipt files: written with what proves them and, if asked for, what is needed to run the task again.

use std::{collections::BTreeSet, path::Path};

use portal_api::{
    ErrorCode,
    views::{Document, ReceiptData, ReceiptFile, TaskData},
};
use protocol::{
    codec::{Canonical, decode, encode},
    ids::Hash,
    wire::{
        manifest::{InputManifest, InputPage, TaskInput},
        view::ReceiptProof,
    },
};
use serde::Deserialize as _;

use crate::{
    cli::{
        client::Client, context::Context, error::CliError, exit::Exit, human, work::out_dir::OutDir,
    },
    execution::{Execution, input_hash},
};

/// The largest receipt file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Module and inputs together, in bytes, at most: so that a file with them in base64 is not too large to read.
const DATA_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Writes a receipt file. `path` is where the node exports the receipt.
///
/// # Errors
///
/// Whatever the node says, or the file system.
pub(super) async fn export(
    context: &Context,
    path: &str,
    out: &Path,
    with_data: bool,
) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    let mut file: ReceiptFile = client.get(path).await?;
    if with_data {
        let proof = ReceiptProof::try_from(&file).map_err(|error| {
            CliError::internal(format!("the node sent a damaged receipt: {error}"))
        })?;
        file.data = Some(ReceiptData::from(&fetch(&mut client, &proof).await?));
    }
    let mut json = serde_json::to_string_pretty(&Document::of(file))
        .map_err(|error| CliError::internal(error.to_string()))?;
    json.push('\n');
    if out == Path::new("-") {
        context.screen.text(&json)?;
        return Ok(Exit::SUCCESS);
    }
    let (Some(directory), Some(name)) =
        (out.parent(), out.file_name().and_then(|name| name.to_str()))
    else {
        return Err(CliError::new(
            ErrorCode::OutputUnwritable,
            format!("{} is not a file", out.display()),
        ));
    };
    let directory = if directory == Path::new("") { Path::new(".") } else { directory };
    OutDir::prepare(directory)?.write(name, json.as_bytes())?;
    let check = if with_data { " --reexec" } else { "" };
    context
        .did(format!("{}      check it, anywhere:  weft receipt verify {0}{check}", out.display()))
}

/// Fetches what a task was made of, through the node.
async fn fetch(client: &mut Client, proof: &ReceiptProof) -> Result<TaskData, CliError> {
    let task = proof.item.task;
    let mut left = DATA_BYTES_MAX;
    let module = blob(client, Execution::module(&proof.spec, task), &mut left).await?;
    let input = if task.0 < proof.spec.tasks {
        mapped(client, proof).await?
    } else {
        // The description of what is reduced is content of its own.
        decoded(&blob(client, proof.item.input, &mut left).await?)?
    };
    if input_hash(&input) != proof.item.input {
        return Err(CliError::internal(
            "the job's manifest describes another input than the receipt",
        ));
    }
    let mut blobs = Vec::new();
    for hash in contents(&input) {
        blobs.push(blob(client, hash, &mut left).await?);
    }
    Ok(TaskData { module, input: encode(&input), blobs })
}

/// The input of a task that is in the job's manifest.
async fn mapped(client: &mut Client, proof: &ReceiptProof) -> Result<TaskInput, CliError> {
    let mut left = DATA_BYTES_MAX;
    let manifest: InputManifest = decoded(&blob(client, proof.spec.manifest, &mut left).await?)?;
    let missing = || CliError::internal("the job's manifest has no input for the task");
    let (page, place) = manifest.locate(proof.item.task.0).ok_or_else(missing)?;
    let page: InputPage = decoded(&blob(client, page.hash, &mut left).await?)?;
    page.inputs.into_iter().nth(place).ok_or_else(missing)
}

/// The blobs that an input refers to, each once, in the order in which it does.
pub(super) fn contents(input: &TaskInput) -> Vec<Hash> {
    let mut seen = BTreeSet::new();
    input.blobs().map(|blob| blob.hash).filter(|hash| seen.insert(*hash)).collect()
}

/// Fetches some content. `left` is how many bytes there is room for.
async fn blob(client: &mut Client, hash: Hash, left: &mut u64) -> Result<Vec<u8>, CliError> {
    let mut content = Vec::new();
    let no_room = |_: &std::io::Error| {
        CliError::new(
            ErrorCode::PayloadTooLarge,
            format!("module and inputs take more than {}", human::bytes(DATA_BYTES_MAX)),
        )
        .help("export the receipt without --with-data: it still proves who was paid what")
    };
    let mut sink = Bounded { content: &mut content, left };
    match client.fetch_blob(hash, &mut sink, &no_room).await {
        Ok(_) => Ok(content),
        Err(error) if error.code() == ErrorCode::NotFound => Err(error.help(
            "module and inputs are kept for some days after a job has ended; without --with-data the receipt can \
             still be exported",
        )),
        Err(error) => Err(error),
    }
}

/// Takes as much as there is room for.
struct Bounded<'a> {
    content: &'a mut Vec<u8>,
    left: &'a mut u64,
}

impl std::io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        *self.left = self
            .left
            .checked_sub(len)
            .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::FileTooLarge))?;
        self.content.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn decoded<T: Canonical>(bytes: &[u8]) -> Result<T, CliError> {
    decode(bytes).map_err(|error| CliError::internal(format!("the job is damaged: {error}")))
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Read {
    /// What proves the receipt.
    pub(super) proof: ReceiptProof,
    /// What the task was made of: what the receipt's hashes name, and nothing else.
    pub(super) data: Option<Data>,
}

/// What a task was made of.
#[derive(Debug)]
pub(super) struct Data {
    /// The module.
    pub(super) module: Vec<u8>,
    /// The description of its input.
    pub(super) input: TaskInput,
    /// The content that the description refers to, in the order of [`contents`].
    pub(super) blobs: Vec<Vec<u8>>,
}

/// Reads a receipt file. The inner error is about what is in it.
///
/// # Errors
///
/// If it cannot be read, or is no receipt file at all.
pub(super) fn read(file: &Path) -> Result<Result<Read, String>, CliError> {
    let metadata = std::fs::metadata(file).map_err(|error| CliError::unreadable(file, &error))?;
    if metadata.is_dir() {
        return Err(CliError::new(
            ErrorCode::FileUnreadable,
            format!("{} is a directory", file.display()),
        ));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(CliError::new(
            ErrorCode::PayloadTooLarge,
            format!("{} is no receipt: it is too large", file.display()),
        ));
    }
    let text = std::fs::read(file).map_err(|error| CliError::unreadable(file, &error))?;
    let unreadable = |error: serde_json::Error| {
        CliError::new(
            ErrorCode::FileUnreadable,
            format!("{} is not a receipt file: {error}", file.display()),
        )
        .help("`weft receipt export ID --out FILE` writes one")
    };
    let written: serde_json::Value = serde_json::from_slice(&text).map_err(unreadable)?;
    let document = Document::<ReceiptFile>::deserialize(&written).map_err(unreadable)?;
    Ok(parts_of(&document.body, &written))
}

/// The parts of a file, if the file holds nothing else. The same could be said in other words (hex in capitals) and
/// with more fields; nobody who changes a file shall find a place where that goes unnoticed.
fn parts_of(file: &ReceiptFile, written: &serde_json::Value) -> Result<Read, String> {
    let proof = ReceiptProof::try_from(file).map_err(|error| error.to_string())?;
    let mut exported = ReceiptFile::try_from(&proof).map_err(|error| error.to_string())?;
    let data = match &file.data {
        None => None,
        Some(data) => {
            let data = TaskData::try_from(data).map_err(|error| error.to_string())?;
            exported.data = Some(ReceiptData::from(&data));
            Some(checked(&proof, data)?)
        }
    };
    let exported =
        serde_json::to_value(Document::of(exported)).map_err(|error| error.to_string())?;
    if exported == *written {
        Ok(Read { proof, data })
    } else {
        Err("it is not written as `weft receipt export` writes it: it was changed".to_owned())
    }
}

/// Data that is what the receipt names.
fn checked(proof: &ReceiptProof, data: TaskData) -> Result<Data, String> {
    let other = |what: &str| Err(format!("{what} in the file is not the one of the receipt"));
    if Hash::of(&data.module) != Execution::module(&proof.spec, proof.item.task) {
        return other("the module");
    }
    if Hash::of(&data.input) != proof.item.input {
        return other("the input");
    }
    let input: TaskInput = decode(&data.input).map_err(|error| error.to_string())?;
    if !data.blobs.iter().map(|blob| Hash::of(blob)).eq(contents(&input)) {
        return other("the content of the input");
    }
    Ok(Data { module: data.module, input, blobs: data.blobs })
}
