//! `media report`: a page with every file, what it cost, how long it took, and why others are missing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageReader, Limits, Rgba, RgbaImage, imageops};
use media_core::{Format, MediaKind, Result, format_of};
use media_engine::{Embed, Report as Page, report_path};
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
    media_engine::check_ledger_place(&place.out, place.named_ledger())?;
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
