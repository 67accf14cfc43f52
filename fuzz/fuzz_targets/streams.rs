//! What a vendor streams: the events must not depend on the pieces in which the bytes come.
//! The first byte says where the rest is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use providers::framing::{LineParser, SseParser};

/// Short enough for the fuzzer to reach it.
const LIMIT: usize = 256;

fuzz_target!(|input: &[u8]| {
    let Some((&step, bytes)) = input.split_first() else { return };
    let step = usize::from(step).max(1);
    assert_eq!(sse(bytes.chunks(step)), sse(std::iter::once(bytes)));
    assert_eq!(lines(bytes.chunks(step)), lines(std::iter::once(bytes)));
});

/// The events, and whether the parser gave up.
type Parsed = (Vec<Vec<u8>>, bool);

fn sse<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Parsed {
    let (mut parser, mut events) = (SseParser::with_limit(LIMIT), Vec::new());
    for piece in pieces {
        let fed = parser.feed(piece, |event: &[u8]| {
            events.push(event.to_vec());
            Ok(())
        });
        if fed.is_err() {
            return (events, true);
        }
    }
    let ended = parser.finish(|event: &[u8]| {
        events.push(event.to_vec());
        Ok(())
    });
    (events, ended.is_err())
}

fn lines<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Parsed {
    let (mut parser, mut events) = (LineParser::with_limit(LIMIT), Vec::new());
    for piece in pieces {
        let fed = parser.feed(piece, |event: &[u8]| {
            events.push(event.to_vec());
            Ok(())
        });
        if fed.is_err() {
            return (events, true);
        }
    }
    let ended = parser.finish(|event: &[u8]| {
        events.push(event.to_vec());
        Ok(())
    });
    (events, ended.is_err())
}
