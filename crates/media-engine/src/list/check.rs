//! Finds everything that is wrong with a list before anything is sent: ids given twice, impossible paths, and paths
//! that two different requests want. Only hashes and line numbers are kept, some 60 bytes per job.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher as _, Hash};
use std::path::Path;
use std::sync::Arc;

use media_core::validate::{NamePolicy, check_relative_path, collision_key};

use super::jobs::JobSpec;
use super::problem::{RowProblem, quoted};
use super::source::Source;

/// Problems that are kept; the others are only counted.
const MOST: usize = 200;

/// 64 bits that need no alignment, so that entries stay small.
type Short = [u32; 2];

/// What is wrong with a list, and what it holds.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The first problems, in the order of the list.
    pub problems: Vec<RowProblem>,
    /// How many there are in all.
    pub total: u64,
    /// Jobs, good and bad.
    pub jobs: u64,
    /// Jobs whose file another row makes too, by an equal request.
    pub shared: u64,
}

impl Findings {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.total == 0
    }
}

/// What [`Check::job`] says of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Good, and the first to want its path.
    New,
    /// Good, and made by an earlier job already.
    Shared,
    /// Wrong; why is among the problems.
    Bad,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    request: Short,
    spelling: u32,
    line: u32,
}

/// Takes all jobs of a list and finds what is wrong with them and between them.
#[derive(Debug)]
pub(crate) struct Check {
    file: Arc<Path>,
    policy: NamePolicy,
    /// Keyed anew each time, so that nobody can make a list whose ids collide.
    hasher: RandomState,
    ids: HashMap<Short, u32>,
    paths: HashMap<Short, Claim>,
    folders: HashMap<Short, u32>,
    findings: Findings,
}

impl Check {
    /// For the jobs of `source`; `policy` is that of the recipe, without one [`NamePolicy::Portable`].
    #[must_use]
    pub(crate) fn new(source: &Source, policy: NamePolicy) -> Check {
        Check {
            file: Arc::clone(source.shared_path()),
            policy,
            hasher: RandomState::new(),
            ids: HashMap::new(),
            paths: HashMap::new(),
            folders: HashMap::new(),
            findings: Findings::default(),
        }
    }

    /// Takes what is wrong with a row.
    pub(crate) fn problems(&mut self, problems: Vec<RowProblem>) {
        problems.into_iter().for_each(|problem| self.add(problem));
    }

    /// Takes a job. `hash` resolves its request, or says why it cannot.
    pub(crate) fn job(
        &mut self,
        job: &JobSpec,
        hash: impl FnOnce(&JobSpec) -> Result<[u8; 32], String>,
    ) -> Verdict {
        self.findings.jobs += 1;
        let before = self.findings.total;
        let line = u32::try_from(job.line).unwrap_or(u32::MAX);
        if let Some(first) = self.claim_id(&job.id, line) {
            let message = format!(
                "the id {} is on line {first} too; give every row its own",
                quoted(&job.id)
            );
            self.wrong(job, message, "id");
        }
        let request = match hash(job) {
            Ok(hash) => Some(self.short(&hash)),
            Err(message) => {
                self.wrong(job, message, "");
                None
            }
        };
        let mut is_shared = false;
        if let Err(problem) = check_relative_path(&job.path, self.policy) {
            self.wrong(
                job,
                format!("the path {} cannot be used: {problem}", quoted(&job.path)),
                "path",
            );
        } else if let Some(request) = request {
            match self.claim_path(&job.path, request, line) {
                Ok(shared) => is_shared = shared,
                Err(message) => self.wrong(job, message, "path"),
            }
        }
        if self.findings.total > before {
            Verdict::Bad
        } else if is_shared {
            self.findings.shared += 1;
            Verdict::Shared
        } else {
            Verdict::New
        }
    }

    /// What was found. A list without any job and without any problem is one too.
    #[must_use]
    pub(crate) fn finish(mut self) -> Findings {
        if self.findings.jobs == 0 && self.findings.total == 0 {
            let message = "there are no rows; write one row per file to make";
            self.add(RowProblem::new(&Arc::clone(&self.file), 0, message));
        }
        self.findings
    }

    fn add(&mut self, problem: RowProblem) {
        self.findings.total += 1;
        if self.findings.problems.len() < MOST {
            self.findings.problems.push(problem);
        }
    }

    /// A job of a recipe has no column that is to blame, only an output.
    fn wrong(&mut self, job: &JobSpec, message: String, what: &str) {
        let problem = match &job.output {
            Some(output) => RowProblem::new(&self.file, job.line, format!("{output}: {message}")),
            None => RowProblem::new(&self.file, job.line, message),
        };
        let column = match (&job.output, what) {
            (_, "") | (Some(_), "path") => None,
            (None, "path") => Some("output_path"),
            (_, other) => Some(other),
        };
        self.add(match column {
            Some(column) => problem.column(column),
            None => problem,
        });
    }

    fn short(&self, value: &(impl Hash + ?Sized)) -> Short {
        let hash = self.hasher.hash_one(value);
        // Both halves of it.
        [(hash >> 32) as u32, hash as u32]
    }

    /// The line that has the same id.
    fn claim_id(&mut self, id: &str, line: u32) -> Option<u32> {
        let key = self.short(id);
        match self.ids.entry(key) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(free) => {
                free.insert(line);
                None
            }
        }
    }

    /// Whether the file is shared with an earlier job.
    fn claim_path(&mut self, path: &str, request: Short, line: u32) -> Result<bool, String> {
        let folded = collision_key(path);
        let key = self.short(&folded);
        let [spelling, _] = self.short(path);
        let shown = quoted(path);
        if let Some(other) = self.folders.get(&key) {
            return Err(format!(
                "the path {shown} is a folder on line {other}; rename one"
            ));
        }
        match self.paths.entry(key) {
            Entry::Occupied(first) => {
                let Claim {
                    request: wanted,
                    spelling: spelled,
                    line: other,
                } = *first.get();
                if spelled != spelling {
                    return Err(format!(
                        "the path {shown} and that of line {other} differ only in upper and lower case or in how \
                         accents are stored, which is one file on Windows and macOS; rename one"
                    ));
                }
                if wanted != request {
                    return Err(format!(
                        "the path {shown} is wanted on line {other} too, for a different request; rename one"
                    ));
                }
                return Ok(true);
            }
            Entry::Vacant(free) => {
                free.insert(Claim {
                    request,
                    spelling,
                    line,
                });
            }
        }
        let mut folder = folded.as_str();
        while let Some((parent, _)) = folder.rsplit_once('/') {
            let key = self.short(parent);
            if let Some(file) = self.paths.get(&key) {
                let line = file.line;
                return Err(format!(
                    "the path {shown} is in a folder that is a file on line {line}; rename one"
                ));
            }
            self.folders.entry(key).or_insert(line);
            folder = parent;
        }
        Ok(false)
    }
}
