//! The example lists, as users run them.

use std::collections::BTreeMap;

use request::hash;

use super::*;

/// Requests are equal when what they say is.
mod request {
    use super::JobSpec;
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    pub(super) fn hash(job: &JobSpec) -> [u8; 32] {
        let mut hasher = DefaultHasher::new();
        let request = (
            &job.providers,
            &job.content,
            &job.language,
            job.variant,
            format!("{:?}", job.params),
        );
        request.hash(&mut hasher);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&hasher.finish().to_le_bytes());
        bytes
    }
}

struct Seen {
    findings: Findings,
    kinds: BTreeMap<String, usize>,
    counts: FieldCounts,
    rows: usize,
}

fn run(list: &str, recipe: Option<&str>) -> Seen {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let source = Source::open(&folder.join(list)).unwrap();
    let recipe = recipe.map(|name| Recipe::read(&folder.join(name)).unwrap().bind(&source).unwrap());
    let policy = recipe
        .as_ref()
        .map(|recipe| recipe.recipe().name_policy())
        .unwrap_or_default();
    let mut check = Check::new(&source, policy);
    let mut kinds = BTreeMap::new();
    let mut rows = JobRows::new(&source, recipe.as_ref(), &read_param).unwrap();
    let mut count = 0;
    for row in rows.by_ref() {
        let row = row.unwrap();
        count += 1;
        check.problems(row.problems);
        for job in row.jobs {
            *kinds.entry(job.kind.to_string()).or_default() += 1;
            check.job(&job, |job| Ok(hash(job)));
        }
    }
    let counts = rows.counts().clone();
    let findings = check.finish();
    println!(
        "{list}: {count} rows, {kinds:?}, {} shared, problems: {:#?}, {counts:?}",
        findings.shared, findings.problems
    );
    Seen {
        findings,
        kinds,
        counts,
        rows: count,
    }
}

#[test]
fn vocabulary() {
    let seen = run("vocabulary.csv", Some("flashcards.json"));
    assert!(seen.findings.is_good());
    assert_eq!((seen.kinds["image"], seen.kinds["audio"]), (seen.rows, seen.rows));
    assert_eq!(seen.findings.shared, 20);
    assert!(
        seen.counts.fields[0]
            .dropped_prefix
            .iter()
            .any(|(prefix, count)| prefix == "el " && *count > 100)
    );
}

#[test]
fn hard_words() {
    let seen = run("hard-words.csv", Some("flashcards.json"));
    assert!(seen.findings.is_good());
    assert_eq!(
        (seen.rows, seen.kinds["image"], seen.kinds["audio"]),
        (48, 48, 48)
    );
}

#[test]
fn job_lists() {
    let seen = run("jobs.csv", None);
    assert!(seen.findings.is_good());
    assert_eq!(seen.rows, 8);
    let seen = run("illustrations.jsonl", None);
    assert!(seen.findings.is_good());
    assert_eq!((seen.kinds["image"], seen.kinds["audio"]), (12, 4));
}
