//! One file of the configuration, with what was laid over it and where each value is from.

use std::fs;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value as FigmentValue};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use super::unique::Unique;
use super::words;
use crate::error::{Error, Result};
use crate::settings::check_base_url;
use crate::shipped::{COMMON, strip_remarks};

/// One file of the configuration with everything that was laid over it.
#[derive(Clone, Debug)]
pub struct Section {
    name: String,
    file: PathBuf,
    /// `type`, `api_key_env` and `key_page`, which are the same for every provider.
    common: Figment,
    /// Everything else: the provider's own.
    own: Figment,
}

impl Section {
    /// A complaint about what stands in it, with the file or variable that it stands in. Its message begins with the key.
    #[must_use]
    pub fn complaint(&self, error: &Error) -> Error {
        let key = error.message().split(':').next().unwrap_or_default();
        let source = self
            .source_of(key)
            .unwrap_or_else(|| self.file().display().to_string());
        let complaint = Error::new(error.kind(), format!("{source}: {}", error.message()));
        match error.next() {
            Some(next) => complaint.not_billed().hint(next.to_owned()),
            None => complaint.not_billed(),
        }
    }

    /// Where the value at a key was read, or the nearest one that it lies in.
    fn source_of(&self, key: &str) -> Option<String> {
        let mut path = key;
        loop {
            if let Some(metadata) = self
                .own
                .find_metadata(path)
                .or_else(|| self.common.find_metadata(path))
            {
                return Some(metadata.name.to_string());
            }
            (path, _) = path.rsplit_once('.')?;
        }
    }

    /// What was laid over its file: each key with the variable or flag that it was read from.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for values that clash.
    pub fn overlaid(&self) -> Result<Vec<(String, String)>> {
        let file = self.file.display().to_string();
        let mut found = Vec::new();
        let mut open = vec![(String::new(), self.value()?)];
        while let Some((path, value)) = open.pop() {
            match value {
                Value::Object(map) => open.extend(map.into_iter().map(|(key, value)| {
                    let path = if path.is_empty() {
                        key
                    } else {
                        format!("{path}.{key}")
                    };
                    (path, value)
                })),
                _ => {
                    let source = self.source_of(&path).filter(|source| *source != file);
                    found.extend(source.map(|source| (path, source)));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Nobody on the way may read the key: plain http is for this machine, and for the network at home or in a company.
    pub(super) fn check_address(&self) -> Result<()> {
        let Ok(url) = self.own.extract_inner::<Url>("base_url") else {
            // What is wrong with it the provider says.
            return Ok(());
        };
        check_base_url(&url).map_err(|error| self.complaint(&error))?;
        if url.scheme() == "http" && !is_near(&url) && self.api_key_env()?.is_some() {
            let message = "base_url: over plain http anybody on the way can read the key";
            let error = Error::config(message)
                .hint("write https; or \"api_key_env\": null for a server that wants no key");
            return Err(self.complaint(&error));
        }
        Ok(())
    }

    pub(super) fn read(name: &str, path: &Path) -> Result<Section> {
        let bytes = fs::read(path)
            .map_err(|error| Error::config(format!("cannot read {}", path.display())).because(error))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            Error::config(format!("{}: it is not UTF-8 text", path.display())).hint("save it as UTF-8")
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let Unique(value) = serde_json::from_str(text)
            .map_err(|error| Error::config(format!("{}: not JSON: {error}", path.display())))?;
        let mut section = Section {
            name: name.to_owned(),
            file: path.to_owned(),
            common: Figment::new(),
            own: Figment::new(),
        };
        section.lay(&value, &path.display().to_string())?;
        Ok(section)
    }

    /// A section from a value, for factories used without files.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when it is no object.
    pub fn from_value(name: &str, value: &Value) -> Result<Section> {
        let mut section = Section {
            name: name.to_owned(),
            file: PathBuf::from(format!("the configuration of {name}")),
            common: Figment::new(),
            own: Figment::new(),
        };
        section.lay(value, &format!("the configuration of {name}"))?;
        Ok(section)
    }

    pub(super) fn lay(&mut self, value: &Value, source: &str) -> Result<()> {
        let Value::Object(map) = strip_remarks(value) else {
            return Err(Error::config(format!("{source}: a JSON object is wanted")));
        };
        let (common, own) = map
            .into_iter()
            .partition(|(key, _)| COMMON.contains(&key.as_str()));
        let layer = |map| Layer {
            values: Value::Object(map),
            source: source.to_owned(),
        };
        self.common = std::mem::take(&mut self.common).merge(layer(common));
        self.own = std::mem::take(&mut self.own).merge(layer(own));
        Ok(())
    }

    /// The name of the instance.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file it was read from.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The merged values.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for values that clash.
    pub fn value(&self) -> Result<Value> {
        let both = self.common.clone().merge(&self.own);
        both.extract::<Value>()
            .map_err(|error| self.complain_about(error))
    }

    /// The provider type: `"type"`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when it is missing.
    pub fn provider_type(&self) -> Result<String> {
        self.common
            .extract_inner("type")
            .map_err(|error| self.complain_about(error))
    }

    /// The variable that holds the key: `"api_key_env"`, which may be null for servers without keys.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when it is missing: whether there is a key is never guessed.
    pub fn api_key_env(&self) -> Result<Option<String>> {
        let value: Value = self
            .common
            .extract_inner("api_key_env")
            .map_err(|error| self.complain_about(error))?;
        match value {
            Value::Null => Ok(None),
            Value::String(name) if is_variable_name(&name) => Ok(Some(name)),
            // Never the value: somebody may have put the key itself there.
            _ => Err(Error::config(format!(
                "{}: api_key_env: write the name of the environment variable that holds the key, in upper case, or null",
                self.file.display()
            ))),
        }
    }

    /// Where a key is to be had: `"key_page"`, which may be left out.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when it is not text.
    pub fn key_page(&self) -> Result<Option<String>> {
        if !self.common.contains("key_page") {
            return Ok(None);
        }
        let page = self.common.extract_inner("key_page");
        page.map(Some).map_err(|error| self.complain_about(error))
    }

    /// The provider's own configuration: everything but `type`, `api_key_env` and `key_page`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) naming file and key.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        self.own.extract().map_err(|error| self.complain_about(error))
    }

    /// The same, and whether it makes sense.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) naming file and key.
    pub fn check<T: DeserializeOwned>(&self, validate: impl FnOnce(&T) -> Result<()>) -> Result<()> {
        validate(&self.parse()?).map_err(|error| self.complaint(&error))
    }

    /// One value of it, such as `prices`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) naming file and key.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.own.extract_inner(key).map_err(|mut error: figment::Error| {
            // figment puts the key that was asked for behind those that lie in it.
            if error.path.last().is_some_and(|last| last == key) {
                error.path.rotate_right(1);
            }
            self.complain_about(error)
        })
    }

    fn complain_about(&self, error: figment::Error) -> Error {
        // figment can report several at once; the first is the one to mend.
        let error = error.into_iter().next();
        let Some(error) = error else {
            return Error::config(format!("{}: unusable", self.file.display()));
        };
        let source = error.metadata.as_ref().map_or_else(
            || self.file.display().to_string(),
            |metadata| metadata.name.to_string(),
        );
        let path = error.path.join(".");
        let at = if path.is_empty() {
            source
        } else {
            format!("{source}: {path}")
        };
        Error::config(format!("{at}: {}", words::of(&error.kind)))
    }
}

/// Values as figment takes them, by where they are from.
struct Layer {
    values: Value,
    source: String,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let dict = FigmentValue::serialize(&self.values)?
            .into_dict()
            .unwrap_or_default();
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// Whether an address is on this machine or in a network that is not the Internet.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => {
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
        }
        Some(Host::Ipv6(address)) => {
            address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_unspecified()
        }
        // One word is a name of the local network, as in a set of containers.
        Some(Host::Domain(name)) => {
            !name.contains('.')
                || [".localhost", ".local", ".internal", ".home.arpa"]
                    .iter()
                    .any(|end| name.ends_with(end))
        }
        None => false,
    }
}

/// Upper case, as such variables are named everywhere: most keys have lower-case letters, and none is to be shown.
fn is_variable_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_uppercase() || c == '_';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}
