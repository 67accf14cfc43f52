//! `Retry-After`: seconds, or a date.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// What the answer asks us to wait.
///
/// A date is read against the answer's own `Date`, so that neither clock must be right; without
/// one it is ignored. A moment in the past is no wait at all.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let now = http_date(headers.get(DATE)?.to_str().ok()?)?;
    let wait_ms = http_date(value)?.as_millisecond() - now.as_millisecond();
    Some(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; the obsolete forms are not sent by any vendor.
fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn read(pairs: &[(reqwest::header::HeaderName, &'static str)]) -> Option<Duration> {
        let map = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        retry_after(&map)
    }

    #[test]
    fn seconds_and_dates_are_read() {
        let now = (DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(read(&[(RETRY_AFTER, "7")]), Some(Duration::from_secs(7)));
        assert_eq!(read(&[(RETRY_AFTER, "0.5")]), Some(Duration::from_millis(500)));
        assert_eq!(read(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:07 GMT"), now.clone()]), Some(Duration::from_secs(30)));
        assert_eq!(read(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:00:00 GMT"), now.clone()]), Some(Duration::ZERO));
    }

    #[test]
    fn what_cannot_be_read_is_ignored() {
        assert_eq!(read(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:07 GMT")]), None);
        for value in ["soon", "-3", "inf", "NaN", ""] {
            assert_eq!(read(&[(RETRY_AFTER, value), (DATE, "Sun, 06 Nov 1994 08:49:37 GMT")]), None, "{value}");
        }
        assert_eq!(read(&[]), None);
    }
}
