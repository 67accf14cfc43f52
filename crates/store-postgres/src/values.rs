//! Values of statements.

use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use serde::Serialize;
use store::StoreError;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// PostgreSQL keeps no NUL in a text, and our callers may. It is kept as two characters that hardly
/// occur, of which the first announces the second.
const ESCAPE: char = '\u{10}';
const NUL_ESCAPED: &str = "\u{10}\u{11}";
const ESCAPE_ESCAPED: &str = "\u{10}\u{12}";

/// A value, owned so that its statement can be sent later.
#[derive(Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    Ints(Vec<i64>),
    Texts(Vec<String>),
    /// The values of one column, for many rows.
    Column(Vec<Value>),
}

/// What is stored is nobody's business: drivers write the values of statements to the log.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("_")
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, ty) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Bool(value), &Type::BOOL) => value.to_sql(ty, out),
            (Value::Int(value), &Type::INT8) => value.to_sql(ty, out),
            (Value::Text(value), &Type::TEXT) => value.to_sql(ty, out),
            (Value::Ints(values), &Type::INT8_ARRAY) => values.to_sql(ty, out),
            (Value::Texts(values), &Type::TEXT_ARRAY) => values.to_sql(ty, out),
            (Value::Column(values), _) => values.to_sql(ty, out),
            _ => Err(format!("a parameter of type {ty} was given another value").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A value kept as JSON text.
pub fn json(value: &impl Serialize) -> Result<Value, StoreError> {
    match serde_json::to_string(value) {
        // JSON writes NUL and its like as an escape of its own.
        Ok(text) => Ok(Value::Text(text)),
        Err(error) => Err(StoreError::Backend(Box::new(error))),
    }
}

/// A text as it is stored.
pub fn escaped(text: &str) -> String {
    if !text.contains(['\0', ESCAPE]) {
        return text.to_owned();
    }
    let mut stored = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\0' => stored.push_str(NUL_ESCAPED),
            ESCAPE => stored.push_str(ESCAPE_ESCAPED),
            c => stored.push(c),
        }
    }
    stored
}

/// A stored text as it was.
pub fn unescaped(stored: &str) -> String {
    if !stored.contains(ESCAPE) {
        return stored.to_owned();
    }
    stored.replace(NUL_ESCAPED, "\0").replace(ESCAPE_ESCAPED, "\u{10}")
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(escaped(text))
    }
}

impl From<&[&str]> for Value {
    fn from(texts: &[&str]) -> Self {
        Value::Texts(texts.iter().map(|text| escaped(text)).collect())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Value::from(text.as_str())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::from(text.as_str())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Int(i64::from(value))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// The values of a statement, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::values::Value::from($value)),*] };
}
pub(crate) use values;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_as_it_was() {
        for text in ["", "plain", "\0", "a\0b\0\0", "\u{10}", "\u{10}\u{11}\0\u{12}\u{10}\u{10}", "\u{10}\0\u{12}"] {
            let stored = escaped(text);
            assert!(!stored.contains('\0'), "{text:?}");
            assert_eq!(unescaped(&stored), text, "{stored:?}");
        }
        assert_eq!(escaped("日本 🦀"), "日本 🦀");
    }

    #[test]
    fn values_are_not_shown() {
        assert_eq!(format!("{:?}", values!["the text of a message", 5_i64]), "[_, _]");
    }
}
