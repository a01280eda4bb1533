//! Rows of the ledger as values: what is selected of each table, and how it is read.

use std::path::PathBuf;

use media_core::{CostBasis, RequestHash, Usd};
use rusqlite::Row;
use rusqlite::types::Type;

use super::entry::{AttemptRow, Entry, OpenAttempt, TakeRow};

macro_rules! jobs {
    () => {
        "SELECT request, provider, model, asked, hash, take, status, result, protected FROM jobs"
    };
}

macro_rules! takes {
    () => {
        "SELECT take, hash, path, format, bytes, sha256, modified_ns, width, height, duration_ms, provenance FROM takes"
    };
}

macro_rules! attempts {
    () => {
        "SELECT key, take, number, state, link, facts, sha256, staged, cost_micros, sends, first_sent_ms, cost_basis,
             path, provider, model, group_key, account, reserved_micros, job, hash FROM attempts"
    };
}

pub(super) use {attempts, jobs, takes};

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        spec: parsed(row, 0)?.ok_or(rusqlite::Error::InvalidQuery)?,
        provider: row.get(1)?,
        model: row.get(2)?,
        asked: row.get(3)?,
        hash: hash(row, 4)?,
        take: row.get(5)?,
        status: named(row, 6)?,
        result: row.get(7)?,
        is_protected: row.get(8)?,
    })
}

pub(super) fn take_row(row: &Row<'_>) -> rusqlite::Result<TakeRow> {
    Ok(TakeRow {
        take: row.get(0)?,
        hash: hash(row, 1)?,
        path: row.get(2)?,
        format: row.get(3)?,
        bytes: count(row, 4)?,
        sha256: row.get(5)?,
        modified_ns: row.get(6)?,
        width: row.get(7)?,
        height: row.get(8)?,
        duration_ms: row.get::<_, Option<i64>>(9)?.map(i64::unsigned_abs),
        provenance: parsed(row, 10)?.unwrap_or_default(),
    })
}

pub(super) fn attempt_row(row: &Row<'_>) -> rusqlite::Result<AttemptRow> {
    Ok(AttemptRow {
        key: row.get(0)?,
        take: row.get(1)?,
        number: row.get(2)?,
        state: named(row, 3)?,
        link: parsed(row, 4)?,
        facts: parsed(row, 5)?.unwrap_or_default(),
        sha256: row.get(6)?,
        staged: row.get::<_, Option<String>>(7)?.map(PathBuf::from),
        cost: usd(row, 8)?,
        sends: row.get(9)?,
        first_sent_ms: row.get(10)?,
        basis: basis(row, 11)?,
        path: row.get(12)?,
        provider: row.get(13)?,
        model: row.get(14)?,
        batch: row.get(15)?,
        account: row.get(16)?,
        reserved: usd(row, 17)?,
    })
}

pub(super) fn open_attempt(row: &Row<'_>) -> rusqlite::Result<OpenAttempt> {
    Ok(OpenAttempt {
        attempt: attempt_row(row)?,
        job: row.get(18)?,
        hash: hash(row, 19)?,
    })
}

/// A column of JSON.
pub(super) fn parsed<T: serde::de::DeserializeOwned>(row: &Row<'_>, n: usize) -> rusqlite::Result<Option<T>> {
    let Some(text) = row.get::<_, Option<String>>(n)? else {
        return Ok(None);
    };
    let parsed = serde_json::from_str(&text);
    parsed
        .map(Some)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(n, Type::Text, Box::new(error)))
}

/// A column of names.
pub(super) fn named<T>(row: &Row<'_>, n: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let name: String = row.get(n)?;
    name.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(n, Type::Text, Box::new(error)))
}

pub(super) fn hash(row: &Row<'_>, n: usize) -> rusqlite::Result<RequestHash> {
    row.get(n).map(RequestHash::from_bytes)
}

fn basis(row: &Row<'_>, n: usize) -> rusqlite::Result<Option<CostBasis>> {
    let name: Option<String> = row.get(n)?;
    // Of what was not billed, or may have been, the column tells no more than its absence does.
    Ok(CostBasis::ALL
        .into_iter()
        .find(|basis| Some(basis.as_str()) == name.as_deref()))
}

pub(super) fn usd(row: &Row<'_>, n: usize) -> rusqlite::Result<Option<Usd>> {
    let micros: Option<i64> = row.get(n)?;
    Ok(micros.map(|micros| Usd::from_micros(micros.unsigned_abs())))
}

/// A sum of money, which is nothing where there is nothing to add up.
pub(super) fn sum(row: &Row<'_>, n: usize) -> rusqlite::Result<Usd> {
    Ok(usd(row, n)?.unwrap_or_default())
}

/// A number that is never negative.
pub(super) fn count(row: &Row<'_>, n: usize) -> rusqlite::Result<u64> {
    row.get(n).map(i64::unsigned_abs)
}
