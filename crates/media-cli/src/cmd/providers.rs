//! `media providers`: what is built in, what is configured, what each can do.

use media_core::{MediaKind, Result};
use media_registry::Registry;
use serde_json::json;

use crate::args::{Global, Providers};
use crate::exit::Exit;
use crate::session::Session;
use crate::talk::put;

pub(crate) fn run(registry: &Registry, global: &Global, args: &Providers) -> Result<Exit> {
    let session = Session::load(registry, global, None)?;
    let project = session.offline()?;
    let mut rows = Vec::new();
    for (name, instance) in project.instances() {
        let provider = instance.client.provider();
        let settings = provider.http().settings();
        rows.push((
            name.to_owned(),
            provider.info().clone(),
            settings.limits.clone(),
            instance.params,
        ));
    }
    if args.json {
        for (name, info, limits, params) in rows {
            let params: Vec<_> = params
                .iter()
                .map(|spec| json!({ "name": spec.name, "kind": spec.kind, "help": spec.help }))
                .collect();
            put!(
                "{}",
                json!({ "name": name, "info": info, "limits": limits, "params": params })
            );
        }
        return Ok(Exit::Done);
    }
    for (name, info, limits, params) in rows {
        put!("{name}  ({})", info.provider);
        for kind in [MediaKind::Image, MediaKind::Audio] {
            let Some(formats) = info.formats.get(&kind) else {
                continue;
            };
            let formats: Vec<_> = formats.iter().map(|format| format.name()).collect();
            put!("  {kind}: {}", formats.join(", "));
            for spec in params.iter().filter(|spec| spec.kind == kind) {
                put!("    params.{name}.{:<20} {}", spec.name, spec.help);
            }
        }
        let can = &info.capabilities;
        let batch = if can.batch_supported {
            format!("up to {} in one call", can.max_batch)
        } else {
            "one per call".to_owned()
        };
        let lost = if can.recoverable {
            "can be fetched later"
        } else {
            "cannot be asked for"
        };
        put!(
            "  files: {batch}; a lost answer {lost}{}",
            if can.free {
                "; never billed by the file"
            } else {
                ""
            }
        );
        put!("  limits: {}", serde_json::to_string(&limits).unwrap_or_default());
    }
    for factory in registry.factories() {
        put!("built in: {:<10} {}", factory.name, factory.about);
    }
    Ok(Exit::Done)
}
