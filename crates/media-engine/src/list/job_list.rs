//! Lists without a recipe: every row says itself what is to be made.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use media_core::{ErrorKind, MediaKind};
use serde_json::Value;

use super::bind::Values;
use super::jobs::{JobRow, JobSpec, ReadParam, id_problem};
use super::json::Json;
use super::problem::{ListError, RowProblem, listed, quoted};
use super::recipe::{chain_problem, error_kind, variant};
use super::row::{Cell, Row};
use super::source::Source;
use super::template::key_of;

/// The columns that mean something.
const COLUMNS: [&str; 8] = [
    "id",
    "kind",
    "provider",
    "next_when",
    "content",
    "language",
    "output_path",
    "variant",
];
/// Those without which nothing can be made.
const NEEDED: [&str; 4] = ["kind", "provider", "content", "output_path"];

/// A job list whose columns were checked.
#[derive(Debug)]
pub(super) struct JobList {
    file: Arc<Path>,
    /// Parameters that have a column: as compared, provider, name. JSON lines have none.
    params: Vec<(String, String, String)>,
    is_json: bool,
}

impl JobList {
    /// # Errors
    /// For a table, every column that is missing or means nothing.
    pub(super) fn new(source: &Source) -> Result<JobList, ListError> {
        let file = Arc::clone(source.shared_path());
        let Some(header) = source.header() else {
            return Ok(JobList {
                file,
                params: Vec::new(),
                is_json: true,
            });
        };
        let keys: Vec<_> = header.iter().map(|name| key_of(name).into_owned()).collect();
        let missing: Vec<_> = NEEDED
            .iter()
            .filter(|name| !keys.iter().any(|key| key == *name))
            .collect();
        if !missing.is_empty() {
            let message = format!(
                "a job list needs the columns {}; missing: {}; this list has: {}. Is the header line missing? For \
                 another table, give a recipe with --recipe",
                listed(NEEDED),
                listed(missing),
                listed(header)
            );
            return Err(ListError::list(&file, message));
        }
        let (mut params, mut unknown) = (Vec::new(), Vec::new());
        for (name, key) in header.iter().zip(keys) {
            if COLUMNS.contains(&key.as_ref()) || key.starts_with('_') {
                continue;
            }
            match param_name(name) {
                Some((provider, name)) => {
                    if params.iter().any(|(_, p, n)| (p, n) == (&provider, &name)) {
                        let message = format!("there are two columns params.{provider}.{name}; delete one");
                        return Err(ListError::list(&file, message));
                    }
                    params.push((key, provider, name));
                }
                None => unknown.push(name),
            }
        }
        if !unknown.is_empty() {
            let message = format!("unknown columns: {}; {}", listed(unknown), known());
            return Err(ListError::list(&file, message));
        }
        Ok(JobList {
            file,
            params,
            is_json: false,
        })
    }

    pub(super) fn apply(&self, row: &Row, read_param: &ReadParam<'_>) -> JobRow {
        let mut reading = Reading {
            list: self,
            row,
            problems: Vec::new(),
        };
        let job = reading.job(read_param);
        let problems = reading.problems;
        let jobs = if problems.is_empty() {
            job.into_iter().collect()
        } else {
            Vec::new()
        };
        JobRow {
            jobs,
            problems,
            changes: Vec::new(),
            values: Values::default(),
        }
    }
}

fn known() -> String {
    format!(
        "known are {}, params.PROVIDER.KEY, and names that start with _ for remarks",
        COLUMNS.join(", ")
    )
}

/// Provider and name of `params.PROVIDER.NAME`, both of which are lower-case whatever a header does to them.
fn param_name(column: &str) -> Option<(String, String)> {
    let mut parts = column.splitn(3, '.').map(str::trim);
    let is_param = parts
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("params"));
    match (is_param, parts.next(), parts.next()) {
        (true, Some(provider), Some(name)) if !provider.is_empty() && !name.is_empty() => {
            Some((provider.to_lowercase(), name.to_lowercase()))
        }
        _ => None,
    }
}

struct Reading<'a> {
    list: &'a JobList,
    row: &'a Row,
    problems: Vec<RowProblem>,
}

type Params = BTreeMap<String, BTreeMap<String, Value>>;

impl<'a> Reading<'a> {
    fn problem(&mut self, column: &str, message: impl Into<String>) {
        self.problems
            .push(RowProblem::new(&self.list.file, self.row.line(), message).column(column));
    }

    /// The value of a column, `None` where nothing is given.
    fn given(&self, key: &str) -> Option<Cell<'a>> {
        self.row.cell(key).filter(|cell| match cell {
            Cell::Text(text) => !text.trim().is_empty(),
            Cell::Json(Json::Text(text)) => !text.trim().is_empty(),
            Cell::Json(json) => **json != Json::Null,
        })
    }

    fn text(&mut self, key: &str) -> Option<&'a str> {
        match self.given(key)? {
            Cell::Text(text) => Some(text),
            Cell::Json(Json::Text(text)) if text.contains('\0') => {
                self.problem(key, "has a zero character; remove it");
                None
            }
            Cell::Json(Json::Text(text)) => Some(text),
            Cell::Json(other) => {
                self.problem(key, format!("expected text, found {}", other.describe()));
                None
            }
        }
    }

    fn need(&mut self, key: &str, what: &str) -> Option<&'a str> {
        if self.given(key).is_none() {
            self.problem(key, format!("is empty; {what}"));
        }
        self.text(key)
    }

    fn job(&mut self, read_param: &ReadParam<'_>) -> Option<JobSpec> {
        if self.list.is_json {
            self.check_keys();
        }
        let id = match self.given("id") {
            Some(Cell::Json(Json::Number(number))) => Some(number.to_string()),
            _ => self.text("id").map(|text| text.trim().to_owned()),
        };
        if let Some(message) = id.as_deref().and_then(id_problem) {
            self.problem("id", message);
        }
        let kind = self.kind();
        let providers = self.providers();
        let next_when = self.next_when();
        let content = self
            .need("content", "write the prompt of the picture, or the text to speak")
            .map(str::to_owned);
        let language = self.text("language").map(|tag| tag.trim().to_owned());
        let variant = self.variant();
        let path = self
            .need("output_path", "write where the file goes, as in words/dog.webp")
            .map(str::to_owned);
        let (kind, providers, content, path) = (kind?, providers?, content?, path?);
        let params = if self.list.is_json {
            self.json_params(&providers)
        } else {
            self.cell_params(&providers, kind, read_param)
        };
        let id = id.unwrap_or_else(|| path.clone());
        let (line, row, output) = (self.row.line(), None, None);
        Some(JobSpec {
            id,
            line,
            row,
            output,
            kind,
            providers,
            next_when,
            content,
            language,
            variant,
            path,
            params,
        })
    }

    /// A table is checked by its header; here every line has keys of its own.
    fn check_keys(&mut self) {
        let is_known = |name: &str| {
            let key = key_of(name);
            COLUMNS.contains(&key.as_ref()) || key == "params" || key.starts_with('_')
        };
        let row = self.row;
        for name in row.names().filter(|name| !is_known(name)) {
            self.problem(
                name,
                format!(
                    "is an unknown key; {}",
                    known().replace("params.PROVIDER.KEY", "params")
                ),
            );
        }
    }

    fn kind(&mut self) -> Option<MediaKind> {
        let text = self.need("kind", "write image or audio")?.trim();
        match text.to_ascii_lowercase().as_str() {
            "image" => Some(MediaKind::Image),
            "audio" => Some(MediaKind::Audio),
            _ => {
                self.problem(
                    "kind",
                    format!("{} is not a kind; write image or audio", quoted(text)),
                );
                None
            }
        }
    }

    fn providers(&mut self) -> Option<Vec<String>> {
        let providers: Vec<String> = match self.given("provider") {
            Some(Cell::Json(Json::List(items))) => {
                let names = items.iter().map(|item| match item {
                    Json::Text(name) => name.trim().to_owned(),
                    _ => String::new(),
                });
                names.collect()
            }
            _ => {
                let text = self.need(
                    "provider",
                    "write who is asked, or several in order: forvo,runware",
                )?;
                text.split(',').map(|name| name.trim().to_owned()).collect()
            }
        };
        match chain_problem(&providers) {
            None => Some(providers),
            Some(message) => {
                self.problem("provider", message);
                None
            }
        }
    }

    fn next_when(&mut self) -> Vec<ErrorKind> {
        let names: Vec<String> = match self.given("next_when") {
            None => return Vec::new(),
            Some(Cell::Json(Json::List(items))) => {
                let names = items.iter().map(|item| match item {
                    Json::Text(name) => name.trim().to_owned(),
                    other => other.describe().to_owned(),
                });
                names.collect()
            }
            Some(_) => {
                let text = self.text("next_when").unwrap_or_default();
                text.split(',').map(|name| name.trim().to_owned()).collect()
            }
        };
        let mut kinds = Vec::new();
        for name in names {
            match error_kind(&name) {
                Ok(kind) => kinds.push(kind),
                Err(message) => self.problem("next_when", message),
            }
        }
        kinds
    }

    fn variant(&mut self) -> u32 {
        let read = match self.given("variant") {
            None => Ok(1),
            Some(Cell::Json(json)) => variant(json),
            Some(Cell::Text(text)) => match text.trim().parse() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!(
                    "expected a whole number from 1 on, found {}",
                    quoted(text)
                )),
            },
        };
        read.unwrap_or_else(|message| {
            self.problem("variant", message);
            1
        })
    }

    fn cell_params(&mut self, providers: &[String], kind: MediaKind, read_param: &ReadParam<'_>) -> Params {
        let mut params = Params::new();
        let list = self.list;
        for (key, provider, name) in &list.params {
            let Some(Cell::Text(text)) = self.given(key) else {
                continue;
            };
            let column = format!("params.{provider}.{name}");
            if !providers.contains(provider) {
                self.problem(&column, not_asked(provider, providers));
                continue;
            }
            match read_param(provider, kind, name, text) {
                Ok(value) => {
                    params
                        .entry(provider.clone())
                        .or_default()
                        .insert(name.clone(), value);
                }
                Err(message) => self.problem(&column, message),
            }
        }
        params
    }

    fn json_params(&mut self, providers: &[String]) -> Params {
        let mut params = Params::new();
        let Some(Cell::Json(json)) = self.given("params") else {
            return params;
        };
        let Json::Object(entries) = json else {
            self.problem(
                "params",
                format!("expected an object {{…}}, found {}", json.describe()),
            );
            return params;
        };
        for (provider, values) in entries {
            let column = format!("params.{provider}");
            match values {
                Json::Null => {}
                Json::Object(values) if values.iter().all(|(_, value)| *value == Json::Null) => {}
                _ if !providers.contains(provider) => self.problem(&column, not_asked(provider, providers)),
                Json::Object(values) => {
                    let given = values.iter().filter(|(_, value)| *value != Json::Null);
                    let given = given.map(|(name, value)| (name.clone(), value.value()));
                    params.insert(provider.clone(), given.collect());
                }
                other => self.problem(
                    &column,
                    format!("expected an object {{…}}, found {}", other.describe()),
                ),
            }
        }
        params
    }
}

fn not_asked(provider: &str, providers: &[String]) -> String {
    format!(
        "is given, but {provider} is not asked in this row; the provider is {}",
        providers.join(", ")
    )
}
