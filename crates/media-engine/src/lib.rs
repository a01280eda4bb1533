//! Lists and recipes to files on disk: plan, run, report.
//!
//! [`plan`] reads a whole list once, finds everything that is wrong with it and counts what it asks for; [`run`] makes
//! the files, one lane per provider; [`write_table`] writes the table that a recipe asks for.

mod folder;
mod line;
pub mod list;
mod plan;
mod project;
mod run;
mod stats;
mod worklist;

pub use self::folder::Folder;
pub use self::line::{Line, LineError, Status};
pub use self::plan::{DayPlan, Plan, ProviderPlan};
pub use self::project::{Instance, Project};
pub use self::run::{Observer, Outcome, RunOptions, run};
pub use self::stats::{Account, Failure, Stats};
pub use self::worklist::{Worklist, check_table, plan, write_table};
