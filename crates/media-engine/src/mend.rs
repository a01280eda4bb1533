//! What an earlier process had paid for and left between two steps is finished before anything else is done.

use std::fs;
use std::path::{Path, PathBuf};

use media_core::{CostBasis, Error, ErrorKind, MADE, Provenance, Result};

use crate::chain::Tried;
use crate::folder::inner_of;
use crate::found::{Found, find, hash_of};
use crate::ledger::{Entry, Finished, JobStatus, Ledger, Made, OpenAttempt, Reader, Settled, TakeRow};
use crate::line::{Line, Subject};
use crate::place;

/// Gives staged files their names, and writes down what was made and not yet written down. Gives the staged files that
/// must stay where they are.
pub(crate) fn finish_staged(
    ledger: &Ledger,
    reader: &Reader,
    out: &Path,
    simulated: bool,
) -> Result<Vec<PathBuf>> {
    let inner = inner_of(out);
    write_down_marked(ledger, &inner)?;
    let mut kept = Vec::new();
    for open in reader.unfinished_files()? {
        let staged = open.attempt.staged.as_ref().map(|name| inner.join(name));
        let Some(entry) = reader.job(&open.job)? else {
            kept.extend(staged);
            continue;
        };
        let former = reader.take(&open.job, entry.take)?;
        // Another take of a job that was made takes the place of the file that it has, and of no other.
        let replaced = former.filter(|_| open.attempt.take > entry.take);
        match give_name(out, &entry, &open, staged.as_deref(), replaced.as_ref())? {
            Placed::Stands => ledger.finished(finished(out, &entry, &open, simulated)?),
            Placed::Blocked => kept.extend(staged),
            Placed::Lost => {
                // That its bytes were here is no use any more.
                ledger.bytes_lost(open.attempt.key.clone(), open.attempt.link.is_some())?;
            }
        }
    }
    ledger.flush()?;
    Ok(kept)
}

/// On a full disk a run could only mark what came with the name of its key. Now it is written down.
fn write_down_marked(ledger: &Ledger, inner: &Path) -> Result<()> {
    let entries = fs::read_dir(inner.join("staging"))
        .into_iter()
        .flatten()
        .flatten();
    for path in entries.map(|entry| entry.path()) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some((key, sha256)) = name.strip_suffix(MADE).zip(hash_of(&path)) else {
            continue;
        };
        let bytes = path.metadata().map_or(0, |file| file.len());
        ledger.bytes_found(key.to_owned(), format!("staging/{name}"), sha256, bytes)?;
    }
    Ok(())
}

enum Placed {
    /// Its file stands at its path.
    Stands,
    /// It is staged, and something else stands at its path.
    Blocked,
    /// Neither is there.
    Lost,
}

fn give_name(
    out: &Path,
    entry: &Entry,
    open: &OpenAttempt,
    staged: Option<&Path>,
    replaced: Option<&TakeRow>,
) -> Result<Placed> {
    let target = out.join(path_of(entry, open));
    let is_it = |path: &Path| open.attempt.sha256.is_some() && hash_of(path) == open.attempt.sha256;
    if is_it(&target) {
        // The rename had happened. What is staged beside it is a copy across file systems.
        return Ok(Placed::Stands);
    }
    let Some(staged) = staged.filter(|staged| is_it(staged)) else {
        return Ok(Placed::Lost);
    };
    if fs::symlink_metadata(&target).is_ok() {
        if replaced.is_none_or(|take| !matches!(find(out, &target, Some(take)), Found::AsMade)) {
            return Ok(Placed::Blocked);
        }
        place::move_aside(out, &target)?;
    }
    if let Err(error) = media_core::prepare(&target) {
        // It waits for its place, and so does nobody else.
        tracing::warn!(%error, path = %target.display(), "what was paid for cannot be given its name");
        return Ok(Placed::Blocked);
    }
    sweep_beside(&target);
    match tempfile::TempPath::try_from_path(staged).map(|path| path.persist_noclobber(&target)) {
        Ok(Ok(())) => Ok(Placed::Stands),
        Ok(Err(failure)) => {
            // Dropping it would delete what was paid for.
            let _ = failure.path.keep();
            Ok(Placed::Blocked)
        }
        Err(error) => {
            Err(Error::new(ErrorKind::Storage, format!("cannot finish {}", target.display())).because(error))
        }
    }
}

/// Where the output is on another file system than its folder, a kill while it was copied leaves the copy beside it.
fn sweep_beside(target: &Path) {
    let entries = target.parent().map(fs::read_dir).into_iter().flatten();
    for path in entries.flatten().flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(".media-") && name.ends_with(".part") {
            // It harms nobody but the eye.
            let _ = fs::remove_file(&path);
        }
    }
}

/// Where its file belongs: a row may have got another path since.
fn path_of<'a>(entry: &'a Entry, open: &'a OpenAttempt) -> &'a str {
    open.attempt.path.as_deref().unwrap_or(&entry.spec.path)
}

fn finished(out: &Path, entry: &Entry, open: &OpenAttempt, simulated: bool) -> Result<Finished> {
    let attempt = &open.attempt;
    let (cost, basis) = (attempt.cost, attempt.basis.unwrap_or(CostBasis::Estimated));
    let subject = Subject {
        id: entry.spec.id.clone(),
        line: entry.spec.line,
        path: path_of(entry, open).to_owned(),
        provider: attempt.provider.clone().unwrap_or_else(|| entry.provider.clone()),
        request: Some(open.hash.short()),
        tried: tried_before(entry),
        is_simulated: simulated,
    };
    let file = place::describe(&out.join(path_of(entry, open)), attempt.sha256.as_deref())?;
    let model = attempt.model.as_ref().unwrap_or(&entry.model);
    let provenance = Provenance::of(&subject.provider, Some(model), attempt.facts.clone());
    let mut line = Line::finished(&subject, &file, &provenance, attempt.number, cost, basis);
    line.take = attempt.take;
    Ok(Finished {
        planned: None,
        id: open.job.clone(),
        take: attempt.take,
        status: Some(JobStatus::Done),
        line: line.to_json()?,
        hash: open.hash,
        attempt: Some(Settled {
            key: attempt.parsed_key()?,
            cost,
            basis: line.cost_basis.clone(),
            is_billed_failure: false,
            is_no_good: false,
        }),
        made: Some(Made {
            path: path_of(entry, open).to_owned(),
            file,
            provenance,
        }),
        shared_with: None,
    })
}

/// Those of its chain that were asked before and did not deliver.
fn tried_before(entry: &Entry) -> Vec<Tried> {
    let line = entry.last_line();
    let mut tried = line.map(|line| line.tried).unwrap_or_default();
    tried.retain(|tried| tried.provider != entry.provider);
    tried
}

#[cfg(test)]
mod tests {
    use media_core::{Attempt, AttemptKey, Cost, Event, Facts, RequestHash, Usd};

    use super::*;
    use crate::Folder;
    use crate::ledger::Planned;
    use crate::list::JobSpec;

    /// The smallest whole WAV file that the walker takes: eight samples.
    fn sound() -> Vec<u8> {
        let mut bytes =
            b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x08\0\0\0"
                .to_vec();
        bytes.extend([128; 8]);
        bytes
    }

    const HASH: RequestHash = RequestHash::from_bytes([7; 32]);

    /// A job of one sound, and the attempt at one of its takes.
    fn job(content: &str, hash: RequestHash, take: u32) -> (Planned, Attempt) {
        let spec: JobSpec = serde_json::from_value(serde_json::json!({
            "id": "a", "line": 2, "kind": "audio", "providers": ["openai"], "content": content, "path": "a.wav",
            "variant": 1, "params": {},
        }))
        .unwrap();
        let planned = Planned {
            spec,
            provider: "openai".to_owned(),
            account: String::new(),
            model: "m".to_owned(),
            asked: [0; 32],
            hash,
            take,
            is_redo: take > 1,
            listed: Some(Usd::from_micros(900)),
            estimate: Some(Usd::from_micros(900)),
        };
        let attempt = Attempt {
            job: "a".to_owned(),
            request: hash,
            take,
            number: 1,
        };
        (planned, attempt)
    }

    /// Begins a job and stops, as a kill would, when its bytes are staged.
    fn kill_after_staging(out: &Path, (planned, attempt): (Planned, Attempt), bytes: &[u8]) -> PathBuf {
        let folder = Folder::open(out, None, false).unwrap();
        let key = AttemptKey::compute(folder.project(), &attempt);
        folder.ledger().planned(planned);
        let staged = folder.staging().join("x.part");
        fs::write(&staged, bytes).unwrap();
        let events = [
            Event::Sending {
                attempt: attempt.clone(),
                batch: None,
            },
            Event::Have {
                attempt,
                sha256: hash_of(&staged).unwrap(),
                bytes: bytes.len() as u64,
                staged: std::path::absolute(&staged).unwrap(),
                target: out.join("a.wav"),
                facts: Box::new(Facts::default()),
                cost: Some(Cost {
                    usd: Usd::from_micros(777),
                    basis: CostBasis::Computed,
                }),
            },
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let journal = folder.ledger().journal();
        for event in events {
            runtime.block_on(journal.record(&[(key, event)])).unwrap();
        }
        folder.close().unwrap();
        staged
    }

    #[test]
    fn what_a_kill_left_staged_gets_its_name_and_the_cost_that_was_known() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("out");
        let staged = kill_after_staging(&out, job("x", HASH, 1), &sound());
        let folder = Folder::open(&out, None, false).unwrap();
        let reader = folder.ledger().reader().unwrap();
        let line = reader.job("a").unwrap().unwrap().last_line().unwrap();
        assert_eq!(
            (line.cost_usd, line.cost_basis.as_str()),
            (Some(0.000_777), "computed")
        );
        assert_eq!(line.request.as_deref(), Some(HASH.short().as_str()));
        assert!(out.join("a.wav").exists() && !staged.exists());
        assert_eq!(reader.spending().unwrap().total, Usd::from_micros(777));
    }

    #[test]
    fn a_job_becomes_what_a_killed_redo_of_it_was_for() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("out");
        kill_after_staging(&out, job("old", HASH, 1), &sound());
        let (new, mut other) = (RequestHash::from_bytes([8; 32]), sound());
        other.extend([128; 8]);
        other[40] = 16;
        other[4] += 8;
        kill_after_staging(&out, job("new", new, 2), &other);
        let folder = Folder::open(&out, None, false).unwrap();
        let reader = folder.ledger().reader().unwrap();
        let entry = reader.job("a").unwrap().unwrap();
        assert_eq!(
            (entry.spec.content.as_str(), entry.hash, entry.take),
            ("new", new, 2)
        );
        assert_eq!(fs::read(out.join("a.wav")).unwrap(), other);
    }
}
