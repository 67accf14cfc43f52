//! Columns in the model's types.

use model::Timestamp;
use serde::de::DeserializeOwned;
use store::StoreError;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::values::unescaped;

/// A column as the driver gives it; texts go through [`text`] instead.
pub fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| match std::error::Error::source(&error) {
        Some(cause) => StoreError::Corrupt(format!("{error}: {cause}")),
        None => StoreError::Corrupt(error.to_string()),
    })
}

pub fn text(row: &Row, column: usize) -> Result<String, StoreError> {
    get(row, column).map(unescaped)
}

pub fn text_if_any(row: &Row, column: usize) -> Result<Option<String>, StoreError> {
    Ok(get::<Option<&str>>(row, column)?.map(unescaped))
}

/// A text that names one of few values.
pub fn word<T>(row: &Row, column: usize, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, StoreError> {
    let text: &str = get(row, column)?;
    parse(text).ok_or_else(|| StoreError::Corrupt(format!("column {column} holds the unknown word `{text}`")))
}

pub fn json<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T, StoreError> {
    parsed(column, get(row, column)?)
}

pub fn json_if_any<T: DeserializeOwned>(row: &Row, column: usize) -> Result<Option<T>, StoreError> {
    get::<Option<&str>>(row, column)?.map(|text| parsed(column, text)).transpose()
}

fn parsed<T: DeserializeOwned>(column: usize, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("the JSON of column {column}: {error}")))
}

pub fn time(row: &Row, column: usize) -> Result<Timestamp, StoreError> {
    get(row, column).map(Timestamp::from_ms)
}

pub fn time_if_any(row: &Row, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp::from_ms))
}

pub fn count(row: &Row, column: usize) -> Result<u64, StoreError> {
    whole(column, get(row, column)?)
}

pub fn small_count(row: &Row, column: usize) -> Result<u32, StoreError> {
    whole(column, get(row, column)?)
}

fn whole<T: TryFrom<i64>>(column: usize, value: i64) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| StoreError::Corrupt(format!("column {column} holds {value}, which is no count")))
}
