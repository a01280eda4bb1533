//! `media report`: a page with every file, what it cost, how long it took, and why others are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageReader, Limits, Rgba, RgbaImage, imageops};
use media_core::{Format, GroupLimits, MediaKind, Resolved, Result, format_of};
use media_engine::{Embed, Reader, Report as Page, report_path};
use media_registry::Registry;

use crate::args::{Global, Report};
use crate::exit::Exit;
use crate::session::Session;
use crate::talk::say;
use crate::words::{self, counted};

pub(crate) fn run(registry: &Registry, global: &Global, args: &Report) -> Result<Exit> {
    let session = Session::load(registry, global, None)?;
    let place = session.place(&args.place);
    media_engine::check_ledger_place(&place.out, place.named_ledger())?;
    let reader = place.reader()?;
    let to = args.to.clone().unwrap_or_else(|| report_path(&place.out));
    let mut redo = vec!["media".to_owned(), "redo".to_owned()];
    for (flag, value) in [
        ("--out", Some(&place.out)),
        ("--ledger", args.place.ledger.as_ref()),
        ("--config", global.config.as_ref()),
    ] {
        if let Some(value) = value {
            redo.extend([flag.to_owned(), value.to_string_lossy().into_owned()]);
        }
    }
    let is_simulated = reader.is_simulated()?;
    if is_simulated {
        redo.push("--simulate".to_owned());
    }
    let page = Page {
        out: &place.out,
        to: &to,
        redo: &redo,
        here: words::here,
        // The simulator's limits are its own.
        limits: if is_simulated {
            BTreeMap::new()
        } else {
            limits(&session, &reader, &place.out)?
        },
        is_simulated,
        embed: args.embed.then_some(&Small as &dyn Embed),
    };
    let files = page.write(&reader)?;
    say!("{} in {}", counted(files, "file"), to.display());
    Ok(Exit::Done)
}

/// Pictures as thumbnails, sounds as they are.
#[derive(Debug)]
struct Small;

impl Small {
    /// Twice what the page shows a picture at, for dense screens.
    const PIXELS: u32 = 320;
    /// A longer sound is better played from where it is.
    const MOST_OF_SOUND: u64 = 1 << 20;

    fn thumbnail(file: &Path) -> Option<String> {
        let mut reader = ImageReader::open(file).ok()?.with_guessed_format().ok()?;
        reader.limits(Limits::default());
        let small = reader.decode().ok()?.thumbnail(Small::PIXELS, Small::PIXELS);
        let mut bytes = Vec::new();
        // JPEG has no transparency; what shows through is the page's white.
        let mut flat = RgbaImage::from_pixel(small.width(), small.height(), Rgba([255; 4]));
        imageops::overlay(&mut flat, &small.to_rgba8(), 0, 0);
        let flat = DynamicImage::ImageRgba8(flat).into_rgb8();
        JpegEncoder::new_with_quality(&mut bytes, 75)
            .encode_image(&flat)
            .ok()?;
        Some(address("image/jpeg", &bytes))
    }

    fn sound(file: &Path) -> Option<String> {
        if file.metadata().ok()?.len() > Small::MOST_OF_SOUND {
            return None;
        }
        let kind = match format_of(file).ok()? {
            Format::Mp3 => "audio/mpeg",
            Format::Wav => "audio/wav",
            Format::Ogg | Format::Opus => "audio/ogg",
            Format::Flac => "audio/flac",
            _ => return None,
        };
        Some(address(kind, &std::fs::read(file).ok()?))
    }
}

impl Embed for Small {
    fn embed(&self, file: &Path, kind: MediaKind) -> Option<String> {
        match kind {
            MediaKind::Image => Small::thumbnail(file),
            MediaKind::Audio => Small::sound(file),
        }
    }
}

fn address(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", BASE64_STANDARD.encode(bytes))
}

/// Files a minute that the limits of each provider allow for what was asked of it.
fn limits(session: &Session<'_>, reader: &Reader, out: &Path) -> Result<BTreeMap<String, f64>> {
    let project = session.offline()?;
    let mut groups: BTreeMap<(String, String), Resolved> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    reader.each_job(|job| {
        // One of each sort tells by which limits all of it is paced; who is not configured any more has none.
        if seen.insert((job.provider.clone(), job.spec.kind, job.model.clone()))
            && let Ok(resolved) = project.resolved(&job.spec, &job.provider, out)
        {
            groups.insert((job.provider, resolved.group.clone()), resolved);
        }
        Ok(())
    })?;
    let mut limits = BTreeMap::new();
    for ((name, group), resolved) in groups {
        let provider = project.client(&name)?.provider();
        let (settings, together) = (provider.http().settings(), provider.info().capabilities.max_batch);
        let windows = settings.limits.groups.get(&group).map(GroupLimits::windows);
        let counted = windows.into_iter().flatten();
        let counted = counted.filter(|window| ["requests", "images"].contains(&window.bucket.as_str()));
        #[expect(clippy::cast_precision_loss, reason = "for a chart")]
        let rates = counted.map(|window| {
            // One request may ask for several files, or a file need several calls.
            let is_joint = window.bucket == "requests" && resolved.calls <= 1;
            let files = if is_joint { together } else { 1 };
            let units = (resolved.units.of(&window.bucket) * u64::from(resolved.calls.max(1))).max(1);
            window.limit as f64 * files as f64 / units as f64 * 60.0 / window.length.as_secs_f64()
        });
        // All of a group's limits bind; a provider's groups go on side by side.
        let rate = rates.min_by(f64::total_cmp).unwrap_or(f64::INFINITY);
        *limits.entry(name).or_insert(0.0) += rate;
    }
    limits.retain(|_, rate: &mut f64| rate.is_finite());
    Ok(limits)
}
