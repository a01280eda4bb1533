//! `media init DIR`: a project folder from the files that are compiled in, so that no checkout is needed.

use std::fs;
use std::path::Path;

use media_core::{Error, ErrorKind, Result};
use media_registry::Registry;
use serde_json::Value;

use crate::args::Init;
use crate::exit::Exit;
use crate::talk::put;

const MEDIA_JSON: &str = include_str!("../../config/media.json");
const WORDS: &str = include_str!("../../examples/words.csv");
const RECIPE: &str = include_str!("../../examples/flashcards.json");

pub(crate) fn run(registry: &Registry, args: &Init) -> Result<Exit> {
    let dir = &args.dir;
    let occupied = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if occupied || dir.is_file() {
        return Err(
            Error::config(format!("{} is there already and not empty", dir.display()))
                .hint("name a new folder"),
        );
    }
    write(&dir.join("config/media.json"), &media_json()?)?;
    for factory in registry.factories() {
        write(
            &dir.join(format!("config/providers/{}.json", factory.name)),
            factory.config,
        )?;
    }
    write(&dir.join("words.csv"), WORDS)?;
    write(&dir.join("flashcards.json"), RECIPE)?;
    put!("{} is ready. Try it without keys or money:", dir.display());
    put!("  cd {} && media run --simulate --out demo", dir.display());
    Ok(Exit::Done)
}

/// The shipped settings, with the list and the recipe that stand beside them.
fn media_json() -> Result<String> {
    let broken = |error: serde_json::Error| {
        Error::new(ErrorKind::Config, "the compiled-in media.json is broken").because(error)
    };
    let mut settings: serde_json::Map<String, Value> = serde_json::from_str(MEDIA_JSON).map_err(broken)?;
    settings.insert("list".to_owned(), Value::from("words.csv"));
    settings.insert("recipe".to_owned(), Value::from("flashcards.json"));
    let text = serde_json::to_string_pretty(&settings).map_err(broken)?;
    Ok(text + "\n")
}

fn write(path: &Path, text: &str) -> Result<()> {
    let failed = |error| Error::storage("cannot write", path, error).not_billed();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}
