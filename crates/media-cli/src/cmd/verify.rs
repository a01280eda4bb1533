//! `media verify`: looks at media files the way a run does before it gives them their name.

use std::fs;
use std::io::Seek as _;
use std::path::{Path, PathBuf};

use media_core::{Error, ErrorKind, Format, MediaKind, Result, format_of, validate};

use crate::args::Verify;
use crate::exit::Exit;
use crate::talk::{put, say};
use crate::words::counted;

pub(crate) fn run(args: &Verify) -> Result<Exit> {
    let mut files = Vec::new();
    let mut unreadable = Vec::new();
    for path in &args.paths {
        if let Err(error) = collect(path, true, &mut files) {
            unreadable.push(error);
        }
    }
    files.sort();
    for error in &unreadable {
        if files.is_empty() {
            return Err(error.clone());
        }
        // It says nothing about the others.
        say!("error: {}", error.full());
    }
    let mut bad = 0;
    for path in &files {
        match look(path) {
            Ok(what) => put!("ok   {}  {what}", path.display()),
            Err(why) => {
                bad += 1;
                put!("BAD  {}  {why}", path.display());
            }
        }
    }
    let unread = match unreadable.len() {
        0 => String::new(),
        count => format!(", {count} that could not be read"),
    };
    say!("{}, {bad} bad{unread}", counted(files.len() as u64, "file"));
    Ok(if bad > 0 || !unreadable.is_empty() {
        Exit::SomeFailed
    } else {
        Exit::Done
    })
}

/// Media files under `path`; a file that was named itself is looked at whatever its name.
fn collect(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |error| {
        Error::new(ErrorKind::Config, format!("cannot read {}", path.display()))
            .because(error)
            .not_billed()
    };
    // Links are followed where they were named, not below: they can lead in circles.
    let kind = if named {
        fs::metadata(path)
    } else {
        fs::symlink_metadata(path)
    }
    .map_err(failed)?;
    if kind.is_dir() {
        if path.file_name().is_some_and(|name| name == ".media") && !named {
            return Ok(());
        }
        for entry in fs::read_dir(path).map_err(failed)? {
            collect(&entry.map_err(failed)?.path(), false, files)?;
        }
    } else if named || format_of(path).is_ok() {
        files.push(path.to_owned());
    }
    Ok(())
}

fn look(path: &Path) -> std::result::Result<String, String> {
    // Opening a pipe would wait for somebody to write into it.
    if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut file = fs::File::open(path).map_err(|error| error.to_string())?;
    let inspection = validate::inspect_reader(&file)
        .map_err(|error| error.to_string())?
        .map_err(|defect| defect.to_string())?;
    let format: Format = inspection.format;
    if let Ok(wanted) = format_of(path)
        && !format.satisfies(wanted)
    {
        return Err(format!("{format} under the name of {wanted}"));
    }
    if !inspection.mends.is_empty() {
        return Err("its header holds placeholders for its sizes".to_owned());
    }
    file.rewind().map_err(|error| error.to_string())?;
    let decoded = match format.kind() {
        MediaKind::Image => validate::decode_image(file, format, validate::DecodeLimits::default()).map(drop),
        MediaKind::Audio => validate::decode_audio(file, format).map(drop),
    };
    decoded.map_err(|defect| defect.to_string())?;
    let size = inspection
        .dimensions
        .map(|size| format!(" {}x{}", size.width, size.height))
        .unwrap_or_default();
    let time = inspection
        .duration
        .map(|time| format!(" {:.2} s", time.as_secs_f64()))
        .unwrap_or_default();
    Ok(format!("{format}{size}{time}"))
}
