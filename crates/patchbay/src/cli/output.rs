//! Results to stdout, messages to stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use model::Timestamp;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::{Exit, Failure};

/// One line of a result.
pub fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    written(writeln!(out, "{text}").and_then(|()| out.flush()))
}

/// A part of a line, shown at once.
pub fn piece(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// A reader that has seen enough (`| head`) is no failure, and nothing more is to be said.
fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::told(Exit::Success)),
        other => Ok(other?),
    }
}

/// A result as JSON: indented for people, one line for programs.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(if io::stdout().is_terminal() { serde_json::to_string_pretty(value)? } else { serde_json::to_string(value)? })
}

/// A result that came as JSON: indented for people, as it is for programs.
pub fn raw_json(raw: &RawValue) -> Result<(), Failure> {
    if io::stdout().is_terminal() { json(&serde_json::from_str::<Value>(raw.get())?) } else { line(raw.get()) }
}

/// A document as JSON, indented also in files.
pub fn document(value: &Value) -> Result<(), Failure> {
    line(serde_json::to_string_pretty(value)?)
}

/// Rows under a header; wraps to the width of a terminal.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)).collect::<Vec<_>>());
    }
    let is_on_terminal = io::stdout().is_terminal();
    for text in table.lines() {
        let text = text.trim_end();
        line(if is_on_terminal { text } else { text.trim_start() })?;
    }
    Ok(())
}

/// A message to the person at the terminal.
pub fn note(text: impl Display) {
    // Where nobody reads messages, they are not missed.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// A message that is not what the person asked for.
pub fn aside(text: impl Display) {
    const DIM: Style = Style::new().dimmed();
    note(format_args!("{DIM}{text}{DIM:#}"));
}

/// A word in a colour, for lines that go to stdout.
pub fn coloured(word: &str, colour: AnsiColor) -> String {
    let style = colour.on_default();
    format!("{style}{word}{style:#}")
}

/// Text from elsewhere without what could steer a terminal.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// The start of a text on one line.
pub fn excerpt(text: &str, chars_max: usize) -> String {
    let flat = printable(text).replace(['\n', '\t'], " ");
    if flat.chars().count() <= chars_max {
        return flat;
    }
    let kept: String = flat.chars().take(chars_max.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// `2026-05-04 10:00:00Z`; a dash for none.
pub fn time(ms: Option<i64>) -> String {
    ms.map_or_else(
        || String::from("-"),
        |ms| {
            let iso = Timestamp::from_ms(ms).to_iso();
            format!("{}Z", iso.split('.').next().unwrap_or(&iso).replace('T', " "))
        },
    )
}

/// `98.4 MB`, in powers of 1000.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut size = count as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_well() {
        assert_eq!([bytes(0), bytes(999), bytes(98_362_432)], ["0 B", "999 B", "98.4 MB"]);
        assert_eq!(time(Some(1_777_888_999_123)), "2026-05-04 10:03:19Z");
        assert_eq!(time(None), "-");
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\nc\u{7}"), "a[31mb\nc");
        assert_eq!(excerpt("one\ntwo three", 8), "one two…");
    }
}
