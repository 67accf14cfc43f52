//! What is to be done to a schema.
//!
//! Migrations are numbered, embedded and only go forward. A table says which were applied and with
//! what content, so that an edited one is noticed instead of half believed.

use crate::StoreError;

/// One step of a schema; the first of a list is number 1.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    pub name: &'static str,
    pub sql: &'static str,
}

/// A step that is still to be made.
#[derive(Debug)]
pub struct Missing {
    pub version: u32,
    pub checksum: String,
    pub migration: Migration,
}

/// What `found`, version and checksum of what was applied, lacks.
///
/// [`StoreError::FromTheFuture`] when a newer program was here; [`StoreError::Corrupt`] when a
/// migration was applied with other content than ours.
pub fn missing(found: &[(u32, String)], migrations: &[Migration]) -> Result<Vec<Missing>, StoreError> {
    let known = number(migrations.len());
    if let Some((version, _)) = found.last().filter(|(version, _)| *version > known) {
        return Err(StoreError::FromTheFuture { found: *version, known });
    }
    let mut missing = Vec::new();
    for (position, migration) in migrations.iter().enumerate() {
        let version = number(position + 1);
        let checksum = checksum(migration.sql);
        match found.get(position) {
            Some((at, there)) if *at == version && *there == checksum => {}
            Some((at, _)) => {
                let text = format!(
                    "migration {at} was applied with other content than migration {version} `{}` has",
                    migration.name
                );
                return Err(StoreError::Corrupt(text));
            }
            None => missing.push(Missing { version, checksum, migration: *migration }),
        }
    }
    Ok(missing)
}

/// FNV-1a: tells an edit, which is all that is asked of it.
pub fn checksum(sql: &str) -> String {
    let hash = sql
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// The version that a number of migrations leads to.
pub fn number(migrations: usize) -> u32 {
    u32::try_from(migrations).expect("there are few migrations")
}
