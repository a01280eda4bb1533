//! Limits that hold from one run to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use media_core::{Client, GroupLimits, Result};

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
    let now = Timestamp::now().as_millisecond();
    for (name, client) in clients {
        let http = client.provider().http();
        let windows = http
            .settings()
            .limits
            .groups
            .values()
            .flat_map(GroupLimits::windows);
        let Some(longest) = windows.map(|window| window.length).max() else {
            continue;
        };
        let longest = i64::try_from(longest.as_millis()).unwrap_or(i64::MAX);
        let batch = client.provider().info().capabilities.max_batch.max(1);
        let (mut together, mut last) = (0, None);
        for (spec, at) in reader.sent_since(name, now.saturating_sub(longest))? {
            let Ok(prepared) = project.prepare(&spec, name, folder.out()) else {
                continue;
            };
            let resolved = &prepared.checked.resolved;
            // Those that were written down in one moment may have gone in one call.
            together = if last == Some(at) { together + 1 } else { 0 };
            last = Some(at);
            let units = match together % batch {
                0 => resolved.units.clone(),
                _ => resolved.units.clone().with("requests", 0),
            };
            let ago = u64::try_from(now.saturating_sub(at)).unwrap_or_default();
            http.sent_before(&resolved.group, &units, Duration::from_millis(ago));
        }
    }
    Ok(())
}
