//! Recipes: what to make of the rows of a table with any columns.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use media_core::validate::{NamePolicy, check_relative_path};
use media_core::{ErrorKind, MediaKind};
use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

use super::cut::Rules;
use super::json::Json;
use super::problem::{ListError, listed, quoted};
use super::recipe_json::{Keys, Mistakes, at, entries};
use super::template::{Template, key_of};
use super::text::BOM;

/// No recipe is larger.
const MAX_RECIPE: u64 = 1 << 20;

/// A recipe as its file says, checked in itself; [`bind`](Recipe::bind) checks it against a list.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(super) file: Arc<Path>,
    /// As compared.
    pub(super) needs: Vec<String>,
    pub(super) fields: Vec<Field>,
    outputs: Vec<Output>,
    table: Option<Table>,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    /// As written.
    pub(super) name: String,
    /// As compared.
    pub(super) key: String,
    pub(super) from: String,
    pub(super) rules: Rules,
}

/// One file to make of every row.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// Its name: the job's id is the row's id, a slash and this.
    pub name: String,
    /// Picture or sound.
    pub kind: MediaKind,
    /// Who is asked, in order.
    pub providers: Vec<String>,
    /// Failures, besides `not_found`, after which the next provider is asked.
    pub next_when: Vec<ErrorKind>,
    /// Which variant of an otherwise equal request this is.
    pub variant: u32,
    pub(super) content: Vec<Template>,
    pub(super) path: Template,
    pub(super) language: Option<Template>,
    pub(super) params: Vec<(String, Vec<(String, Param)>)>,
}

#[derive(Clone, Debug)]
pub(super) enum Param {
    Value(Value),
    Template(Template),
}

/// The table to write for Anki.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Where it goes, below the output folder.
    pub path: String,
    /// The deck, where one is named.
    pub deck: Option<String>,
    /// Names as Anki shows them, and templates; `picture.tag` and `picture.credit` stand among their columns.
    pub(super) columns: Vec<(String, Template)>,
}

impl Recipe {
    /// Reads and checks a recipe.
    ///
    /// # Errors
    /// Every mistake in it, with its key.
    pub(crate) fn read(path: &Path) -> Result<Recipe, ListError> {
        let failed = |error| ListError::io("read", path, error);
        let wrong = |problem: String| ListError::Recipe {
            path: path.to_owned(),
            problems: vec![problem],
        };
        let metadata = path.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(wrong("this is not a file".to_owned()));
        }
        if metadata.len() > MAX_RECIPE {
            return Err(wrong(format!(
                "this is larger than {} MiB: not a recipe",
                MAX_RECIPE >> 20
            )));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let Ok(text) = std::str::from_utf8(bytes.strip_prefix(BOM).unwrap_or(&bytes)) else {
            return Err(wrong(
                "this is not UTF-8 text; a recipe is JSON, saved as UTF-8".to_owned(),
            ));
        };
        if text.trim().is_empty() {
            return Err(wrong("this is empty; media init writes an example".to_owned()));
        }
        Recipe::parse(path, text)
    }

    /// Checks a recipe that was read before; `path` is for messages.
    ///
    /// # Errors
    /// Every mistake in it, with its key.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Recipe, ListError> {
        let failed = |problems| ListError::Recipe {
            path: path.to_owned(),
            problems,
        };
        let json = Json::parse(text).map_err(|error| {
            let (line, character) = (error.line, error.character);
            failed(vec![format!(
                "this is not JSON, at line {line}, character {character}: {}",
                error.message
            )])
        })?;
        let mut mistakes = Mistakes::default();
        let recipe = recipe(path, json.without_remarks(), &mut mistakes);
        if mistakes.0.is_empty() {
            Ok(recipe)
        } else {
            Err(failed(mistakes.0))
        }
    }

    /// What is made of every row, in order.
    #[must_use]
    pub(crate) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The table to write, if any.
    #[must_use]
    pub(crate) fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// What the names of its files must be fit for.
    #[must_use]
    pub(crate) fn name_policy(&self) -> NamePolicy {
        if self.table.is_some() {
            NamePolicy::Anki
        } else {
            NamePolicy::Portable
        }
    }
}

fn recipe(path: &Path, json: Json, mistakes: &mut Mistakes) -> Recipe {
    let mut keys = Keys::of("", json, mistakes);
    let needs: Vec<String> = keys
        .texts("needs", mistakes)
        .iter()
        .map(|name| key_of(name).into_owned())
        .collect();
    let fields = match keys.take("fields") {
        Some(json) => entries("fields", json, mistakes)
            .into_iter()
            .map(|(name, json)| field(&name, json, mistakes))
            .collect(),
        None => Vec::new(),
    };
    let (mut outputs, mut names) = (Vec::new(), Vec::new());
    if let Some(json) = keys.need("outputs", mistakes) {
        for (name, json) in entries("outputs", json, mistakes) {
            names.push(name.clone());
            outputs.extend(output(name, json, mistakes));
        }
        if outputs.is_empty() && mistakes.0.is_empty() {
            mistakes.add("outputs", "is empty; name at least one file to make of every row");
        }
    }
    let table = keys.take("table").map(|json| table(json, &names, mistakes));
    keys.end(mistakes);
    let recipe = Recipe {
        file: path.into(),
        needs,
        fields,
        outputs,
        table,
    };
    let mut seen = HashSet::new();
    for field in &recipe.fields {
        if !seen.insert(&field.key) {
            mistakes.add(
                "fields",
                format!("{} is there twice; case does not count", quoted(&field.name)),
            );
        }
        if recipe.needs.contains(&field.key) {
            mistakes.add(
                "needs",
                format!(
                    "{} is a field of this recipe; name columns of the list",
                    quoted(&field.name)
                ),
            );
        }
    }
    let mut seen = HashSet::new();
    for output in &recipe.outputs {
        if !seen.insert(key_of(&output.name)) {
            mistakes.add(
                "outputs",
                format!("{} is there twice; case does not count", quoted(&output.name)),
            );
        }
    }
    recipe
}

fn field(name: &str, json: Json, mistakes: &mut Mistakes) -> Field {
    let path = at("fields", name);
    let mut keys = Keys::of(&path, json, mistakes);
    let from = key_of(&keys.need_text("from", mistakes)).into_owned();
    // Cells are compared in normal form C.
    let mut normal = |key: &'static str, mistakes: &mut Mistakes| -> Vec<String> {
        let texts = keys.texts(key, mistakes);
        if texts.iter().any(String::is_empty) {
            mistakes.add(&keys.at(key), "has an empty text, which is everywhere");
        }
        texts.iter().map(|text| text.nfc().collect()).collect()
    };
    let cut_at = normal("cut_at", mistakes);
    let drop_prefix = normal("drop_prefix", mistakes);
    let drop_characters = keys
        .text("drop_characters", mistakes)
        .unwrap_or_default()
        .nfc()
        .collect();
    keys.end(mistakes);
    if name.trim().is_empty() || name.contains(['{', '}', '|']) {
        mistakes.add(
            &path,
            "this name cannot be used in a template; use letters, digits and _",
        );
    }
    let rules = Rules {
        cut_at,
        drop_prefix,
        drop_characters,
    };
    Field {
        name: name.trim().to_owned(),
        key: key_of(name).into_owned(),
        from,
        rules,
    }
}

fn output(name: String, json: Json, mistakes: &mut Mistakes) -> Option<Output> {
    let path = at("outputs", &name);
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
    {
        mistakes.add(
            &path,
            "a name of an output has letters, digits, _ and - only: it is part of the job's id",
        );
    }
    let mut keys = Keys::of(&path, json, mistakes);
    let kind = match keys.need_text("kind", mistakes).as_str() {
        "image" => Some(MediaKind::Image),
        "audio" => Some(MediaKind::Audio),
        // Missing or no text, which is told already.
        "" => None,
        other => {
            mistakes.add(
                &keys.at("kind"),
                format!("{} is not a kind; write image or audio", quoted(other)),
            );
            None
        }
    };
    let providers = keys.texts("provider", mistakes);
    if let Some(message) = chain_problem(&providers) {
        mistakes.add(&keys.at("provider"), message);
    }
    let content = keys.texts("content", mistakes);
    let key = keys.at("content");
    if content.is_empty() {
        mistakes.add(&key, "is missing; write a template such as \"{word}\"");
    }
    let content = content
        .iter()
        .map(|source| template(&key, source, mistakes))
        .collect();
    let source = keys.need_text("path", mistakes);
    let file = template(&keys.at("path"), &source, mistakes);
    let language = keys.text("language", mistakes);
    let language = language.map(|source| template(&keys.at("language"), &source, mistakes));
    let variant = match keys.take("variant") {
        None => 1,
        Some(json) => variant(&json).unwrap_or_else(|message| {
            mistakes.add(&keys.at("variant"), message);
            1
        }),
    };
    let params = keys
        .take("params")
        .map(|json| params(&keys.at("params"), json, &providers, mistakes));
    let key = keys.at("next_when");
    let next_when = keys.texts("next_when", mistakes);
    let next_when = next_when
        .into_iter()
        .filter_map(|name| {
            let kind = error_kind(&name);
            kind.map_err(|message| mistakes.add(&key, message)).ok()
        })
        .collect();
    keys.end(mistakes);
    let (kind, params) = (kind?, params.unwrap_or_default());
    Some(Output {
        name,
        kind,
        providers,
        next_when,
        variant,
        content,
        path: file,
        language,
        params,
    })
}

/// What is wrong with a chain of providers.
pub(super) fn chain_problem(providers: &[String]) -> Option<String> {
    if providers.is_empty() || providers.iter().any(|name| name.trim().is_empty()) {
        return Some("a provider's name is missing; write one, or several to ask in order".to_owned());
    }
    let mut seen = HashSet::new();
    let twice = providers.iter().find(|name| !seen.insert(name.as_str()))?;
    Some(format!("{} is there twice", quoted(twice)))
}

/// A variant as JSON gives it.
pub(super) fn variant(json: &Json) -> Result<u32, String> {
    let number = match json {
        Json::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        _ => None,
    };
    number
        .filter(|number| *number > 0)
        .ok_or_else(|| "expected a whole number from 1 on".to_owned())
}

fn template(key: &str, source: &str, mistakes: &mut Mistakes) -> Template {
    Template::parse(source).unwrap_or_else(|message| {
        mistakes.add(key, format!("the template {} {message}", quoted(source)));
        Template::default()
    })
}

fn params(
    path: &str,
    json: Json,
    providers: &[String],
    mistakes: &mut Mistakes,
) -> Vec<(String, Vec<(String, Param)>)> {
    let mut all = Vec::new();
    for (provider, json) in entries(path, json, mistakes) {
        let path = at(path, &provider);
        if !providers.contains(&provider) {
            let asked = providers.join(", ");
            mistakes.add(
                &path,
                format!(
                    "{} is not asked for this output; its provider is {asked}",
                    quoted(&provider)
                ),
            );
        }
        let mut values = Vec::new();
        for (name, json) in entries(&path, json, mistakes) {
            let value = match json {
                Json::Null => continue,
                Json::Text(source) => {
                    let template = template(&at(&path, &name), &source, mistakes);
                    match template.literal() {
                        Some(text) => Param::Value(Value::from(text)),
                        None => Param::Template(template),
                    }
                }
                other => Param::Value(other.value()),
            };
            values.push((name, value));
        }
        all.push((provider, values));
    }
    all
}

/// A kind of failure by its name.
pub(super) fn error_kind(name: &str) -> Result<ErrorKind, String> {
    ErrorKind::named(name).ok_or_else(|| {
        format!(
            "{} is not a kind of error; the usual ones are: content_rejected, rate_limited, quota_exhausted, \
             provider_fault, timeout",
            quoted(name)
        )
    })
}

fn table(json: Json, outputs: &[String], mistakes: &mut Mistakes) -> Table {
    let mut keys = Keys::of("table", json, mistakes);
    let path = keys.need_text("path", mistakes);
    if !path.is_empty() {
        if let Err(problem) = check_relative_path(&path, NamePolicy::Portable) {
            mistakes.add("table.path", problem.to_string());
        } else if PathBuf::from(&path)
            .extension()
            .is_none_or(|extension| extension != "txt")
        {
            mistakes.add("table.path", "Anki imports .txt; let the name end so");
        }
    }
    let format = keys.need_text("format", mistakes);
    if !format.is_empty() && format != "anki" {
        mistakes.add(
            "table.format",
            format!("{} is not known; the only format is anki", quoted(&format)),
        );
    }
    let deck = keys.text("deck", mistakes);
    if deck
        .as_ref()
        .is_some_and(|deck| deck.trim().is_empty() || deck.contains(char::is_control))
    {
        mistakes.add("table.deck", "the name of a deck is one line of text");
    }
    let mut columns = Vec::new();
    if let Some(json) = keys.need("columns", mistakes) {
        for (name, json) in entries("table.columns", json, mistakes) {
            let path = at("table.columns", &name);
            if name.trim().is_empty() || name.contains(char::is_control) {
                mistakes.add(&path, "the name of a column is one line of text");
            }
            let source = super::recipe_json::text(&path, json, mistakes).unwrap_or_default();
            columns.push((name, template(&path, &source, mistakes)));
        }
        if columns.is_empty() {
            mistakes.add(
                "table.columns",
                "is empty; the first column tells Anki which note a row is, so give it the id",
            );
        }
    }
    keys.end(mistakes);
    for (name, template) in &columns {
        for column in template.columns() {
            if let Some((output, "tag" | "credit")) = column.rsplit_once('.')
                && !outputs.iter().any(|known| key_of(known) == output)
            {
                let path = at("table.columns", name);
                mistakes.add(
                    &path,
                    format!(
                        "{{{column}}}: no output is called so; there are: {}",
                        listed(outputs)
                    ),
                );
            }
        }
    }
    Table { path, deck, columns }
}
