//! `media cancel`: ends remote batches early.

use media_core::{Error, Result};
use media_registry::Registry;

use crate::args::{Cancel, Global};
use crate::exit::Exit;
use crate::session::Session;
use crate::talk::say;
use crate::words::{self, counted};

pub(crate) async fn run(registry: &Registry, global: &Global, args: &Cancel) -> Result<Exit> {
    let session = Session::load(registry, global, None)?;
    let reader = session.place(&args.place).reader()?;
    if reader.is_simulated()? {
        // The real service must not be asked, with the real key, for what only a simulator ever had.
        let message = "these batches are simulated, and ended with the run that simulated them";
        return Err(Error::config(message));
    }
    let open = reader.remote_batches()?;
    if let Some(stray) = args
        .keys
        .iter()
        .find(|key| !open.iter().any(|batch| batch.name() == key.as_str()))
    {
        let message = format!("the ledger knows no open batch {stray:?}");
        return Err(Error::config(message).hint("media status shows them"));
    }
    let wanted: Vec<_> = open
        .into_iter()
        .filter(|batch| args.keys.is_empty() || args.keys.iter().any(|key| key == batch.name()))
        .collect();
    if wanted.is_empty() {
        say!("no batch is open");
        return Ok(Exit::Done);
    }
    let (mut exit, mut any) = (Exit::Done, false);
    for batch in wanted {
        let client = session.alone(&batch.provider)?;
        match client.provider().cancel_batch(&batch.key).await {
            Ok(status) => {
                say!("{} ({}): {status}", batch.name(), counted(batch.files, "file"));
                any = true;
            }
            Err(error) => {
                say!("{}: {}", batch.name(), words::of_error(&error));
                exit = Exit::SomeFailed;
            }
        }
    }
    if any {
        say!("the next media run --batch-api delivers what was done by then");
    }
    Ok(exit)
}
