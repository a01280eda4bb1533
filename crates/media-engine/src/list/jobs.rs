//! Jobs: what is to be made, one for each row of a job list and one for each row and output of a recipe.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use media_core::{ErrorKind, MediaKind, MediaRequest, is_unseen};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bind::{BoundRecipe, Values};
use super::cut::{FieldChange, FieldCounts};
use super::job_list::JobList;
use super::problem::{ListError, RowProblem};
use super::source::{Rows, Source};

/// Reads the text of a cell as a parameter: provider, kind of media, name of the parameter, text.
pub(crate) type ReadParam<'a> = dyn Fn(&str, MediaKind, &str, &str) -> Result<Value, String> + 'a;

/// One file to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Its identity: the row's id, with a recipe `/` and the output's name; without an id the path.
    pub id: String,
    /// The line where its row starts.
    pub line: u64,
    /// The id of its row, with a recipe.
    pub row: Option<String>,
    /// The output of the recipe that it is.
    pub output: Option<String>,
    /// Picture or sound.
    pub kind: MediaKind,
    /// Who is asked, in order; at least one.
    pub providers: Vec<String>,
    /// The prompt of a picture, or the text to speak.
    pub content: String,
    /// Failures, besides `not_found`, after which the next provider is asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_when: Vec<ErrorKind>,
    /// A BCP 47 language tag.
    pub language: Option<String>,
    /// Another number makes a different purchase of an otherwise equal request.
    pub variant: u32,
    /// Where the file goes, below the output folder; not checked here: `Check` does.
    pub path: String,
    /// Parameters by provider.
    pub params: BTreeMap<String, BTreeMap<String, Value>>,
}

impl JobSpec {
    /// The request to one of its providers, with the parameters for that one only.
    #[must_use]
    pub fn request(&self, provider: &str) -> MediaRequest {
        MediaRequest {
            id: self.id.clone(),
            kind: self.kind,
            content: self.content.clone(),
            language: self.language.clone(),
            variant: self.variant,
            output_path: PathBuf::from(&self.path),
            params: self.params.get(provider).cloned().unwrap_or_default(),
        }
    }
}

/// What is wrong with an id.
pub(super) fn id_problem(id: &str) -> Option<String> {
    const MOST: usize = 1000;
    if id.is_empty() {
        return Some("is empty; give every row an id of its own".to_owned());
    }
    if id.contains(is_unseen) {
        return Some(
            "has a line break or another character that cannot be seen; an id is one line of text".to_owned(),
        );
    }
    (id.len() > MOST).then(|| format!("is longer than {MOST} bytes; give a shorter id"))
}

/// What one row comes to.
#[derive(Clone, Debug)]
pub(crate) struct JobRow {
    /// What it makes.
    pub jobs: Vec<JobSpec>,
    /// What it does not make, and why.
    pub problems: Vec<RowProblem>,
    /// What the fields of the recipe changed, where they changed anything.
    pub changes: Vec<FieldChange>,
    pub(super) values: Values,
}

enum Maker<'a> {
    List(JobList),
    Recipe(&'a BoundRecipe),
}

/// Row after row of a list, made into jobs. One that cannot be read is an error and the next one is tried.
pub(crate) struct JobRows<'a> {
    source: &'a Source,
    rows: Rows,
    maker: Maker<'a>,
    read_param: &'a ReadParam<'a>,
    counts: FieldCounts,
}

impl std::fmt::Debug for JobRows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobRows")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl<'a> JobRows<'a> {
    /// The rows of `source`, from the start: with a recipe of any table, without one of a job list.
    ///
    /// # Errors
    /// When the list cannot be read, or is no job list and there is no recipe.
    pub(crate) fn new(
        source: &'a Source,
        recipe: Option<&'a BoundRecipe>,
        read_param: &'a ReadParam<'a>,
    ) -> Result<JobRows<'a>, ListError> {
        let maker = match recipe {
            Some(recipe) => Maker::Recipe(recipe),
            None => Maker::List(JobList::new(source)?),
        };
        Ok(JobRows {
            source,
            rows: source.rows()?,
            maker,
            read_param,
            counts: FieldCounts::default(),
        })
    }

    /// What the fields of the recipe did to the rows so far.
    #[must_use]
    pub(crate) fn counts(&self) -> &FieldCounts {
        &self.counts
    }
}

impl Iterator for JobRows<'_> {
    type Item = Result<JobRow, RowProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = match self.rows.next()? {
            Ok(row) => row,
            Err(problem) => return Some(Err(problem)),
        };
        let made = match &self.maker {
            Maker::List(list) => list.apply(&row, self.read_param),
            Maker::Recipe(recipe) => recipe.apply(self.source, &row, self.read_param),
        };
        self.counts.add(&made.changes);
        Some(Ok(made))
    }
}

/// The jobs of all rows, one after another. All that is wrong with a row is one error.
#[derive(Debug)]
pub(crate) struct Jobs<'a> {
    rows: JobRows<'a>,
    ready: VecDeque<Result<JobSpec, Vec<RowProblem>>>,
}

impl<'a> Jobs<'a> {
    /// See [`JobRows::new`].
    ///
    /// # Errors
    /// The same.
    pub(crate) fn new(
        source: &'a Source,
        recipe: Option<&'a BoundRecipe>,
        read_param: &'a ReadParam<'a>,
    ) -> Result<Jobs<'a>, ListError> {
        Ok(Jobs {
            rows: JobRows::new(source, recipe, read_param)?,
            ready: VecDeque::new(),
        })
    }
}

impl Iterator for Jobs<'_> {
    type Item = Result<JobSpec, Vec<RowProblem>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(job) = self.ready.pop_front() {
                return Some(job);
            }
            match self.rows.next()? {
                Ok(row) => {
                    self.ready.extend(row.jobs.into_iter().map(Ok));
                    if !row.problems.is_empty() {
                        self.ready.push_back(Err(row.problems));
                    }
                }
                Err(problem) => return Some(Err(vec![problem])),
            }
        }
    }
}
