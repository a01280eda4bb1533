//! What can be told without a call: flags, formats, and the offline check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use media_core::{Charge, Client, ErrorKind, Format, MediaKind, MediaProvider, MediaRequest};

use crate::cases::{Case, Cases};
use crate::finding::Findings;
use crate::play::{Make, Play};

/// A name that no provider gives to a parameter.
const UNKNOWN: &str = "no_such_parameter";

pub(crate) fn look(make: Make<'_>, cases: &Cases, found: &mut Findings) {
    let play = Play::new(make, cases, &[], None);
    if cases.key.len() < 8 {
        found.add(
            "the key of the cases is too short to be looked for",
            "use eight characters or more",
        );
    }
    info(play.provider.as_ref(), found);
    if format!("{:?}", play.provider).contains(&cases.key) {
        found.add(
            "its Debug output shows the key",
            "wrap the key in an ApiKey and nothing else",
        );
    }
    let other = Play::new(make, cases, &[], None);
    for case in cases.cases() {
        check(&play, &other, case, found);
        unknown(&play, case, found);
    }
    unsupported(&play, cases, found);
    for (why, request) in &cases.refused {
        match Client::of(play.provider.clone()).check(request) {
            Ok(_) => found.add("it accepts what it should refuse", why),
            Err(error) if !error.kind().is_lasting() => {
                found.add(
                    "it refuses a request as something else than wrong",
                    format!("{why}: {}", error.kind()),
                );
            }
            Err(error) if error.to_string().contains(&cases.key) => found.add("an error shows the key", why),
            Err(_) => {}
        }
    }
    if !play.sent().is_empty() || !other.sent().is_empty() {
        found.add(
            "the offline check sends",
            play.arrivals()
                .iter()
                .map(|call| call.shown.clone())
                .collect::<String>(),
        );
    }
}

fn info(provider: &dyn MediaProvider, found: &mut Findings) {
    const RULE: &str = "its description contradicts itself";
    let info = provider.info();
    let flags = info.capabilities;
    if info.name.is_empty() || info.provider.is_empty() {
        found.add(RULE, "it has no name");
    }
    if info.formats.is_empty() {
        found.add(RULE, "it makes nothing");
    }
    for (kind, formats) in &info.formats {
        if formats.is_empty() {
            found.add(RULE, format!("it makes {kind} in no format: leave the kind out"));
        }
        if let Some(format) = formats.iter().find(|format| format.kind() != *kind) {
            found.add(RULE, format!("{format} is not a format for {kind}"));
        }
        if formats
            .iter()
            .map(|format| format.name())
            .collect::<BTreeSet<_>>()
            .len()
            != formats.len()
        {
            found.add(RULE, format!("a format of {kind} is listed twice"));
        }
    }
    match (flags.batch_supported, flags.max_batch) {
        (_, 0) => found.add(RULE, "max_batch is 0: no call could take a job"),
        (true, 1) => found.add(RULE, "it supports batches, of at most 1"),
        (false, 2..) => found.add(
            RULE,
            format!("it supports no batches, of up to {}", flags.max_batch),
        ),
        _ => {}
    }
}

fn renamed(request: &MediaRequest) -> MediaRequest {
    let extension = request.output_path.extension().unwrap_or_default();
    let mut other = request.clone().id("another-id");
    other.output_path = Path::new("another folder")
        .join("another name")
        .with_extension(extension);
    other
}

fn check(play: &Play, other: &Play, case: &Case, found: &mut Findings) {
    const RULE: &str = "a resolved request is not usable";
    let name = &case.name;
    let resolved = match play.provider.check(&case.request) {
        Ok(resolved) => resolved,
        Err(error) => return found.add("the check refuses a recorded request", format!("{name}: {error}")),
    };
    for (again, how) in [
        (play.provider.check(&case.request), "asked twice"),
        (other.provider.check(&case.request), "asked another instance"),
        (
            play.provider.check(&renamed(&case.request)),
            "asked for another path and id",
        ),
    ] {
        if again.ok().as_ref() != Some(&resolved) {
            found.add("the check is not the same every time", format!("{name}: {how}"));
        }
    }
    if resolved.model.is_empty() || resolved.content.is_empty() || resolved.group.is_empty() {
        found.add(RULE, format!("{name}: model, content or group is empty"));
    }
    if resolved.calls == 0 {
        found.add(RULE, format!("{name}: it needs no call"));
    }
    if media_core::format_of(&case.request.output_path).ok() != Some(resolved.format) {
        found.add(
            RULE,
            format!("{name}: {} is not what the path asks for", resolved.format),
        );
    }
}

fn unknown(play: &Play, case: &Case, found: &mut Findings) {
    let request = case.request.clone().param(UNKNOWN, "x");
    match play.provider.check(&request) {
        Ok(_) => found.add("it ignores an unknown parameter", &case.name),
        Err(error) if error.kind() != ErrorKind::InvalidRequest => {
            found.add(
                "it refuses an unknown parameter as something else",
                format!("{}: {}", case.name, error.kind()),
            );
        }
        Err(error) if !error.full().contains(UNKNOWN) => {
            found.add(
                "it refuses an unknown parameter without naming it",
                format!("{}: {error}", case.name),
            );
        }
        Err(_) => {}
    }
}

fn unsupported(play: &Play, cases: &Cases, found: &mut Findings) {
    let formats = &play.provider.info().formats;
    let client = Client::of(play.provider.clone());
    for kind in [MediaKind::Image, MediaKind::Audio] {
        let known = formats.get(&kind).cloned().unwrap_or_default();
        // As like a good one as can be, so that nothing else is wrong with it.
        let like = cases
            .cases()
            .iter()
            .find(|case| case.request.kind == kind)
            .map(|case| case.request.clone());
        let like = like.unwrap_or_else(|| match kind {
            MediaKind::Image => MediaRequest::image("a dog", "dog.png"),
            MediaKind::Audio => MediaRequest::audio("a dog", "dog.mp3"),
        });
        for format in Format::ALL.into_iter().filter(|format| !known.contains(format)) {
            let path = PathBuf::from(format!("dog.{}", format.name()));
            let request = MediaRequest {
                output_path: path,
                ..like.clone()
            };
            let what = || format!("{kind} as {format}");
            match client.check(&request) {
                Ok(_) => found.add("it accepts a format that it does not give", what()),
                Err(error) if error.charge() != Some(Charge::None) => {
                    found.add("a refusal before anything was sent is not free", what());
                }
                Err(_) => {}
            }
        }
    }
}
