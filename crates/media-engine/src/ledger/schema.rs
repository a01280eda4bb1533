//! The ledger's file: its mark, its version, and how an older one becomes a newer one.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use media_core::{Error, ErrorKind, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::failed;

/// `medi`, in SQLite's header, so that no other database is taken for a ledger.
const APPLICATION_ID: i32 = 0x6d65_6469;

/// One step for each version: the first makes the schema, each later one changes the one before.
const STEPS: [&str; 7] = [
    include_str!("schema.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
    include_str!("schema-5.sql"),
    include_str!("schema-6.sql"),
    include_str!("schema-7.sql"),
];

fn refuse(path: &Path, what: &str, hint: &str) -> Error {
    let message = format!("the ledger {} {what}; it was left as it is", path.display());
    Error::new(ErrorKind::Storage, message)
        .not_billed()
        .hint(hint.to_owned())
}

const REPLACE: &str = "put a copy back in its place, or move it away: the services that can be asked are then asked what they made, and the run stops where they cannot (docs/ledger.md)";

/// Opens or makes the ledger at `path`, and brings an older one up to date.
///
/// # Errors
/// It is damaged, no ledger, or of a newer version: then nothing of it is changed.
pub(super) fn open(path: &Path) -> Result<Connection> {
    begin(path).map_err(Error::not_billed)
}

fn begin(path: &Path) -> Result<Connection> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
        inspect(path)?;
    }
    let db = Connection::open_with_flags(
        path,
        // A connection belongs to one thread at a time (`Connection` is not `Sync`), so SQLite need not lock it.
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|error| failed(path, error))?;
    prepare(&db, path)?;
    Ok(db)
}

/// Looks at what is there before anything could change it. `false`: a process died while it made the file, which holds
/// nothing yet.
fn inspect(path: &Path) -> Result<bool> {
    if has_foreign_log(path) {
        let what = format!(
            "ended cleanly, and {} beside it is of another run of it",
            log_of(path).display()
        );
        return Err(refuse(path, &what, FOREIGN_LOG));
    }
    let open = |flags| Connection::open_with_flags(path, flags).map_err(|error| failed(path, error));
    let mut db = open(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    if is_half_written(&db) {
        // A process died while it made the file or folded it: SQLite takes that back, which needs the right to write.
        db = open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    }
    let number = |pragma: &str| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let damaged = |error: rusqlite::Error| match error.sqlite_error_code() {
        // A full disk or a lack of rights says nothing about the file.
        Some(code) if ![ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase].contains(&code) => {
            failed(path, error)
        }
        _ => refuse(path, "is damaged", REPLACE).because(error),
    };
    let (application, version) = (
        number("application_id").map_err(damaged)?,
        number("user_version").map_err(damaged)?,
    );
    let is_new = application == 0 && version == 0;
    let tables: i64 = db
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .map_err(damaged)?;
    if application != i64::from(APPLICATION_ID) && !(is_new && tables == 0) {
        return Err(refuse(
            path,
            "is not a ledger of this program",
            "name another place by --ledger",
        ));
    }
    if usize::try_from(version).is_ok_and(|version| version > STEPS.len()) {
        let what = format!(
            "is of version {version}, and this program knows versions up to {}",
            STEPS.len()
        );
        return Err(refuse(path, &what, "use a newer version of this program"));
    }
    let sound: String = db
        .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
        .map_err(damaged)?;
    if sound == "ok" {
        Ok(!is_new)
    } else {
        Err(refuse(path, &format!("is damaged ({sound})"), REPLACE))
    }
}

const FOREIGN_LOG: &str = "two copies of the folder were mixed: fetch it again into an empty folder; if the ledger is the newer of the two files, delete the other one";

fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Whether a write-ahead log stands beside a ledger that was folded. A run turns the file to write-ahead logging before
/// it makes a log, and deletes the log before it turns it back, so they come from different copies; SQLite would replay
/// the log all the same, and the ledger would forget what was bought since.
fn has_foreign_log(path: &Path) -> bool {
    // Looked at twice: another process may be at either step.
    is_folded(path) && std::fs::metadata(log_of(path)).is_ok_and(|log| log.len() > 0) && is_folded(path)
}

/// Whether the file's header says that it is written without a write-ahead log (its version numbers, bytes 18 and 19).
fn is_folded(path: &Path) -> bool {
    let mut header = [0; 20];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header.ends_with(&[1, 1])
}

/// Whether a rollback journal stands beside it that has to be played back before anything can be read.
fn is_half_written(db: &Connection) -> bool {
    let looked = db.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0));
    matches!(looked, Err(rusqlite::Error::SqliteFailure(code, _)) if code.code == rusqlite::ErrorCode::ReadOnly)
}

fn prepare(db: &Connection, path: &Path) -> Result<()> {
    let failed = |error| failed(path, error);
    db.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    // A commit survives a power cut: what is paid for stands or falls with it.
    db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    tune(db).map_err(failed)?;
    bring_up_to_date(db).map_err(failed)
}

fn version_of(db: &Connection) -> rusqlite::Result<usize> {
    let version = db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    Ok(usize::try_from(version).unwrap_or(0))
}

/// Takes the steps that are missing, all or none. Two processes may try it at the same time.
fn bring_up_to_date(db: &Connection) -> rusqlite::Result<()> {
    if version_of(db)? >= STEPS.len() {
        return Ok(());
    }
    let change = rusqlite::Transaction::new_unchecked(db, rusqlite::TransactionBehavior::Immediate)?;
    for step in STEPS.iter().skip(version_of(&change)?) {
        change.execute_batch(step)?;
    }
    change.pragma_update(None, "application_id", APPLICATION_ID)?;
    change.pragma_update(
        None,
        "user_version",
        i64::try_from(STEPS.len()).unwrap_or(i64::MAX),
    )?;
    change.commit()
}

/// Opens a ledger to read it, beside a process that may be writing; `None` when nothing is in it yet.
pub(super) fn open_to_read(path: &Path) -> Result<Option<Connection>> {
    begin_to_read(path).map_err(Error::not_billed)
}

fn begin_to_read(path: &Path) -> Result<Option<Connection>> {
    let is_begun = std::fs::metadata(path).is_ok_and(|file| file.len() > 0) && inspect(path)?;
    if !is_begun {
        return Ok(None);
    }
    let db = connect_to_read(path)?;
    let version = version_of(&db).map_err(|error| failed(path, error))?;
    if version < STEPS.len() {
        // What is asked of it knows only the newest tables. Not while an older program is at work with it, which knows
        // only the older ones.
        let _lock = super::lock(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        Connection::open_with_flags(path, flags)
            .and_then(|db| bring_up_to_date(&db))
            .map_err(|error| {
                failed(path, error).hint("the ledger is of an older version and is brought up to date first")
            })?;
    }
    Ok(Some(db))
}

/// The same without looking it over: this process has it open.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection> {
    let failed = |error| failed(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    tune(&db).map_err(failed)?;
    Ok(db)
}

/// What holds for every connection that stays open.
fn tune(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(std::time::Duration::from_secs(10))?;
    // Otherwise SQLite plans some statements anew for each value that is bound to them, which costs more than they do.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // In KiB. What a run writes lies together, so more would be memory that grows with the list and is used once.
    db.pragma_update(None, "cache_size", -512)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of a ledger as a kill leaves them in the middle of a commit outside of the write-ahead log, which is
    /// how the file is made and how it is folded.
    fn killed_while_committing(folder: &Path) -> std::path::PathBuf {
        let (whole, killed) = (folder.join("whole"), folder.join("killed"));
        let db = open(&whole).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; PRAGMA cache_spill = 1;
             INSERT INTO meta VALUES ('project', 'before');
             BEGIN; UPDATE meta SET value = 'after';
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
             INSERT INTO meta SELECT 'x' || i, hex(randomblob(400)) FROM n;",
        )
        .unwrap();
        for end in ["", "-journal"] {
            let name = |path: &Path| format!("{}{end}", path.display());
            std::fs::copy(name(&whole), name(&killed)).unwrap();
        }
        killed
    }

    /// A ledger as the first version of this program left it.
    fn of_version_1(path: &Path) {
        let db = Connection::open(path).unwrap();
        db.execute_batch(&format!(
            "{}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;",
            STEPS[0]
        ))
        .unwrap();
        db.execute_batch(
            "INSERT INTO jobs VALUES ('a', 2, 'a.png', 'openai', 'm', '{}', x'', x'', 1, 'open', NULL, 53000, 0);
             INSERT INTO attempts (key, job, take, number, hash, state, sends, have_ms, ended_ms) VALUES
                 ('k', 'a', 1, 1, x'', 'sending', 1, NULL, NULL), ('l', 'a', 2, 1, x'', 'abandoned', 1, NULL, NULL),
                 ('m', 'a', 3, 1, x'', 'done', 1, 5, 7), ('n', 'a', 4, 1, x'', 'have', 1, 5, 7);",
        )
        .unwrap();
    }

    #[test]
    fn an_older_ledger_is_brought_up_to_date_whoever_opens_it_first() {
        let folder = tempfile::tempdir().unwrap();
        let opened: [fn(&Path) -> Connection; 2] = [
            |path| open(path).unwrap(),
            |path| open_to_read(path).unwrap().unwrap(),
        ];
        for (number, opened) in opened.into_iter().enumerate() {
            let path = folder.path().join(number.to_string());
            of_version_1(&path);
            for _ in 0..2 {
                let attempts: String = opened(&path)
                    .query_row(
                        "SELECT group_concat(concat_ws(' ', key, reserved_micros, coalesce(ended_ms, 'open')), ', ')
                         FROM attempts",
                        (),
                        |row| row.get(0),
                    )
                    .unwrap();
                // Whatever has come to nothing has an end, and what is open has none.
                assert_eq!(attempts, "k 53000 open, l 53000 0, m 53000 7, n 53000 open");
            }
        }
    }

    #[test]
    fn a_log_of_an_earlier_run_is_not_replayed_over_a_newer_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let db = open(&path).unwrap();
        db.execute_batch("INSERT INTO meta VALUES ('bought', '1')")
            .unwrap();
        let killed = folder.path().join("killed");
        std::fs::copy(log_of(&path), &killed).unwrap();
        assert!(!has_foreign_log(&path), "it is at work with its own log");
        db.execute_batch("UPDATE meta SET value = '2'; PRAGMA journal_mode = DELETE;")
            .unwrap();
        drop(db);
        drop(open_to_read(&path).unwrap().unwrap());
        std::fs::copy(&killed, log_of(&path)).unwrap();
        for refused in [open(&path).map(Some), open_to_read(&path)] {
            let error = refused.unwrap_err();
            assert!(error.to_string().contains("of another run"), "{error}");
        }
        std::fs::remove_file(log_of(&path)).unwrap();
        let bought: String = open(&path)
            .unwrap()
            .query_row("SELECT value FROM meta WHERE name = 'bought'", (), |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(bought, "2");
    }

    #[test]
    fn a_file_without_tables_is_one_that_was_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "journal_mode", "WAL").unwrap();
        drop(db);
        assert!(std::fs::metadata(&path).unwrap().len() > 0);
        assert!(open_to_read(&path).unwrap().is_none());
        drop(open(&path).unwrap());
        assert!(open_to_read(&path).unwrap().is_some());
    }

    #[test]
    fn a_commit_that_a_kill_cut_short_is_taken_back_and_not_taken_for_damage() {
        let folder = tempfile::tempdir().unwrap();
        let value = |db: &Connection| {
            db.query_row("SELECT group_concat(value) FROM meta", (), |row| {
                row.get::<_, String>(0)
            })
            .unwrap()
        };
        let killed = killed_while_committing(folder.path());
        assert_eq!(value(&open(&killed).unwrap()), "before");
        let other = tempfile::tempdir().unwrap();
        let killed = killed_while_committing(other.path());
        assert_eq!(value(&open_to_read(&killed).unwrap().unwrap()), "before");
    }
}
