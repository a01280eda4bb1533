//! A list and its recipe, opened together: checked once as a whole, then read again by every lane.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use media_core::Result;
use media_core::validate::{NamePolicy, collision_key};

use crate::folder::Folder;
use crate::list::{
    BoundRecipe, Check, JobRows, JobSpec, Jobs, Made, ReadParam, Recipe, Source, TableWriter, Verdict,
};
use crate::plan::{Plan, Prepared};
use crate::project::Project;
use crate::run::output_name;

/// A list with its recipe.
#[derive(Clone, Debug)]
pub struct Worklist {
    source: Arc<Source>,
    recipe: Option<Arc<BoundRecipe>>,
    /// Files that more than one row asks for, by the hash of their path.
    shared: Arc<HashSet<u64>>,
}

/// The key of a path among the shared ones. Only used within one process.
pub(crate) fn shared_key(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    collision_key(path).hash(&mut hasher);
    hasher.finish()
}

impl Worklist {
    pub(crate) fn jobs<'a>(&'a self, read_param: &'a ReadParam<'a>) -> Result<Jobs<'a>> {
        Ok(Jobs::new(&self.source, self.recipe.as_deref(), read_param)?)
    }

    pub(crate) fn is_shared(&self, key: u64) -> bool {
        self.shared.contains(&key)
    }
}

/// Opens a list, checks every row of it, and counts what a run would do. Offline.
///
/// # Errors
/// When the list or the recipe cannot be read at all; what is wrong with single rows is in [`Plan::findings`].
pub fn plan(project: &Project, list: &Path, recipe: Option<&Path>, out: &Path) -> Result<(Worklist, Plan)> {
    let source = Source::open(list)?;
    let recipe = recipe
        .map(Recipe::read)
        .transpose()?
        .map(|recipe| recipe.bind(&source))
        .transpose()?;
    let policy = recipe
        .as_ref()
        .map_or(NamePolicy::Portable, |recipe| recipe.recipe().name_policy());
    let mut check = Check::new(&source, policy);
    let mut plan = Plan::default();
    let mut shared = HashSet::new();
    let read = |name: &str, kind, key: &str, cell: &str| project.read_param(name, kind, key, cell);
    let mut rows = JobRows::new(&source, recipe.as_ref(), &read)?;
    for row in rows.by_ref() {
        plan.rows += 1;
        let row = match row {
            Ok(row) => row,
            Err(problem) => {
                check.problems(vec![problem]);
                continue;
            }
        };
        check.problems(row.problems);
        for spec in &row.jobs {
            let mut prepared = None;
            let verdict = check.job(spec, |spec| {
                let ready = project.prepare(spec, out)?;
                let hash = *ready.checked.hash.bytes();
                prepared = Some(ready);
                Ok(hash)
            });
            match (verdict, prepared) {
                (Verdict::New, Some(prepared)) => plan.count(project, spec, &prepared)?,
                (Verdict::Shared, _) => {
                    shared.insert(shared_key(&spec.path));
                    let provider = spec.providers.first().cloned().unwrap_or_default();
                    plan.providers.entry(provider).or_default().shared += 1;
                }
                _ => {}
            }
        }
    }
    plan.fields = rows.counts().clone();
    plan.findings = check.finish();
    for (name, provider) in &mut plan.providers {
        provider.conclude(project.client(name)?);
    }
    let worklist = Worklist {
        source: Arc::new(source),
        recipe: recipe.map(Arc::new),
        shared: Arc::new(shared),
    };
    Ok((worklist, plan))
}

impl Plan {
    fn count(&mut self, project: &Project, spec: &JobSpec, prepared: &Prepared) -> Result<()> {
        let name = spec.providers.first().cloned().unwrap_or_default();
        let client = project.client(&name)?;
        self.files += 1;
        *self.by_output.entry(output_name(spec)).or_default() += 1;
        let provider = self.providers.entry(name).or_default();
        provider.kinds.insert(spec.kind);
        if std::fs::symlink_metadata(&prepared.request.output_path).is_ok() {
            provider.there += 1;
        } else {
            provider.add(client, prepared);
        }
        Ok(())
    }
}

/// Whether the table that the recipe asks for can be written, so that this is not found out after everything is bought.
///
/// # Errors
/// Why it cannot.
pub fn check_table(worklist: &Worklist, folder: &Folder) -> Result<()> {
    if let Some(recipe) = worklist.recipe.as_deref() {
        TableWriter::create(folder.out(), recipe, &worklist.source)
            .map_err(|error| media_core::Error::from(error).not_billed())?;
    }
    Ok(())
}

/// Writes the table that the recipe asks for; gives its path.
///
/// # Errors
/// When the list cannot be read again or the table cannot be written.
pub fn write_table(worklist: &Worklist, folder: &Folder) -> Result<Option<PathBuf>> {
    let Some(recipe) = worklist.recipe.as_deref() else {
        return Ok(None);
    };
    let Some(mut table) = TableWriter::create(folder.out(), recipe, &worklist.source)? else {
        return Ok(None);
    };
    // The latest word on each file; only those with somebody to name are kept.
    let mut credits: BTreeMap<String, String> = BTreeMap::new();
    for line in folder.kept()? {
        let line = line?;
        if let Some(credit) = line.credit {
            credits.insert(line.path, credit);
        }
    }
    // The cells of parameters do not matter to the table.
    let read = |_: &str, _, _: &str, cell: &str| Ok(serde_json::Value::from(cell));
    for row in JobRows::new(&worklist.source, Some(recipe), &read)? {
        // A row that could not be read was found when the list was checked; it has changed since.
        let row = row.map_err(|problem| {
            media_core::Error::new(media_core::ErrorKind::InvalidRequest, problem.to_string())
        })?;
        table.row(&row, |spec| {
            let there = std::fs::symlink_metadata(folder.out().join(&spec.path)).is_ok();
            there.then(|| Made {
                credit: credits.get(&spec.path).cloned(),
            })
        })?;
    }
    Ok(Some(table.finish()?))
}
