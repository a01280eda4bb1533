//! Daily allowances that all runs and processes of a user share, by account.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use media_core::limit::{Day, DayUse, QuotaKey, QuotaStore};
use media_core::{Error, ErrorKind, Result, hex};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use media_core::sync::lock;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS salt (salt BLOB NOT NULL);
    INSERT INTO salt SELECT randomblob(32) WHERE NOT EXISTS (SELECT 1 FROM salt);
    CREATE TABLE IF NOT EXISTS used (
        account TEXT NOT NULL,
        bucket  TEXT NOT NULL,
        day_ms  INTEGER NOT NULL,
        end_ms  INTEGER NOT NULL,
        units   INTEGER NOT NULL,
        spent   INTEGER NOT NULL,
        PRIMARY KEY (account, bucket, day_ms)
    ) WITHOUT ROWID;";

/// Days that are over are of no use, but tell a person something for a while.
const KEPT_MS: i64 = 30 * 24 * 3600 * 1000;

/// A quota store in a file that every run of this user opens: each take is one transaction, so that two processes
/// together never take more than there is.
///
/// Keys of accounts are hashed once more with a salt of this file's own. Opened when it is first asked.
#[derive(Clone, Debug)]
pub struct SharedQuota {
    path: Option<PathBuf>,
    db: Arc<Mutex<Option<Open>>>,
}

#[derive(Debug)]
struct Open {
    db: Connection,
    salt: Vec<u8>,
}

impl Open {
    fn new(path: &Path) -> rusqlite::Result<Open> {
        let mut db = Connection::open(path)?;
        db.busy_timeout(std::time::Duration::from_secs(20))?;
        let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        change.execute_batch(TABLES)?;
        let long_ago = Timestamp::now().as_millisecond() - KEPT_MS;
        change.execute("DELETE FROM used WHERE end_ms < ?1", [long_ago])?;
        let salt = change.query_row("SELECT salt FROM salt", (), |row| row.get(0))?;
        change.commit()?;
        Ok(Open { db, salt })
    }

    fn account(&self, key: &QuotaKey) -> String {
        let mut hash = Sha256::new();
        hash.update(&self.salt);
        hash.update(&key.account);
        hex(&hash.finalize())
    }
}

impl SharedQuota {
    /// The store in this file, which is made when it is first asked. Without a place every question fails.
    #[must_use]
    pub fn at(path: Option<PathBuf>) -> SharedQuota {
        SharedQuota {
            path,
            db: Arc::default(),
        }
    }

    /// Changes what is known of a day, in one transaction that no other process can come between.
    async fn change<T: Send + 'static>(
        &self,
        key: &QuotaKey,
        day: &Day,
        change: impl FnOnce(&mut DayUse) -> T + Send + 'static,
    ) -> Result<T> {
        let (store, key, day) = (self.clone(), key.clone(), day.clone());
        let changed = tokio::task::spawn_blocking(move || store.change_now(&key, &day, change));
        changed
            .await
            .map_err(|error| self.failed("the daily quota broke down").because(error))?
    }

    fn change_now<T>(&self, key: &QuotaKey, day: &Day, change: impl FnOnce(&mut DayUse) -> T) -> Result<T> {
        let failed = |error| self.failed("the daily quota cannot be kept").because(error);
        let mut open = lock(&self.db);
        let open = match &mut *open {
            Some(open) => open,
            none => none.insert(self.open()?),
        };
        let account = open.account(key);
        let transaction = open
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let mut used = read(&transaction, &account, key, day).map_err(failed)?;
        let outcome = change(&mut used);
        write(&transaction, &account, key, day, used).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(outcome)
    }

    fn open(&self) -> Result<Open> {
        let Some(path) = &self.path else {
            return Err(self.failed("there is no home folder to keep the daily quota in"));
        };
        let failed = || self.failed("the daily quota cannot be kept");
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed().because(error))?;
        }
        Open::new(path).map_err(|error| failed().because(error))
    }

    fn failed(&self, what: &str) -> Error {
        let place = self.path.as_ref().map(|path| format!(" in {}", path.display()));
        Error::new(ErrorKind::Storage, format!("{what}{}", place.unwrap_or_default()))
            .not_billed()
            .hint("name another place for it by MEDIA_STATE_DIR")
    }
}

fn read(db: &Transaction<'_>, account: &str, key: &QuotaKey, day: &Day) -> rusqlite::Result<DayUse> {
    let found = db.query_row(
        "SELECT units, spent FROM used WHERE account = ?1 AND bucket = ?2 AND day_ms = ?3",
        params![account, key.bucket, day.start.as_millisecond()],
        |row| {
            Ok(DayUse {
                units: row.get::<_, i64>(0)?.unsigned_abs(),
                is_spent: row.get(1)?,
            })
        },
    );
    Ok(found.optional()?.unwrap_or_default())
}

fn write(
    db: &Transaction<'_>,
    account: &str,
    key: &QuotaKey,
    day: &Day,
    used: DayUse,
) -> rusqlite::Result<()> {
    let units = i64::try_from(used.units).unwrap_or(i64::MAX);
    db.execute(
        "INSERT OR REPLACE INTO used (account, bucket, day_ms, end_ms, units, spent) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            account,
            key.bucket,
            day.start.as_millisecond(),
            day.end.as_millisecond(),
            units,
            used.is_spent
        ],
    )
    .map(drop)
}

#[async_trait]
impl QuotaStore for SharedQuota {
    async fn take(&self, key: &QuotaKey, day: &Day, limit: u64, units: u64) -> Result<bool> {
        self.change(key, day, move |day| day.take(limit, units)).await
    }

    async fn give_back(&self, key: &QuotaKey, day: &Day, units: u64) -> Result<()> {
        self.change(key, day, move |day| day.give_back(units)).await
    }

    async fn exhaust(&self, key: &QuotaKey, day: &Day, limit: u64) -> Result<()> {
        self.change(key, day, move |day| day.exhaust(limit)).await
    }

    async fn used(&self, key: &QuotaKey, day: &Day) -> Result<DayUse> {
        if !self.path.as_ref().is_some_and(|path| path.exists()) {
            // Nothing was counted yet, and a question begins no file.
            return Ok(DayUse::default());
        }
        self.change(key, day, |day| *day).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: i64) -> Day {
        let day = |number: i64| Timestamp::from_second(1_900_000_000 + number * 86_400).unwrap();
        Day {
            start: day(number),
            end: day(number + 1),
        }
    }

    fn key(account: &str) -> QuotaKey {
        QuotaKey {
            account: account.to_owned(),
            bucket: "audio.requests".to_owned(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_that_take_at_once_never_take_more_than_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/quota.sqlite");
        let mut takers = Vec::new();
        for _ in 0..4 {
            // Each a connection of its own, as another process would have.
            let store = SharedQuota::at(Some(path.clone()));
            takers.push(tokio::spawn(async move {
                let mut taken = 0;
                for _ in 0..40 {
                    taken += u64::from(store.take(&key("a"), &day(0), 101, 2).await.unwrap());
                }
                taken
            }));
        }
        let mut taken = 0;
        for taker in takers {
            taken += taker.await.unwrap();
        }
        assert_eq!(taken, 50, "101 are fifty pairs");
        let store = SharedQuota::at(Some(path.clone()));
        assert_eq!(store.used(&key("a"), &day(0)).await.unwrap().units, 100);
        assert_eq!(store.used(&key("b"), &day(0)).await.unwrap().units, 0);
        assert_eq!(store.used(&key("a"), &day(1)).await.unwrap().units, 0);
    }

    #[tokio::test]
    async fn a_day_that_the_service_calls_spent_stays_spent_for_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quota.sqlite");
        let store = SharedQuota::at(Some(path.clone()));
        assert!(store.take(&key("a"), &day(0), 500, 2).await.unwrap());
        store.exhaust(&key("a"), &day(0), 500).await.unwrap();
        store.give_back(&key("a"), &day(0), 2).await.unwrap();
        let other = SharedQuota::at(Some(path.clone()));
        assert!(!other.take(&key("a"), &day(0), 500, 2).await.unwrap());
        assert!(other.take(&key("a"), &day(1), 500, 2).await.unwrap());
        other.give_back(&key("a"), &day(1), 1).await.unwrap();
        assert_eq!(store.used(&key("a"), &day(1)).await.unwrap().units, 1);
        let name = "0123456789abcdef";
        assert!(store.take(&key(name), &day(0), 500, 2).await.unwrap());
        let text = std::fs::read(&path).unwrap();
        assert!(
            !String::from_utf8_lossy(&text).contains(name),
            "accounts are not told"
        );
    }
}
