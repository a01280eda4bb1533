//! Lists and recipes to files on disk: plan, run, report.
//!
//! [`plan`] reads a whole list once, finds everything that is wrong with it and counts what it asks for; [`run`] makes
//! the files, one lane per provider and kind; [`write_table`] writes the table that a recipe asks for; [`Report`] shows what came
//! of all of it.

mod book;
mod chain;
mod count;
mod decision;
mod estimate;
mod export;
mod feed;
mod folder;
mod found;
mod handed;
mod lane;
mod ledger;
mod line;
mod list;
mod mend;
mod pace;
mod place;
mod plan;
mod project;
mod quota;
mod redo;
mod report;
mod results;
mod resume;
mod run;
mod stats;
mod table;
mod worklist;

pub use self::chain::{Tried, stands_at};
pub use self::count::How;
pub use self::export::{export_failed, export_results};
pub use self::folder::{Folder, check_ledger_place, ledger_path, noted_list};
pub use self::ledger::{
    AttemptRow, AttemptState, Bound, Caps, Entry, JobStatus, Ledger, Left, Reader, RemoteBatch, Spending,
    TakeRow, Totals,
};
pub use self::line::{Line, LineError, Status};
pub use self::list::{FieldChange, FieldCount, FieldCounts, Findings, JobSpec, RowProblem, recipe_schema};
pub use self::plan::{DayPlan, Plan, ProviderPlan};
pub use self::project::{Instance, Project};
pub use self::quota::SharedQuota;
pub use self::redo::{Chosen, Redo, choose, keep, pick};
pub use self::report::{Embed, Report, grouped, report_path};
pub use self::run::{Observer, Outcome, RunOptions, run};
pub use self::stats::{Account, Failure, Stats};
pub use self::table::{WrittenTable, check_table, tables, write_table};
pub use self::worklist::{Place, Worklist, can_be_made, plan, plan_jobs, stays_unknown};
