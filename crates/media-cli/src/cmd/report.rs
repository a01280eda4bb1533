//! `media report`: a page with every file, what it cost, how long it took, and why others are missing.

use std::collections::BTreeMap;
use std::time::Duration;

use media_core::Result;
use media_engine::{Report as Page, report_path};
use media_registry::Registry;

use crate::args::{Global, Report};
use crate::cmd::status;
use crate::exit::Exit;
use crate::session::Session;
use crate::talk::say;
use crate::words::counted;

pub(crate) fn run(registry: &Registry, global: &Global, args: &Report) -> Result<Exit> {
    let session = Session::load(registry, global, None, None)?;
    let place = session.place(&args.place);
    let reader = status::open(&place.ledger())?;
    let to = args.to.clone().unwrap_or_else(|| report_path(&place.out));
    let mut redo = vec!["media".to_owned(), "redo".to_owned()];
    let mut flags = vec![("--out", Some(place.out.clone()))];
    flags.push(("--ledger", args.place.ledger.clone()));
    flags.push(("--config", global.config.clone()));
    for (flag, value) in flags {
        if let Some(value) = value {
            redo.extend([flag.to_owned(), value.to_string_lossy().into_owned()]);
        }
    }
    let is_simulated = reader.meta("simulated")?.as_deref() == Some("yes");
    if is_simulated {
        redo.push("--simulate".to_owned());
    }
    let page = Page {
        out: &place.out,
        to: &to,
        redo: &redo,
        // The simulator's limits are its own.
        limits: if is_simulated {
            BTreeMap::new()
        } else {
            limits(&session)?
        },
        is_simulated,
    };
    let files = page.write(&reader)?;
    say!("{} in {}", counted(files, "file"), to.display());
    Ok(Exit::Done)
}

/// Files a minute that the limits of each provider allow.
fn limits(session: &Session<'_>) -> Result<BTreeMap<String, f64>> {
    let mut limits = BTreeMap::new();
    for (name, instance) in session.offline()?.instances() {
        let settings = instance.client.provider().http().settings();
        let windows = settings
            .limits
            .groups
            .values()
            .flat_map(media_core::GroupLimits::windows);
        let counted = windows.filter(|window| ["requests", "images"].contains(&window.bucket.as_str()));
        #[expect(clippy::cast_precision_loss, reason = "for a chart")]
        let rates = counted.map(|window| {
            window.limit as f64 * Duration::from_secs(60).as_secs_f64() / window.length.as_secs_f64()
        });
        // Of several groups the widest: the chart is of all of them.
        if let Some(most) = rates.max_by(f64::total_cmp) {
            limits.insert(name.to_owned(), most);
        }
    }
    Ok(limits)
}
