//! Several providers for one file: which of them a job is at, and when it passes on to the next.

use media_core::{Candidate, Charge, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::ledger::{Entry, JobStatus, Reader, asked, has_format_of};
use crate::line::{Line, LineError};
use crate::list::JobSpec;

/// A provider that was asked and did not deliver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The provider instance.
    pub provider: String,
    /// Why it did not.
    pub kind: String,
    /// What it had, of which nothing was taken, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// Where a job stands in its chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The provider that it is at.
    pub(crate) provider: String,
    /// Those that were asked before.
    pub(crate) tried: Vec<Tried>,
}

/// Where a job stands, by what the ledger knows of it and of equal rows.
pub(crate) fn standing(spec: &JobSpec, reader: Option<&Reader>) -> Result<Standing> {
    let own = own_standing(spec, reader)?;
    Ok(equal_standing(spec, reader, &own)?.unwrap_or(own))
}

/// Where a job stands by what the ledger knows of it: at the provider that was asked last, or at the next one where that
/// failed in a way that passes on.
pub(crate) fn own_standing(spec: &JobSpec, reader: Option<&Reader>) -> Result<Standing> {
    let first = Standing {
        provider: spec.providers.first().cloned().unwrap_or_default(),
        tried: Vec::new(),
    };
    let (Some(reader), true) = (reader, spec.providers.len() > 1) else {
        return Ok(first);
    };
    let Some(entry) = reader.job(&spec.id)? else {
        return Ok(first);
    };
    // Another take of it was sent, by a redo that may have passed on: it is where that can be fetched.
    let open = reader.open_redo(&spec.id, entry.take, None)?;
    let at = open.and_then(|attempt| attempt.provider);
    if let Some(provider) = at.filter(|at| spec.providers.contains(at)) {
        return Ok(Standing {
            provider,
            tried: Vec::new(),
        });
    }
    Ok(after(spec, &entry).unwrap_or(first))
}

/// Where an equal row has come to, if that is further: what it has there, or asks for there, is this one's too. It is looked
/// at before a run begins: while one goes on, another lane may be taking that row further.
pub(crate) fn equal_standing(
    spec: &JobSpec,
    reader: Option<&Reader>,
    own: &Standing,
) -> Result<Option<Standing>> {
    let (Some(reader), true) = (reader, spec.providers.len() > 1) else {
        return Ok(None);
    };
    if let Some(entry) = reader.job(&spec.id)? {
        let is_unchanged = entry.asked == asked(spec);
        if is_unchanged && (entry.status == JobStatus::Done || reader.has_open_attempt(&spec.id)?) {
            return Ok(None);
        }
    }
    let place = |provider: &str| spec.providers.iter().position(|name| name == provider);
    let mut furthest = None;
    for equal in reader.jobs_asking(&asked(spec), &spec.id)? {
        if let Some(other) = after(spec, &equal).filter(|_| has_format_of(&equal.spec.path, &spec.path))
            && place(&other.provider) > place(&furthest.as_ref().unwrap_or(own).provider)
        {
            furthest = Some(other);
        }
    }
    Ok(furthest)
}

/// The provider that a job is at.
///
/// # Errors
/// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
pub fn stands_at(spec: &JobSpec, reader: &Reader) -> Result<String> {
    Ok(standing(spec, Some(reader))?.provider)
}

fn after(spec: &JobSpec, entry: &Entry) -> Option<Standing> {
    let line = entry.last_line();
    if entry.asked != asked(spec) {
        // The row was changed: it begins at the front.
        return None;
    }
    let mut tried = line.as_ref().map(tried_with).unwrap_or_default();
    let error = line.and_then(|line| line.error);
    let failed = error.filter(|_| entry.status == JobStatus::Failed);
    let next = failed.and_then(|error| next(spec, &entry.provider, &error));
    if next.is_none() {
        // It is asked again itself.
        tried.retain(|tried| tried.provider != entry.provider);
    }
    Some(Standing {
        provider: next.unwrap_or(&entry.provider).to_owned(),
        tried,
    })
}

/// Those that did not deliver by this result, its own provider among them, even where it could not be asked.
pub(crate) fn tried_with(line: &Line) -> Vec<Tried> {
    let mut tried = line.tried.clone();
    let Some(error) = &line.error else { return tried };
    let is_last = |tried: &Tried| tried.provider == line.provider;
    let own = tried.iter().position(is_last).map(|place| tried.remove(place));
    let mut last = own.unwrap_or_else(|| Tried {
        provider: line.provider.clone(),
        kind: error.kind.clone(),
        candidates: Vec::new(),
    });
    last.candidates.clone_from(&error.candidates);
    tried.push(last);
    tried
}

/// Who is asked after this provider failed like this. Nobody when it may have been billed: a second provider would be a
/// second purchase.
pub(crate) fn next<'s>(spec: &'s JobSpec, provider: &str, error: &LineError) -> Option<&'s str> {
    let passes = |kind: &ErrorKind| kind.as_str() == error.kind;
    let may_pass = error.charge == Charge::None.as_str()
        && (passes(&ErrorKind::NotFound) || spec.next_when.iter().any(passes));
    let place = spec.providers.iter().position(|name| name == provider)?;
    spec.providers
        .get(place + 1)
        .filter(|_| may_pass)
        .map(String::as_str)
}

/// Those that can still be asked after this one.
pub(crate) fn fallbacks<'s>(spec: &'s JobSpec, provider: &str) -> &'s [String] {
    let place = spec.providers.iter().position(|name| name == provider);
    place
        .and_then(|place| spec.providers.get(place + 1..))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> JobSpec {
        serde_json::from_value(serde_json::json!({
            "id": "a", "line": 2, "kind": "audio", "providers": ["forvo", "runware", "openai"], "content": "x",
            "next_when": ["quota_exhausted"], "path": "a.mp3", "variant": 1, "params": {},
        }))
        .unwrap()
    }

    fn error(kind: &str, charge: &str) -> LineError {
        LineError {
            kind: kind.to_owned(),
            charge: charge.to_owned(),
            ..LineError::default()
        }
    }

    #[test]
    fn it_passes_on_for_what_is_named_and_never_after_a_charge() {
        let spec = spec();
        let next = |kind, charge| super::next(&spec, "forvo", &error(kind, charge));
        assert_eq!(next("not_found", "none"), Some("runware"));
        assert_eq!(next("quota_exhausted", "none"), Some("runware"));
        assert_eq!(next("rate_limited", "none"), None);
        assert_eq!(next("not_found", "certain"), None);
        assert_eq!(next("not_found", "unknown"), None);
        assert_eq!(super::next(&spec, "openai", &error("not_found", "none")), None);
        assert_eq!(fallbacks(&spec, "runware"), ["openai"]);
    }
}
