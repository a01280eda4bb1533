//! What a run works with: the providers it may ask, each ready for use.

use std::collections::BTreeMap;

use media_core::{Client, Error, MediaKind, ParamSpec, Result};
use serde_json::Value;

/// A provider instance as the engine sees it.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The client.
    pub client: Client,
    /// The parameters that it understands, to read the cells of a table by.
    pub params: &'static [ParamSpec],
}

/// The provider instances of a project, by name.
#[derive(Clone, Debug, Default)]
pub struct Project {
    instances: BTreeMap<String, Instance>,
}

impl Project {
    /// A project with these instances.
    #[must_use]
    pub fn new(instances: BTreeMap<String, Instance>) -> Project {
        Project { instances }
    }

    /// All instances.
    pub fn instances(&self) -> impl Iterator<Item = (&str, &Instance)> {
        self.instances
            .iter()
            .map(|(name, instance)| (name.as_str(), instance))
    }

    /// The client of an instance.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](media_core::ErrorKind::Config) listing the instances there are.
    pub fn client(&self, name: &str) -> Result<&Client> {
        self.instances
            .get(name)
            .map(|instance| &instance.client)
            .ok_or_else(|| {
                let known: Vec<_> = self.instances.keys().map(String::as_str).collect();
                Error::config(format!(
                    "there is no provider {name:?}: there are {}",
                    known.join(", ")
                ))
            })
    }

    /// Reads cells of tables as values of providers' parameters.
    pub(crate) fn reader(
        &self,
    ) -> impl Fn(&str, MediaKind, &str, &str) -> std::result::Result<Value, String> {
        |provider, kind, name, cell| self.read_param(provider, kind, name, cell)
    }

    /// An unknown provider or parameter, or a cell that is not of the parameter's type, is told as a fragment.
    fn read_param(
        &self,
        provider: &str,
        kind: MediaKind,
        name: &str,
        cell: &str,
    ) -> std::result::Result<Value, String> {
        let Some(instance) = self.instances.get(provider) else {
            return Err(self
                .client(provider)
                .err()
                .map_or_else(String::new, |error| error.to_string()));
        };
        let specs = || instance.params.iter().filter(|spec| spec.kind == kind);
        match specs().find(|spec| spec.name == name) {
            Some(spec) => spec.value.read(cell),
            None => {
                let known: Vec<_> = specs().map(|spec| spec.name).collect();
                Err(format!(
                    "{provider} has no parameter {name:?} for {kind}; it has: {}",
                    known.join(", ")
                ))
            }
        }
    }
}
