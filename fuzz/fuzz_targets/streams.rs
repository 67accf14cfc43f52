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
    let sse = |step| {
        parsed(bytes.chunks(step), SseParser::with_limit(LIMIT), |parser, piece, events| {
            let keep = |event: &[u8]| {
                events.push(event.to_vec());
                Ok(())
            };
            match piece {
                Some(piece) => parser.feed(piece, keep).is_ok(),
                None => parser.finish(keep).is_ok(),
            }
        })
    };
    assert_eq!(sse(step), sse(bytes.len().max(1)));
    let lines = |step| {
        parsed(bytes.chunks(step), LineParser::with_limit(LIMIT), |parser, piece, events| {
            let keep = |event: &[u8]| {
                events.push(event.to_vec());
                Ok(())
            };
            match piece {
                Some(piece) => parser.feed(piece, keep).is_ok(),
                None => parser.finish(keep).is_ok(),
            }
        })
    };
    assert_eq!(lines(step), lines(bytes.len().max(1)));
});

type Events = Vec<Vec<u8>>;

/// The events, and whether the parser took everything. `take` feeds a piece, or ends the stream.
fn parsed<'a, P>(
    pieces: impl Iterator<Item = &'a [u8]>,
    mut parser: P,
    take: impl Fn(&mut P, Option<&[u8]>, &mut Events) -> bool,
) -> (Events, bool) {
    let mut events = Events::new();
    let is_whole = pieces.map(Some).chain([None]).all(|piece| take(&mut parser, piece, &mut events));
    (events, is_whole)
}
