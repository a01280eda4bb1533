//! Configuration: JSON files, then environment variables, then the caller's own layers; loaded once, failing fast.
//!
//! Every value knows where it came from, so every complaint names the file (or variable) and the key.

mod schema;
mod unique;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value as FigmentValue};
use figment::{Figment, Metadata, Profile, Provider, Source};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

pub use self::schema::{file_schema, provider_schema};
use self::unique::Unique;
use crate::error::{Error, ErrorKind, Result};
use crate::http::Wiring;
use crate::secret::ApiKey;
use crate::shipped::{COMMON, strip_remarks};

/// Variables with this prefix are ours: `MEDIA_CONFIG__openai__image__quality=high`. No other is looked at.
pub const ENV_PREFIX: &str = "MEDIA_CONFIG__";
/// The variable that names the configuration folder.
pub const ENV_DIR: &str = "MEDIA_CONFIG_DIR";
/// The section of `media.json` in variables and overlays.
pub const PROGRAM: &str = "media";

/// Where configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The folder; without it `MEDIA_CONFIG_DIR`, then `./config`.
    pub dir: Option<PathBuf>,
    /// The environment, given rather than read: libraries read none.
    pub environment: BTreeMap<String, String>,
    /// Laid over everything else, last wins: (section, values, what to call them in messages).
    pub overlays: Vec<(String, Value, String)>,
}

/// The whole configuration, every instance as a section.
#[derive(Clone, Debug)]
pub struct Config {
    dir: PathBuf,
    program: Section,
    providers: BTreeMap<String, Section>,
}

/// One file of the configuration with everything that was laid over it.
#[derive(Clone, Debug)]
pub struct Section {
    name: String,
    file: PathBuf,
    /// `type` and `api_key_env`, which are the same for every provider.
    common: Figment,
    /// Everything else: the provider's own.
    own: Figment,
}

/// What a [`Factory`](crate::Factory) makes an instance from.
#[derive(Debug)]
pub struct Setup {
    /// The configuration of the instance.
    pub section: Section,
    /// Its key, if it has one.
    pub key: Option<ApiKey>,
    /// What surrounds it.
    pub wiring: Wiring,
}

fn complain(message: impl Into<String>) -> Error {
    Error::config(message)
}

impl Config {
    /// Reads everything.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: no folder, unreadable or malformed files, variables for instances that do not exist.
    pub fn load(sources: &Sources) -> Result<Config> {
        let dir = find_dir(sources)?;
        let mut program = Section::read(PROGRAM, &dir.join("media.json"))?;
        let mut providers = BTreeMap::new();
        let folder = dir.join("providers");
        let entries = fs::read_dir(&folder).map_err(|error| {
            complain(format!("cannot read the folder {}", folder.display())).because(error)
        })?;
        for entry in entries {
            let path = entry
                .map_err(|error| complain(format!("cannot read {}", folder.display())).because(error))?
                .path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let name = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            if !is_instance_name(name) {
                return Err(complain(format!(
                    "{}: an instance is named by lower-case letters, digits and hyphens, beginning with a letter",
                    path.display()
                )));
            }
            providers.insert(name.to_owned(), Section::read(name, &path)?);
        }
        for (variable, text) in &sources.environment {
            if let Some(path) = variable.strip_prefix(ENV_PREFIX) {
                lay_variable(&mut program, &mut providers, variable, path, text)?;
            }
        }
        for (name, values, source) in &sources.overlays {
            let section = if name == PROGRAM {
                Some(&mut program)
            } else {
                providers.get_mut(name)
            };
            let section =
                section.ok_or_else(|| complain(format!("{source}: there is no instance {name:?}")))?;
            section.lay(values, source, None)?;
        }
        for section in providers.values() {
            section.check_address()?;
        }
        Ok(Config {
            dir,
            program,
            providers,
        })
    }

    /// The folder it was read from.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `media.json`.
    #[must_use]
    pub fn program(&self) -> &Section {
        &self.program
    }

    /// The provider instances, by name.
    #[must_use]
    pub fn providers(&self) -> &BTreeMap<String, Section> {
        &self.providers
    }

    /// One provider instance.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] listing the instances that there are.
    pub fn provider(&self, name: &str) -> Result<&Section> {
        self.providers.get(name).ok_or_else(|| {
            let known: Vec<_> = self.providers.keys().map(String::as_str).collect();
            complain(format!(
                "there is no provider {name:?}: {} has {}",
                self.dir.join("providers").display(),
                known.join(", ")
            ))
        })
    }
}

fn find_dir(sources: &Sources) -> Result<PathBuf> {
    let named = sources.dir.clone().map(|dir| (dir, "--config"));
    let named = named.or_else(|| Some((PathBuf::from(sources.environment.get(ENV_DIR)?), ENV_DIR)));
    match named {
        Some((dir, by)) if !dir.is_dir() => Err(complain(format!(
            "{} (named by {by}) is not a folder",
            dir.display()
        ))
        .hint("media init DIR writes one")),
        Some((dir, _)) => Ok(dir),
        None if Path::new("config").is_dir() => Ok(PathBuf::from("config")),
        None => Err(complain(format!(
            "no configuration: there is no folder ./config, and neither --config nor {ENV_DIR} names one"
        ))
        .hint("media init DIR writes a complete one")),
    }
}

fn is_instance_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && name != PROGRAM
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

fn is_variable_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

fn lay_variable(
    program: &mut Section,
    providers: &mut BTreeMap<String, Section>,
    variable: &str,
    path: &str,
    text: &str,
) -> Result<()> {
    let mut keys = path.split("__");
    let name = keys.next().unwrap_or_default();
    // Most shells allow no hyphen in a name.
    let section = if name == PROGRAM {
        Some(program)
    } else {
        providers
            .iter_mut()
            .find(|(other, _)| other.replace('-', "_") == name || *other == name)
            .map(|(_, s)| s)
    };
    let Some(section) = section else {
        return Err(complain(format!(
            "the variable {variable} is for an instance {name:?} that does not exist"
        )));
    };
    let keys: Vec<&str> = keys.collect();
    if keys.is_empty() || keys.iter().any(|key| key.is_empty()) {
        return Err(complain(format!(
            "the variable {variable} names no key: write {ENV_PREFIX}INSTANCE__KEY"
        )));
    }
    // JSON if it is JSON, else text: numbers and flags need no quotes, and "007" can be had as '"007"'.
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let nested = keys.iter().rev().fold(value, |inner, key| {
        Value::Object([((*key).to_owned(), inner)].into_iter().collect())
    });
    section.lay(&nested, variable, None)
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
    /// [`ErrorKind::Config`] for values that clash.
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
    fn check_address(&self) -> Result<()> {
        let Ok(url) = self.own.extract_inner::<Url>("base_url") else {
            // What is wrong with it the provider says.
            return Ok(());
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(self.complaint(&complain("base_url: a user name or password may not stand in it")));
        }
        if url.scheme() == "http" && !is_near(&url) && self.api_key_env()?.is_some() {
            let message = "base_url: over plain http anybody on the way can read the key";
            let error = complain(message)
                .hint("write https; or \"api_key_env\": null for a server that wants no key");
            return Err(self.complaint(&error));
        }
        Ok(())
    }

    fn read(name: &str, path: &Path) -> Result<Section> {
        let bytes = fs::read(path)
            .map_err(|error| complain(format!("cannot read {}", path.display())).because(error))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            complain(format!("{}: it is not UTF-8 text", path.display())).hint("save it as UTF-8")
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let Unique(value) = serde_json::from_str(text)
            .map_err(|error| complain(format!("{}: not JSON: {error}", path.display())))?;
        let mut section = Section {
            name: name.to_owned(),
            file: path.to_owned(),
            common: Figment::new(),
            own: Figment::new(),
        };
        section.lay(&value, &path.display().to_string(), Some(path))?;
        Ok(section)
    }

    /// A section from a value, for factories used without files.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it is no object.
    pub fn from_value(name: &str, value: &Value) -> Result<Section> {
        let mut section = Section {
            name: name.to_owned(),
            file: PathBuf::from(format!("the configuration of {name}")),
            common: Figment::new(),
            own: Figment::new(),
        };
        section.lay(value, &format!("the configuration of {name}"), None)?;
        Ok(section)
    }

    fn lay(&mut self, value: &Value, source: &str, file: Option<&Path>) -> Result<()> {
        let Value::Object(map) = strip_remarks(value) else {
            return Err(complain(format!("{source}: a JSON object is wanted")));
        };
        let (common, own) = map
            .into_iter()
            .partition(|(key, _)| COMMON.contains(&key.as_str()));
        let layer = |map| Layer {
            values: Value::Object(map),
            source: source.to_owned(),
            file: file.map(Path::to_owned),
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
    /// [`ErrorKind::Config`] for values that clash.
    pub fn value(&self) -> Result<Value> {
        let both = self.common.clone().merge(&self.own);
        both.extract::<Value>()
            .map_err(|error| self.complain_about(error))
    }

    /// The provider type: `"type"`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it is missing.
    pub fn provider_type(&self) -> Result<String> {
        self.common
            .extract_inner("type")
            .map_err(|error| self.complain_about(error))
    }

    /// The variable that holds the key: `"api_key_env"`, which may be null for servers without keys.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it is missing: whether there is a key is never guessed.
    pub fn api_key_env(&self) -> Result<Option<String>> {
        let value: Value = self
            .common
            .extract_inner("api_key_env")
            .map_err(|error| self.complain_about(error))?;
        match value {
            Value::Null => Ok(None),
            Value::String(name) if is_variable_name(&name) => Ok(Some(name)),
            // Never the value: somebody may have put the key itself there.
            _ => Err(complain(format!(
                "{}: api_key_env: write the name of the environment variable that holds the key, or null",
                self.file.display()
            ))),
        }
    }

    /// The provider's own configuration: everything but `type` and `api_key_env`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming file and key.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        self.own.extract().map_err(|error| self.complain_about(error))
    }

    /// One value of it, such as `prices`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming file and key.
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
            return complain(format!("{}: unusable", self.file.display()));
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
        complain(format!("{at}: {}", words::of(&error.kind)))
    }
}

struct Layer {
    values: Value,
    source: String,
    file: Option<PathBuf>,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        let metadata = Metadata::named(self.source.clone());
        match &self.file {
            Some(file) => metadata.source(Source::File(file.clone())),
            None => metadata,
        }
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let dict = FigmentValue::serialize(&self.values)?
            .into_dict()
            .unwrap_or_default();
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// The keys of these instances, as the environment has them; `None` for a server that wants none. An empty one counts as
/// lacking. `help` says of a kind of provider where a key is to be had.
///
/// # Errors
/// [`ErrorKind::MissingApiKey`] with one line per missing key, so that all can be set at once.
pub fn load_keys(
    config: &Config,
    instances: &BTreeSet<String>,
    environment: &BTreeMap<String, String>,
    help: impl Fn(&str) -> Option<&'static str>,
) -> Result<BTreeMap<String, Option<ApiKey>>> {
    let mut keys = BTreeMap::new();
    let mut missing = Vec::new();
    for name in instances {
        let section = config.provider(name)?;
        let Some(variable) = section.api_key_env()? else {
            keys.insert(name.clone(), None);
            continue;
        };
        match environment
            .get(&variable)
            .map(|key| key.trim())
            .filter(|key| !key.is_empty())
        {
            Some(key) => {
                keys.insert(name.clone(), Some(ApiKey::new(key)));
            }
            None => {
                let place = help(&section.provider_type()?)
                    .map(|help| format!(" ({help})"))
                    .unwrap_or_default();
                missing.push(format!(
                    "{name} needs its key in the environment variable {variable}{place}"
                ));
            }
        }
    }
    if missing.is_empty() {
        return Ok(keys);
    }
    Err(Error::new(ErrorKind::MissingApiKey, missing.join("\n"))
        .not_billed()
        .hint("set the variable, or put NAME=VALUE lines into a file and give it by --env-file"))
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.file.display())
    }
}
