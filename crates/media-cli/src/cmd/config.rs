//! `media config show|schema`: the configuration as understood.

use media_core::{Error, ErrorKind, Result};
use media_registry::Registry;

use crate::args::{Config, ConfigWhat, Global};
use crate::exit::Exit;
use crate::session::{ProgramSettings, Session};
use crate::talk::{put, say};

pub(crate) fn run(registry: &Registry, global: &Global, args: &Config) -> Result<Exit> {
    match &args.what {
        ConfigWhat::Show => {
            let session = Session::load(registry, global, None)?;
            say!("read from {}", session.config.dir().display());
            for section in session.config.providers().values() {
                (registry.factory_of(section)?.check_config)(section)?;
            }
            let sections = session.config.providers().values();
            for section in sections.chain([session.config.program()]) {
                for (key, source) in section.overlaid()? {
                    say!("{} {key}: from {source}", section.name());
                }
            }
            let text = serde_json::to_string_pretty(&session.shown()?).map_err(|error| {
                Error::new(ErrorKind::Config, "the configuration cannot be shown")
                    .because(error)
                    .not_billed()
            })?;
            put!("{text}");
        }
        ConfigWhat::Schema { name } => schema(registry, name)?,
    }
    Ok(Exit::Done)
}

/// Prints the schema of one file.
fn schema(registry: &Registry, name: &str) -> Result<()> {
    let schema = match name {
        "media" => media_core::config::file_schema::<ProgramSettings>(),
        "recipe" => media_engine::recipe_schema(),
        _ => {
            let known = registry.factories().find(|factory| factory.name == name);
            let factory = known.ok_or_else(|| {
                let providers: Vec<_> = registry.factories().map(|factory| factory.name).collect();
                Error::config(format!(
                    "there is no schema {name:?}: there are media, recipe, {}",
                    providers.join(", ")
                ))
            })?;
            (factory.schema)()
        }
    };
    put!("{schema:#}");
    Ok(())
}
