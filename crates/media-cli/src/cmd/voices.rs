//! `media voices`: what there is to choose from for a word, and how to pin a choice.

use media_core::{Candidate, Error, MediaRequest, Result};
use media_registry::Registry;
use serde_json::json;

use crate::args::{Global, Voices};
use crate::exit::Exit;
use crate::session::Session;
use crate::simulate::Simulation;
use crate::talk::put;
use crate::words;

pub(crate) async fn run(registry: &Registry, global: &Global, args: &Voices) -> Result<Exit> {
    let simulation = Simulation::wanted(&args.simulate).await?;
    let session = Session::load(registry, global, simulation)?;
    let name = match &args.provider {
        Some(name) => name.clone(),
        None => only_one(&session)?,
    };
    let client = session.alone(&name)?;
    // The format that decides which recordings can be taken is the first that the provider gives.
    let info = client.info();
    let format = info
        .formats
        .values()
        .flatten()
        .next()
        .map_or("mp3", |format| format.name());
    let request = MediaRequest::audio(&args.word, format!("word.{format}")).language(&args.language);
    let candidates = client.provider().candidates(&request).await?;
    if args.json {
        put!(
            "{}",
            json!({ "v": 1, "provider": name, "word": args.word, "language": args.language, "candidates": candidates })
        );
        return Ok(found(&candidates));
    }
    let fitting = candidates.iter().filter(|candidate| candidate.fits).count();
    put!(
        "{} in {} at {name}: {}, {fitting} that fit",
        args.word,
        args.language,
        words::counted(candidates.len() as u64, "recording")
    );
    show(&candidates, &name);
    Ok(found(&candidates))
}

fn found(candidates: &[Candidate]) -> Exit {
    if candidates.iter().any(|candidate| candidate.fits) {
        Exit::Done
    } else {
        Exit::SomeFailed
    }
}

/// The instance that has something to choose from, where there is one and no other.
fn only_one(session: &Session<'_>) -> Result<String> {
    let project = session.offline()?;
    let mut names = project
        .instances()
        .filter(|(_, instance)| instance.client.info().capabilities.candidates)
        .map(|(name, _)| name.to_owned());
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name),
        (None, _) => Err(Error::config(
            "no provider is configured that has recordings to choose from",
        )),
        (Some(one), Some(other)) => Err(Error::config(format!(
            "{one} and {other} have recordings: say which by --provider"
        ))),
    }
}

/// A table of candidates, and how to take one of them.
pub(crate) fn show(candidates: &[Candidate], provider: &str) {
    for (place, one) in candidates.iter().enumerate() {
        let place = if one.fits {
            (place + 1).to_string()
        } else {
            "-".to_owned()
        };
        put!(
            "  {place:>3}  {:<12} {:<20} {:<2} {:<3} {:>+4}  {}{}",
            one.id.as_deref().unwrap_or("?"),
            one.speaker,
            one.sex.as_deref().unwrap_or("?"),
            one.country.as_deref().unwrap_or("?"),
            one.rate,
            if one.fits { "" } else { "not taken: " },
            one.why
        );
    }
    if let Some((name, value)) = candidates.iter().flat_map(|one| &one.pin).next() {
        put!("take one of them and no other by its id: params.{provider}.{name} = {value}");
        put!("media providers lists what else can be asked of it");
    }
}
