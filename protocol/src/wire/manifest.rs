//! What goes into tasks and what comes out (`docs/protocol.md`, "Manifests").
//!
//! A manifest is a list of pages, each a blob, so that a job of a million tasks is read in parts and a worker
//! fetches only the pages of the tasks that it holds. Tiny inputs lie in the page itself.

use serde::{Deserialize, Serialize};

use crate::{
    ids::Hash,
    limits::{INLINE_INPUT_BYTES_MAX, PAGE_BYTES_MAX, PAGE_INPUTS_MAX, REDUCE_INPUT_BYTES_MAX},
    wire::canonical,
};

/// Some content: its hash and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobRef {
    /// The BLAKE3 hash.
    pub hash: Hash,
    /// The length, in bytes.
    pub len: u64,
}

impl BlobRef {
    /// Refers to `content`.
    #[must_use]
    pub fn to(content: &[u8]) -> Self {
        Self { hash: Hash::of(content), len: u64::try_from(content.len()).unwrap_or(u64::MAX) }
    }
}

/// The content of an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputSource {
    /// Here: at most [`INLINE_INPUT_BYTES_MAX`].
    Inline(Vec<u8>),
    /// In a blob.
    Blob(BlobRef),
}

impl InputSource {
    /// The source of `content`: inline if it is small enough. The second part is the blob to store, otherwise.
    #[must_use]
    pub fn of(content: &[u8]) -> (Self, bool) {
        if content.len() <= INLINE_INPUT_BYTES_MAX {
            (Self::Inline(content.to_vec()), false)
        } else {
            (Self::Blob(BlobRef::to(content)), true)
        }
    }

    /// The hash and length of the content.
    #[must_use]
    pub fn blob(&self) -> BlobRef {
        match self {
            Self::Inline(content) => BlobRef::to(content),
            Self::Blob(blob) => *blob,
        }
    }
}

/// A file that a task finds below `/in`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// The path below `/in`.
    pub path: String,
    /// The content.
    pub source: InputSource,
}

/// What one task reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskInput {
    /// The name under which its outputs are kept: the path of the file, or `line-000001`. Empty for a task
    /// without an input.
    pub name: String,
    /// The standard input.
    pub stdin: InputSource,
    /// The files below `/in`. A mapped task has one, with the content of its standard input; it is not
    /// repeated here (see [`Self::stdin_as`]).
    pub files: Vec<InputFile>,
    /// Where below `/in` the standard input appears as a file too.
    pub stdin_as: Option<String>,
}

impl TaskInput {
    /// A task without an input.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            name: String::new(),
            stdin: InputSource::Inline(Vec::new()),
            files: Vec::new(),
            stdin_as: None,
        }
    }

    /// The path that `{}` stands for in the arguments.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        self.stdin_as.as_ref().map(|path| format!("/in/{path}"))
    }

    /// All blobs that must be fetched before the task can run.
    pub fn blobs(&self) -> impl Iterator<Item = BlobRef> {
        std::iter::once(&self.stdin).chain(self.files.iter().map(|file| &file.source)).filter_map(
            |source| match source {
                InputSource::Blob(blob) => Some(*blob),
                InputSource::Inline(_) => None,
            },
        )
    }
}

/// One page of a manifest: the inputs of consecutive tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPage {
    /// At most [`PAGE_INPUTS_MAX`]; all pages but the last have [`InputManifest::page_inputs`].
    pub inputs: Vec<TaskInput>,
}

/// The inputs of all tasks of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputManifest {
    /// How many inputs each page but the last has: 1 to [`PAGE_INPUTS_MAX`].
    pub page_inputs: u32,
    /// The pages.
    pub pages: Vec<BlobRef>,
}

impl InputManifest {
    /// Where the input of a task is: the page, and the place in it.
    #[must_use]
    pub fn locate(&self, task: u32) -> Option<(BlobRef, usize)> {
        let page = task.checked_div(self.page_inputs)?;
        let place = task.checked_rem(self.page_inputs)?;
        let page = self.pages.get(usize::try_from(page).ok()?)?;
        Some((*page, usize::try_from(place).ok()?))
    }
}

/// A file that a task left in `/out`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// The path below `/out`.
    pub path: String,
    /// The content.
    pub blob: BlobRef,
}

/// Everything that a task put out. Its hash is in the receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputManifest {
    /// The standard output.
    pub stdout: BlobRef,
    /// The standard error.
    pub stderr: BlobRef,
    /// The files, in the order of their paths' bytes.
    pub files: Vec<OutputFile>,
}

impl OutputManifest {
    /// All content.
    pub fn blobs(&self) -> impl Iterator<Item = BlobRef> {
        [self.stdout, self.stderr].into_iter().chain(self.files.iter().map(|file| file.blob))
    }

    /// The length of all content, in bytes; saturates.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.blobs().fold(0, |sum, blob| sum.saturating_add(blob.len))
    }

    /// Whether there is no content at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

canonical! {
    InputPage: PAGE_BYTES_MAX;
    // The reducing task has one file for each other task.
    TaskInput: REDUCE_INPUT_BYTES_MAX;
    InputManifest: PAGE_BYTES_MAX;
    OutputManifest: PAGE_BYTES_MAX;
}

/// Arranges inputs in pages. Yields each page's bytes, and at the end the manifest.
///
/// # Errors
///
/// If one input's description alone is larger than a page.
pub fn paginate(
    inputs: &[TaskInput],
) -> Result<(InputManifest, Vec<Vec<u8>>), crate::codec::DecodeError> {
    let mut page_inputs = PAGE_INPUTS_MAX;
    loop {
        let pages: Result<Vec<_>, _> = inputs
            .chunks(page_inputs)
            .map(|inputs| crate::codec::try_encode(&InputPage { inputs: inputs.to_vec() }))
            .collect();
        match pages {
            Ok(pages) => {
                let manifest = InputManifest {
                    page_inputs: u32::try_from(page_inputs).unwrap_or(u32::MAX),
                    pages: pages.iter().map(|page| BlobRef::to(page)).collect(),
                };
                return Ok((manifest, pages));
            }
            Err(error) if page_inputs == 1 => return Err(error),
            Err(_) => page_inputs = page_inputs.div_ceil(4).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::decode;

    #[test]
    fn every_input_is_found_where_the_manifest_says() {
        let inputs: Vec<_> = (0..3_000)
            .map(|at| TaskInput { name: format!("line-{at:06}"), ..TaskInput::none() })
            .collect();
        let (manifest, pages) = paginate(&inputs).unwrap();
        for task in [0_u32, 1, 1_023, 1_024, 2_999] {
            let (blob, place) = manifest.locate(task).unwrap();
            let page = pages.iter().find(|page| BlobRef::to(page) == blob).unwrap();
            let page: InputPage = decode(page).unwrap();
            assert_eq!(page.inputs[place], inputs[task as usize]);
        }
        assert!(manifest.locate(3_072).is_none());
    }

    #[test]
    fn large_inline_inputs_make_smaller_pages() {
        let input = TaskInput { stdin: InputSource::Inline(vec![7; 512]), ..TaskInput::none() };
        let inputs = vec![TaskInput { name: "n".repeat(1_000), ..input }; 2_000];
        let (manifest, pages) = paginate(&inputs).unwrap();
        assert!(pages.iter().all(|page| page.len() <= PAGE_BYTES_MAX));
        assert_eq!(manifest.pages.len(), pages.len());
    }
}
