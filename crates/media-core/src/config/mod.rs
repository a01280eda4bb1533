//! Configuration: JSON files, then environment variables, then the caller's own layers; loaded once, failing fast.
//!
//! Every value knows where it came from, so every complaint names the file (or variable) and the key.

mod schema;
mod section;
mod unique;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::schema::{file_schema, provider_schema};
pub use self::section::Section;
use crate::error::{Error, ErrorKind, Result};
use crate::http::Wiring;
use crate::provider::MediaProvider;
use crate::secret::ApiKey;

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

impl Setup {
    /// Makes the instance with the constructor of its type; what is wrong with its configuration is told by file and key.
    ///
    /// # Errors
    /// The configuration cannot be read, or what the constructor says.
    pub fn make<C: DeserializeOwned, P: MediaProvider + 'static>(
        self,
        with_wiring: impl FnOnce(&str, C, Option<ApiKey>, Wiring) -> Result<P>,
    ) -> Result<Arc<dyn MediaProvider>> {
        let Setup { section, key, wiring } = self;
        match with_wiring(section.name(), section.parse()?, key, wiring) {
            Ok(provider) => Ok(Arc::new(provider)),
            Err(error) => Err(section.complaint(&error)),
        }
    }
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
            Error::config(format!("cannot read the folder {}", folder.display())).because(error)
        })?;
        for entry in entries {
            let path = entry
                .map_err(|error| Error::config(format!("cannot read {}", folder.display())).because(error))?
                .path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let name = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            if !is_instance_name(name) {
                return Err(Error::config(format!(
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
                section.ok_or_else(|| Error::config(format!("{source}: there is no instance {name:?}")))?;
            section.lay(values, source)?;
        }
        for section in providers.values() {
            section.api_key_env()?;
            section.key_page()?;
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
            Error::config(format!(
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
        Some((dir, by)) if !dir.is_dir() => Err(Error::config(format!(
            "{} (named by {by}) is not a folder",
            dir.display()
        ))
        .hint("media init DIR writes one")),
        Some((dir, _)) => Ok(dir),
        None if Path::new("config").is_dir() => Ok(PathBuf::from("config")),
        None => Err(Error::config(format!(
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
        return Err(Error::config(format!(
            "the variable {variable} is for an instance {name:?} that does not exist"
        )));
    };
    let keys: Vec<&str> = keys.collect();
    if keys.is_empty() || keys.iter().any(|key| key.is_empty()) {
        return Err(Error::config(format!(
            "the variable {variable} names no key: write {ENV_PREFIX}INSTANCE__KEY"
        )));
    }
    // JSON if it is JSON, else text: numbers and flags need no quotes, and "007" can be had as '"007"'.
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let nested = keys.iter().rev().fold(value, |inner, key| {
        Value::Object([((*key).to_owned(), inner)].into_iter().collect())
    });
    section.lay(&nested, variable)
}

/// The keys of these instances, as the environment has them; `None` for a server that wants none. An empty one counts as
/// lacking.
///
/// # Errors
/// [`ErrorKind::MissingApiKey`] with one line per missing key, so that all can be set at once.
pub fn load_keys(
    config: &Config,
    instances: &BTreeSet<String>,
    environment: &BTreeMap<String, String>,
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
                let page = section.key_page()?;
                let place = page.map_or_else(String::new, |page| format!(" (one is to be had at {page})"));
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
