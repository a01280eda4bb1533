//! Which providers a program knows: a value, not a global. Cargo features decide what is built in.

use std::sync::Arc;

use media_core::config::{Section, Setup};
use media_core::{Error, Factory, MediaProvider, Result};

/// Providers that exist here; a feature of this crate by the same name builds each in.
const KNOWN: [&str; 3] = ["openai", "runware", "forvo"];

/// The providers a program can make instances of.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    factories: Vec<Factory>,
}

impl Registry {
    /// None at all: a program adds its own by [`with`](Registry::with).
    #[must_use]
    pub fn empty() -> Registry {
        Registry::default()
    }

    /// What the features of this crate have built in.
    #[must_use]
    pub fn built_in() -> Registry {
        let registry = Registry::empty();
        #[cfg(feature = "openai")]
        let registry = registry.with(provider_openai::FACTORY);
        #[cfg(feature = "runware")]
        let registry = registry.with(provider_runware::FACTORY);
        #[cfg(feature = "forvo")]
        let registry = registry.with(provider_forvo::FACTORY);
        registry
    }

    /// Adds a provider; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, factory: Factory) -> Registry {
        self.factories.retain(|other| other.name != factory.name);
        self.factories.push(factory);
        self
    }

    /// Every provider, in the order they were added.
    pub fn factories(&self) -> impl Iterator<Item = &Factory> {
        self.factories.iter()
    }

    /// The provider of this type name.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](media_core::ErrorKind::Config): a known provider that is not built in names the feature to turn on, an unknown name
    /// lists what there is.
    pub fn factory(&self, name: &str) -> Result<&Factory> {
        if let Some(factory) = self.factories.iter().find(|factory| factory.name == name) {
            return Ok(factory);
        }
        let known: Vec<_> = self.factories.iter().map(|factory| factory.name).collect();
        let message = match KNOWN.contains(&name) {
            true => format!(
                "the provider {name:?} is not built in: turn on the feature {name:?} of media-registry (or of media-cli)"
            ),
            false if known.is_empty() => format!("there is no provider {name:?}: none is built in"),
            false => format!("there is no provider {name:?}: there are {}", known.join(", ")),
        };
        Err(Error::config(message))
    }

    /// Whether a provider of this type name exists and is left out of this program.
    #[must_use]
    pub fn is_left_out(&self, name: &str) -> bool {
        KNOWN.contains(&name) && self.factory(name).is_err()
    }

    /// Makes the instance that a configuration section describes.
    ///
    /// # Errors
    /// As [`factory`](Registry::factory), and whatever the provider finds wrong with its configuration.
    pub fn build(&self, setup: Setup) -> Result<Arc<dyn MediaProvider>> {
        let factory = self.factory_of(&setup.section)?;
        (factory.build)(setup)
    }

    /// The provider that a configuration section is for.
    ///
    /// # Errors
    /// As [`factory`](Registry::factory), naming the file.
    pub fn factory_of(&self, section: &Section) -> Result<&Factory> {
        let name = section.provider_type()?;
        self.factory(&name).map_err(|error| {
            Error::new(
                error.kind(),
                format!("{}: {}", section.file().display(), error.message()),
            )
            .not_billed()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_what_there_is_and_a_known_one_its_feature() {
        let said = |name: &str| Registry::empty().factory(name).unwrap_err().to_string();
        assert_eq!(said("acme"), "there is no provider \"acme\": none is built in");
        assert!(
            said("forvo").contains("turn on the feature \"forvo\""),
            "{}",
            said("forvo")
        );
        let built_in = Registry::built_in();
        let names: Vec<_> = built_in.factories().map(|factory| factory.name).collect();
        let said = built_in.factory("acme").unwrap_err().to_string();
        assert!(names.iter().all(|name| said.contains(name)), "{said}");
    }

    #[test]
    fn every_built_in_provider_accepts_its_own_shipped_file() {
        for factory in Registry::built_in().factories() {
            let value = factory.config.parse().unwrap();
            let section = Section::from_value(factory.name, &value).unwrap();
            assert_eq!(section.provider_type().unwrap(), factory.name);
            (factory.check_config)(&section).unwrap();
        }
    }
}
