//! A recipe checked against the columns of a list, and applied to its rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

use super::cut::FieldChange;
use super::jobs::{JobRow, JobSpec, ReadParam, id_problem};
use super::json::Json;
use super::problem::{ListError, RowProblem, listed, quoted};
use super::recipe::{Output, Param, Recipe};
use super::recipe_json::{Mistakes, at};
use super::row::{Cell, Row};
use super::source::Source;
use super::template::{Template, key_of};

/// The column that names a row.
const ID: &str = "id";

/// A recipe whose every column was found in one list.
#[derive(Clone, Debug)]
pub(crate) struct BoundRecipe {
    recipe: Recipe,
    /// The columns that are read.
    used: Vec<String>,
    /// The fields, each behind the one it is made from.
    order: Vec<usize>,
}

impl Recipe {
    /// Checks the recipe against the columns of a list.
    ///
    /// # Errors
    /// Every column that is missing, with the key of the recipe that names it.
    pub(crate) fn bind(self, source: &Source) -> Result<BoundRecipe, ListError> {
        let names = source.all_columns()?;
        let columns: BTreeSet<String> = names.iter().map(|name| key_of(name).into_owned()).collect();
        let has = format!("the list has: {}", listed(&names));
        let mut mistakes = Mistakes::default();
        for name in self.needs.iter().filter(|name| !columns.contains(*name)) {
            mistakes.add("needs", format!("the list has no column {}; {has}", quoted(name)));
        }
        if !columns.contains(ID) && !self.needs.iter().any(|name| name == ID) {
            mistakes.add(
                "",
                format!("the list has no column \"id\", which names each row; {has}"),
            );
        }
        let mut binding = Binding {
            recipe: &self,
            columns: &columns,
            has,
            mistakes,
            used: BTreeSet::new(),
        };
        binding.used.insert(ID.to_owned());
        binding.fields();
        let order = binding.order();
        binding.templates();
        let used = binding
            .used
            .iter()
            .filter(|name| columns.contains(*name))
            .cloned()
            .collect();
        if !binding.mistakes.0.is_empty() {
            let problems = binding.mistakes.0;
            return Err(ListError::Recipe {
                path: self.file.to_path_buf(),
                problems,
            });
        }
        Ok(BoundRecipe {
            used,
            order,
            recipe: self,
        })
    }
}

struct Binding<'a> {
    recipe: &'a Recipe,
    columns: &'a BTreeSet<String>,
    /// What the list has, for messages.
    has: String,
    mistakes: Mistakes,
    used: BTreeSet<String>,
}

impl Binding<'_> {
    fn is_field(&self, key: &str) -> bool {
        self.recipe.fields.iter().any(|field| field.key == key)
    }

    fn is_known(&self, key: &str) -> bool {
        self.columns.contains(key) || self.recipe.needs.iter().any(|name| name == key) || self.is_field(key)
    }

    fn unknown(&self, key: &str) -> String {
        let fields: Vec<_> = self.recipe.fields.iter().map(|field| &field.name).collect();
        let fields = if fields.is_empty() {
            String::new()
        } else {
            format!("; the recipe has the fields: {}", listed(fields))
        };
        format!("there is no column {}; {}{fields}", quoted(key), self.has)
    }

    fn fields(&mut self) {
        for field in &self.recipe.fields {
            let path = at("fields", &field.name);
            if self.columns.contains(&field.key) {
                self.mistakes
                    .add(&path, "the list has a column of this name too; rename the field");
            }
            if !field.from.is_empty() && !self.is_known(&field.from) {
                let message = self.unknown(&field.from);
                self.mistakes.add(&at(&path, "from"), message);
            }
            self.used.insert(field.from.clone());
        }
    }

    /// Fields in the order in which they can be made.
    fn order(&mut self) -> Vec<usize> {
        let fields = &self.recipe.fields;
        let mut order: Vec<usize> = Vec::new();
        let mut waiting: Vec<usize> = (0..fields.len()).collect();
        while !waiting.is_empty() {
            let is_waiting = |key: &str| {
                waiting
                    .iter()
                    .any(|other| fields.get(*other).is_some_and(|other| other.key == key))
            };
            let (ready, rest): (Vec<usize>, Vec<usize>) = waiting
                .iter()
                .partition(|n| fields.get(**n).is_none_or(|field| !is_waiting(&field.from)));
            if ready.is_empty() {
                let names: Vec<_> = rest
                    .iter()
                    .filter_map(|n| fields.get(*n))
                    .map(|field| &field.name)
                    .collect();
                let message = format!("these are made from each other in a circle: {}", listed(names));
                self.mistakes.add("fields", message);
                break;
            }
            order.extend(ready);
            waiting = rest;
        }
        order
    }

    /// Checks all templates; the columns that count as empty because the list lacks them.
    fn templates(&mut self) {
        for output in self.recipe.outputs() {
            let path = at("outputs", &output.name);
            self.template(&at(&path, "path"), &output.path, false);
            if let Some(language) = &output.language {
                self.template(&at(&path, "language"), language, false);
            }
            let lacking = |template: &Template| template.columns().any(|key| !self.is_known(key));
            // Of several, one that lacks a column is merely never used; without any left no row could be made.
            let is_optional = !output.content.iter().all(lacking);
            for content in &output.content {
                self.template(&at(&path, "content"), content, is_optional);
            }
            for (provider, values) in &output.params {
                for (name, value) in values {
                    if let Param::Template(template) = value {
                        let path = at(&at(&at(&path, "params"), provider), name);
                        self.template(&path, template, true);
                    }
                }
            }
        }
        for (name, template) in self.recipe.table().iter().flat_map(|table| &table.columns) {
            self.template(&at("table.columns", name), template, false);
        }
    }

    /// `is_optional`: a column that the list lacks counts as empty.
    fn template(&mut self, path: &str, template: &Template, is_optional: bool) {
        for key in template.columns() {
            let is_made = path.starts_with("table.") && made_of(key).is_some();
            if is_made || self.is_known(key) {
                self.used.insert(key.to_owned());
            } else if !is_optional {
                let message = format!(
                    "in the template {}: {}",
                    quoted(template.source()),
                    self.unknown(key)
                );
                self.mistakes.add(path, message);
            }
        }
    }
}

/// The output and the word behind the dot of `picture.tag` and `picture.credit`.
pub(super) fn made_of(key: &str) -> Option<(&str, &str)> {
    key.rsplit_once('.')
        .filter(|(_, what)| matches!(*what, "tag" | "credit"))
}

/// The values of one row, by column and field.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(HashMap<String, String>);

impl Values {
    /// What is not there is empty.
    pub(super) fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    fn fills(&self, template: &Template) -> bool {
        template.columns().all(|key| !self.get(key).is_empty())
    }
}

impl BoundRecipe {
    /// The recipe.
    #[must_use]
    pub(crate) fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    pub(super) fn apply(&self, source: &Source, row: &Row, read_param: &ReadParam<'_>) -> JobRow {
        let mut problems = Vec::new();
        let problem = |message: String| RowProblem::new(source.shared_path(), row.line(), message);
        let mut values = Values::default();
        for key in &self.used {
            match plain(row.cell(key)) {
                Ok(text) => drop(values.0.insert(key.clone(), text)),
                Err(message) => problems.push(problem(message).column(key)),
            }
        }
        let mut changes = Vec::new();
        for field in self.order.iter().filter_map(|n| self.recipe.fields.get(*n)) {
            let change = field.rules.apply(&field.name, values.get(&field.from));
            values.0.insert(field.key.clone(), change.after.clone());
            changes.push(change);
        }
        let id = values.get(ID).to_owned();
        problems.extend(id_problem(&id).map(|message| problem(message).column(ID)));
        let mut jobs = Vec::new();
        if problems.is_empty() {
            let making = Making {
                values: &values,
                changes: &changes,
                id: &id,
                line: row.line(),
                read_param,
            };
            for output in self.recipe.outputs() {
                match making.job(output) {
                    Ok(job) => jobs.push(job),
                    Err(messages) => problems.extend(
                        messages
                            .into_iter()
                            .map(|message| problem(format!("{}: {message}", output.name))),
                    ),
                }
            }
        }
        changes.retain(FieldChange::is_change);
        JobRow {
            jobs,
            problems,
            changes,
            values,
        }
    }
}

/// A cell as templates see it: text without white space at its ends, in normal form C.
fn plain(cell: Option<Cell<'_>>) -> Result<String, String> {
    let text = match cell {
        None | Some(Cell::Json(Json::Null)) => return Ok(String::new()),
        Some(Cell::Text(text)) => text,
        Some(Cell::Json(Json::Text(text))) => text,
        Some(Cell::Json(Json::Number(number))) => return Ok(number.to_string()),
        Some(Cell::Json(Json::Bool(flag))) => return Ok(flag.to_string()),
        Some(Cell::Json(other)) => return Err(format!("expected text, found {}", other.describe())),
    };
    if text.contains('\0') {
        return Err("has a zero character; remove it".to_owned());
    }
    Ok(text.trim().nfc().collect())
}

struct Making<'a> {
    values: &'a Values,
    changes: &'a [FieldChange],
    id: &'a str,
    line: u64,
    read_param: &'a ReadParam<'a>,
}

impl Making<'_> {
    fn render(&self, template: &Template) -> String {
        template.render(|key| self.values.get(key))
    }

    fn job(&self, output: &Output) -> Result<JobSpec, Vec<String>> {
        let mut wrong = Vec::new();
        let content = output.content.iter().find(|template| self.values.fills(template));
        let content = content
            .map(|template| self.render(template))
            .filter(|text| !text.trim().is_empty());
        if content.is_none() {
            wrong.push(self.empty("there is no content", &output.content));
        }
        if !self.values.fills(&output.path) {
            wrong.push(self.empty("there is no path", std::slice::from_ref(&output.path)));
        }
        let params = self.params(output, &mut wrong);
        match content {
            Some(content) if wrong.is_empty() => Ok(JobSpec {
                id: format!("{}/{}", self.id, output.name),
                line: self.line,
                row: Some(self.id.to_owned()),
                output: Some(output.name.clone()),
                kind: output.kind,
                providers: output.providers.clone(),
                next_when: output.next_when.clone(),
                content,
                language: output
                    .language
                    .as_ref()
                    .map(|template| self.render(template))
                    .filter(|tag| !tag.is_empty()),
                variant: output.variant,
                path: self.render(&output.path),
                params,
            }),
            _ => Err(wrong),
        }
    }

    fn params(&self, output: &Output, wrong: &mut Vec<String>) -> BTreeMap<String, BTreeMap<String, Value>> {
        let mut all = BTreeMap::new();
        for (provider, values) in &output.params {
            let mut given = BTreeMap::new();
            for (name, param) in values {
                let value = match param {
                    Param::Value(value) => Ok(value.clone()),
                    Param::Template(template) => match self.render(template) {
                        text if text.trim().is_empty() => continue,
                        text => (self.read_param)(provider, output.kind, name, &text),
                    },
                };
                match value {
                    Ok(value) => drop(given.insert(name.clone(), value)),
                    Err(message) => wrong.push(format!("params.{provider}.{name}: {message}")),
                }
            }
            if !given.is_empty() {
                all.insert(provider.clone(), given);
            }
        }
        all
    }

    /// Says which columns the templates miss, and why a field is empty though its source is not.
    fn empty(&self, what: &str, templates: &[Template]) -> String {
        let keys: BTreeSet<_> = templates.iter().flat_map(Template::columns).collect();
        let mut reasons: Vec<_> = keys
            .into_iter()
            .filter(|key| self.values.get(key).is_empty())
            .map(
                |key| match self.changes.iter().find(|change| key_of(&change.field) == *key) {
                    Some(change) if !change.before.is_empty() => {
                        format!(
                            "{{{key}}} is empty: the rules of the recipe leave nothing of {}",
                            quoted(&change.before)
                        )
                    }
                    _ => format!("{{{key}}} is empty"),
                },
            )
            .collect();
        if reasons.is_empty() {
            reasons.push("the template is empty".to_owned());
        }
        format!("{what}: {}; fill the cell", reasons.join(", "))
    }
}
