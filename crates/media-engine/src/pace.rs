//! Limits that hold from one run to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use media_core::{Client, GroupLimits, Resolved, Result};

use crate::folder::Folder;
use crate::ledger::Reader;
use crate::project::Project;

/// What earlier runs of this folder sent a moment ago counts in the windows of the limits: whoever kills a run and begins it
/// again at once is in the same minute of the service.
pub(crate) fn keep_pace(
    clients: &BTreeMap<String, Client>,
    project: &Project,
    folder: &Folder,
    reader: &Reader,
) -> Result<()> {
    if folder.is_simulated() {
        // The simulator of this run has seen nothing yet.
        return Ok(());
    }
    let now = Timestamp::now().as_millisecond();
    let mut sends = Vec::new();
    for (name, client) in clients {
        let limits = &client.provider().http().settings().limits;
        let windows = limits.groups.values().flat_map(GroupLimits::windows);
        let Some(longest) = windows.map(|window| window.length).max() else {
            continue;
        };
        let longest = i64::try_from(longest.as_millis()).unwrap_or(i64::MAX);
        let batch = client.info().capabilities.max_batch.max(1);
        let (mut together, mut last) = (0, None);
        for (spec, at) in reader.sent_since(name, now.saturating_sub(longest))? {
            let Ok(prepared) = project.prepare(&spec, name, folder.out()) else {
                continue;
            };
            let Resolved { group, mut units, .. } = prepared.checked.resolved;
            // Those that were written down in one moment may have gone in one call.
            together = if last == Some(at) { together + 1 } else { 0 };
            last = Some(at);
            if together % batch != 0 {
                units = units.with("requests", 0);
            }
            sends.push((at, client, group, units));
        }
    }
    // Instances may share an account, and so its limits.
    sends.sort_by_key(|(at, ..)| *at);
    for (at, client, group, units) in sends {
        let ago = u64::try_from(now.saturating_sub(at)).unwrap_or_default();
        let http = client.provider().http();
        http.sent_before(&group, &units, Duration::from_millis(ago));
    }
    Ok(())
}
