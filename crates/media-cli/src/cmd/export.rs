//! `media export`: what the ledger knows, for programs and for repair.

use std::io;

use media_core::Result;
use media_registry::Registry;

use crate::args::{Export, ExportWhat, Global};
use crate::exit::Exit;
use crate::session::Session;
use crate::talk::say;
use crate::words::counted;

pub(crate) fn run(registry: &Registry, global: &Global, args: &Export) -> Result<Exit> {
    let session = Session::load(registry, global, None)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match &args.what {
        ExportWhat::Results { place } => {
            let reader = session.place(place).reader()?;
            media_engine::export_results(&reader, &mut out)?;
        }
        ExportWhat::Failed { list } => {
            // What the folder was last made from, where the command names none.
            let noted = match &list.list {
                Some(_) => None,
                None => session.list_or_place(list)?.noted()?,
            };
            let list = noted.map_or_else(|| session.list(list), Ok)?;
            let reader = list.reader()?;
            let project = session.offline()?;
            let rows = media_engine::export_failed(
                &project,
                &list.path,
                list.recipe.as_deref(),
                &list.providers,
                &reader,
                &mut out,
            )?;
            if rows == 0 {
                say!("no row has failed");
            } else {
                say!(
                    "{}; mend them there and in your own list, and run that file with the same recipe and --out. A table is written \
                     anew by every run: end with a run of the whole list",
                    counted(rows, "row")
                );
            }
        }
    }
    Ok(Exit::Done)
}
