//! What a caller asks for: one file, by its content and its path.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::format::MediaKind;

/// A request for one file. Every provider takes the same; what only one provider understands is in `params`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaRequest {
    /// The caller's own name for it, used in results and messages. Defaults to the output path.
    pub id: String,
    /// Picture or sound.
    pub kind: MediaKind,
    /// The prompt of a picture, or the text to speak.
    pub content: String,
    /// A BCP 47 language tag (`es`, `pt-BR`), where the provider needs one.
    pub language: Option<String>,
    /// Another number makes a different purchase of an otherwise equal request. Starts at 1.
    pub variant: u32,
    /// Where the file goes. Its extension says the format.
    pub output_path: PathBuf,
    /// Parameters of the provider that is asked. An unknown one is an error, none is ever ignored.
    pub params: BTreeMap<String, Value>,
}

impl MediaRequest {
    fn new(kind: MediaKind, content: impl Into<String>, output_path: impl Into<PathBuf>) -> MediaRequest {
        let output_path = output_path.into();
        MediaRequest {
            id: output_path.to_string_lossy().into_owned(),
            kind,
            content: content.into(),
            language: None,
            variant: 1,
            output_path,
            params: BTreeMap::new(),
        }
    }

    /// A picture of `prompt` at `output_path`.
    #[must_use]
    pub fn image(prompt: impl Into<String>, output_path: impl Into<PathBuf>) -> MediaRequest {
        MediaRequest::new(MediaKind::Image, prompt, output_path)
    }

    /// `text` as sound at `output_path`.
    #[must_use]
    pub fn audio(text: impl Into<String>, output_path: impl Into<PathBuf>) -> MediaRequest {
        MediaRequest::new(MediaKind::Audio, text, output_path)
    }

    /// The caller's own name for it.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> MediaRequest {
        self.id = id.into();
        self
    }

    /// The language of the text, as a BCP 47 tag.
    #[must_use]
    pub fn language(mut self, tag: impl Into<String>) -> MediaRequest {
        self.language = Some(tag.into());
        self
    }

    /// Which variant of an otherwise equal request this is.
    #[must_use]
    pub fn variant(mut self, variant: u32) -> MediaRequest {
        self.variant = variant;
        self
    }

    /// A parameter of the provider's own.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<Value>) -> MediaRequest {
        self.params.insert(name.into(), value.into());
        self
    }
}
