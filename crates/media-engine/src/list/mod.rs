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

pub use self::bind::BoundRecipe;
pub use self::check::{Check, Findings, Verdict};
pub use self::cut::{FieldChange, FieldCount, FieldCounts};
pub use self::jobs::{JobRow, JobRows, JobSpec, Jobs, ReadParam};
pub use self::problem::{ListError, RowProblem};
pub use self::recipe::{Output, Recipe, Table};
pub use self::repair::RepairWriter;
pub use self::row::Row;
pub use self::source::{Rows, Source};
pub use self::table::{Made, TableWriter};

/// The largest cell, in bytes. No prompt and no word comes near it; a forgotten quote does.
pub const MAX_CELL: usize = 1 << 20;

/// The JSON Schema of a recipe.
#[must_use]
pub fn recipe_schema() -> serde_json::Value {
    // Compiled in; a test reads it.
    serde_json::from_str(include_str!("recipe-1.schema.json")).unwrap_or_default()
}
