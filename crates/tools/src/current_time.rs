//! `current_time`: the date and time, in a time zone.

use async_trait::async_trait;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::arguments::{schema_of, typed};
use crate::context::ToolContext;
use crate::tool::{Tool, ToolError, ToolOutput};
use crate::workspace::blocking;

pub struct CurrentTime;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// IANA name such as `Europe/Berlin`; absent = UTC.
    #[schemars(length(min = 1, max = 64))]
    time_zone: Option<String>,
}

#[async_trait]
impl Tool for CurrentTime {
    fn name(&self) -> &'static str {
        "current_time"
    }

    fn description(&self) -> &'static str {
        "Tells the current date, time and weekday, in UTC or in an IANA time zone. \
         Use it whenever an answer depends on today's date."
    }

    fn parameters(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolError> {
        let Arguments { time_zone } = typed(arguments)?;
        let now = context.clock.now();
        // Reads the system's zone table on first use.
        blocking(move || {
            let zone = match &time_zone {
                None => TimeZone::UTC,
                Some(name) => find_zone(name)?,
            };
            let instant = jiff::Timestamp::from_millisecond(now.as_ms()).map_err(|error| {
                ToolError::Failed(format!("the clock stands outside of what dates can say: {error}"))
            })?;
            let local = instant.to_zoned(zone);
            let (date, offset) = (local.strftime("%Y-%m-%dT%H:%M:%S"), local.strftime("%:z"));
            let name = time_zone.as_deref().unwrap_or("UTC");
            Ok(ToolOutput { text: format!("{date}{offset}, {}, {name}", local.strftime("%A")) })
        })
        .await
    }
}

fn find_zone(name: &str) -> Result<TimeZone, ToolError> {
    // Names only, so that no spelling can be taken for a path by the zone table.
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-/".contains(&b));
    let found = if is_name { TimeZone::get(name).ok() } else { None };
    found.ok_or_else(|| {
        ToolError::Invalid(format!(
            "`time_zone`: `{name}` is not a known IANA time zone; an example is `Europe/Berlin`"
        ))
    })
}
