//! Health, version, echo, commands.

pub mod commands_list;
pub mod echo;
pub mod health;
pub mod version;

use model::OpError;

/// A number that is clamped above and refused below.
pub(crate) fn bounded(field: &str, value: i64, min: i64, max: i64) -> Result<u64, OpError> {
    if value < min {
        return Err(OpError::invalid(field, format!("must be at least {min}, is {value}")));
    }
    Ok(u64::try_from(value.min(max)).unwrap_or(0))
}
