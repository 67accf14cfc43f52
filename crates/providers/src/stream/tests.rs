//! Whatever bytes a vendor sends, in whatever pieces: no panic, and the promise of [`Chunk`] is kept.

use proptest::prelude::*;

use super::*;
use crate::calls::CallIds;
use crate::chat::ChatRequest;
use crate::testkit::fixtures::{self, Fixture};

/// The chunks of a body, and whether it ended in a fault.
fn read<D: Decoder>(decoder: D, framing: Framing, pieces: &[&[u8]]) -> (Vec<Chunk>, bool) {
    let mut reading = Reading { framing, decoder, out: Vec::new(), has_finished: false };
    let result = pieces.iter().try_for_each(|piece| reading.feed(piece)).and_then(|()| reading.end());
    (reading.out, result.is_err())
}

/// Reads `pieces` as the vendor number `vendor` of [`vendors`].
fn read_as(vendor: usize, pieces: &[&[u8]]) -> (Vec<Chunk>, bool) {
    let ids = || CallIds::of(&ChatRequest::default());
    let sse = || Framing::Sse(SseParser::default());
    match vendor {
        0 => read(crate::openai::decode::Decoder::new(ids()), sse(), pieces),
        1 => read(crate::openai_responses::decode::Decoder::new(ids()), sse(), pieces),
        2 => read(crate::anthropic::decode::Decoder::new(ids()), sse(), pieces),
        3 => read(crate::gemini::decode::Decoder::new(ids()), sse(), pieces),
        _ => read(crate::ollama::decode::Decoder::new(ids()), Framing::Lines(LineParser::default()), pieces),
    }
}

fn vendors() -> [Fixture; 5] {
    [fixtures::openai(), fixtures::openai_responses(), fixtures::anthropic(), fixtures::gemini(), fixtures::ollama()]
}

fn bodies(fixture: &Fixture) -> [&'static str; 7] {
    [
        fixture.text.body,
        fixture.tools.body,
        fixture.reasoning.body,
        fixture.empty.body,
        fixture.length.body,
        fixture.unfinished,
        fixture.error,
    ]
}

/// Checks one `Finish`, last, unless there was a fault; calls announced once, in order, before their arguments.
fn check(chunks: &[Chunk], is_fault: bool) -> Result<(), TestCaseError> {
    let finishes = chunks.iter().filter(|chunk| matches!(chunk, Chunk::Finish(_))).count();
    prop_assert_eq!(finishes, usize::from(!is_fault));
    prop_assert!(is_fault || matches!(chunks.last(), Some(Chunk::Finish(_))));
    prop_assert!(chunks.iter().filter(|chunk| matches!(chunk, Chunk::Usage(_))).count() <= 1);
    let mut announced = Vec::new();
    for chunk in chunks {
        match chunk {
            Chunk::ToolCall { index, id, .. } => {
                prop_assert!(!id.is_empty());
                prop_assert!(!announced.contains(index));
                announced.push(*index);
            }
            Chunk::ToolArguments { index, .. } => prop_assert!(announced.contains(index)),
            _ => {}
        }
    }
    announced.sort_unstable();
    prop_assert!(is_fault || announced.iter().copied().eq(0..announced.len()));
    Ok(())
}

proptest! {
    #[test]
    fn damaged_streams_keep_the_promise(
        vendor in 0_usize..5,
        body in 0_usize..7,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut_at in any::<prop::sample::Index>(),
    ) {
        let mut bytes = bodies(&vendors()[vendor])[body].as_bytes().to_vec();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let middle = cut_at.index(bytes.len());
        let whole = read_as(vendor, &[&bytes]);
        check(&whole.0, whole.1)?;
        prop_assert_eq!(read_as(vendor, &[&bytes[..middle], &bytes[middle..]]), whole);
        let cut = read_as(vendor, &[&bytes[..middle]]);
        check(&cut.0, cut.1)?;
    }

    #[test]
    fn events_in_any_order_keep_the_promise(
        vendor in 0_usize..5,
        order in prop::collection::vec((0_usize..7, any::<prop::sample::Index>()), 0..30),
    ) {
        let vendor_bodies = bodies(&vendors()[vendor]);
        let separator = if vendor == 4 { "\n" } else { "\n\n" };
        let mut stream = String::new();
        for (body, event) in order {
            let events: Vec<&str> = vendor_bodies[body].split(separator).collect();
            stream.push_str(events[event.index(events.len())]);
            stream.push_str(separator);
        }
        let (chunks, is_fault) = read_as(vendor, &[stream.as_bytes()]);
        check(&chunks, is_fault)?;
    }
}
