//! `media check`: asks each service, for nothing, whether its key works.

use media_core::{ErrorKind, Result};
use media_registry::Registry;

use crate::args::{Check, Global};
use crate::exit::Exit;
use crate::session::Session;
use crate::talk::put;
use crate::words;

pub(crate) async fn run(registry: &Registry, global: &Global, args: &Check) -> Result<Exit> {
    let session = Session::load(registry, global, None)?;
    let all = args.providers.is_empty();
    let names: Vec<String> = if all {
        session.config.providers().keys().cloned().collect()
    } else {
        args.providers.clone()
    };
    // All of them before the first is asked: a wrong configuration is told before anything is done.
    let mut clients = Vec::new();
    for name in names {
        let section = session.config.provider(&name)?;
        let left_out = session.registry.is_left_out(&section.provider_type()?);
        if !left_out {
            (session.registry.factory_of(section)?.check_config)(section)?;
        }
        match session.alone(&name) {
            Ok(client) => clients.push((name, client)),
            // Nobody needs the keys of services that they do not use, nor those services.
            Err(error) if all && (error.kind() == ErrorKind::MissingApiKey || left_out) => {
                put!("{name}: not asked: {}", words::of_error(&error));
            }
            Err(error) => return Err(error),
        }
    }
    if clients.is_empty() {
        return Ok(Exit::Refused);
    }
    let mut exit = Exit::Done;
    for (name, client) in clients {
        match client.test_connection().await {
            Ok(connection) => {
                put!("{name}: works{}", words::after_colon(&connection.notes));
                for warning in connection.warnings {
                    put!("{name}: attention: {warning}");
                }
            }
            Err(error) => {
                put!("{name}: does not work: {}", words::of_error(&error));
                exit = exit.max(Exit::Act);
            }
        }
    }
    Ok(exit)
}
