//! Lists and recipes: rows of CSV, TSV or JSON lines, streamed, checked and turned into jobs.
//!
//! [`Source`] reads rows, [`Recipe`] says what to make of them, [`JobRows`] and [`Jobs`] put both together, [`Check`]
//! finds everything that is wrong before anything is sent, and [`TableWriter`] writes the Anki table at the end.
//! Memory does not grow with the list, except for the few bytes per job that [`Check`] needs to find duplicates.

mod anki;
mod bind;
mod check;
mod cut;
mod job_list;
mod jobs;
mod json;
mod layout;
mod problem;
mod recipe;
mod recipe_json;
mod records;
mod repair;
mod row;
mod source;
mod table;
mod template;
mod text;

#[cfg(test)]
mod tests;

use std::path::Path;

pub(crate) use self::bind::BoundRecipe;
pub use self::check::Findings;
pub(crate) use self::check::{Check, Verdict};
pub use self::cut::{FieldChange, FieldCount, FieldCounts};
pub use self::jobs::JobSpec;
pub(crate) use self::jobs::{JobRows, Jobs, ReadParam};
pub use self::problem::RowProblem;
pub(crate) use self::problem::first_of;
pub(crate) use self::recipe::Recipe;
pub(crate) use self::repair::RepairWriter;
pub(crate) use self::source::Source;
pub(crate) use self::table::{Made, TableWriter};

/// Opens a list, with the recipe that fits it where there is one.
///
/// # Errors
/// One of them cannot be read, or they do not fit each other.
pub(crate) fn open(list: &Path, recipe: Option<&Path>) -> media_core::Result<(Source, Option<BoundRecipe>)> {
    let source = Source::open(list)?;
    let recipe = recipe.map(Recipe::read).transpose()?;
    let bound = recipe.map(|recipe| recipe.bind(&source)).transpose()?;
    Ok((source, bound))
}

/// The largest cell, in bytes. No prompt and no word comes near it; a forgotten quote does.
pub(crate) const MAX_CELL: usize = 1 << 20;

/// The JSON Schema of a recipe.
#[must_use]
pub fn recipe_schema() -> serde_json::Value {
    // Compiled in; a test reads it.
    serde_json::from_str(include_str!("recipe-1.schema.json")).unwrap_or_default()
}
