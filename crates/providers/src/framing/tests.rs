use proptest::prelude::*;

use super::*;

fn sse(pieces: &[&[u8]]) -> Vec<String> {
    let mut parser = SseParser::default();
    let mut events = Vec::new();
    for piece in pieces {
        parser.feed(piece, |data| keep(&mut events, data)).unwrap();
    }
    parser.finish(|data| keep(&mut events, data)).unwrap();
    events
}

fn lines(pieces: &[&[u8]]) -> Vec<String> {
    let mut parser = LineParser::default();
    let mut events = Vec::new();
    for piece in pieces {
        parser.feed(piece, |data| keep(&mut events, data)).unwrap();
    }
    parser.finish(|data| keep(&mut events, data)).unwrap();
    events
}

fn keep(events: &mut Vec<String>, payload: &[u8]) -> Result<(), Fault> {
    events.push(String::from_utf8_lossy(payload).into_owned());
    Ok(())
}

/// Cuts `bytes` at the given places, taken modulo their number.
fn cut<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

#[test]
fn data_lines_are_joined_and_other_fields_passed_over() {
    let text = "\u{feff}: hello\nevent: x\nid: 7\ndata: one\ndata:two\ndata\ndata:  three\nretry: 10\n\ndatabase: no\n\n\ndata: last\n\n";
    assert_eq!(sse(&[text.as_bytes()]), ["one\ntwo\n\n three", "last"]);
}

#[test]
fn lines_may_end_with_cr_lf_or_both() {
    assert_eq!(sse(&[b"data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\r\n\n"]), ["a", "b", "c", "d"]);
    assert_eq!(sse(&[b"data: a\r", b"\n\r", b"\ndata: b\r", b"\r"]), ["a", "b"]);
}

#[test]
fn a_character_split_over_pieces_stays_whole() {
    let text = "data: žluťoučký 🐴\n\n".as_bytes();
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(sse(&bytes), ["žluťoučký 🐴"]);
}

#[test]
fn a_last_event_without_its_end_counts_only_when_whole() {
    assert_eq!(sse(&[b"data: {\"a\":1}"]), ["{\"a\":1}"]);
    assert_eq!(sse(&[b"data: [DONE]\n"]), ["[DONE]"]);
    assert_eq!(sse(&[b"data: {\"a\":"]), Vec::<String>::new());
    assert_eq!(lines(&[b"{\"a\":1}\n{\"b\":"]), ["{\"a\":1}"]);
    assert_eq!(lines(&[b" \n{\"a\":1}\r\n\n{\"b\":2}"]), ["{\"a\":1}", "{\"b\":2}"]);
}

#[test]
fn an_event_beyond_the_limit_is_refused() {
    let fault = SseParser::with_limit(8).feed(b"data: 1\ndata: 2\ndata: 345678\n", |_| Ok(())).unwrap_err();
    assert_eq!(fault.kind, ProviderErrorKind::Malformed);
    let fault = SseParser::with_limit(8).feed(b"data: 12345", |_| Ok(())).unwrap_err();
    assert_eq!(fault.kind, ProviderErrorKind::Malformed);
    let fault = LineParser::with_limit(8).feed(b"123456789", |_| Ok(())).unwrap_err();
    assert_eq!(fault.kind, ProviderErrorKind::Malformed);
}

#[test]
fn the_receiver_can_stop_the_parsing() {
    let stop = |_: &[u8]| Err(Fault::new(ProviderErrorKind::Overloaded, "enough"));
    assert_eq!(SseParser::default().feed(b"data: 1\n\ndata: 2\n\n", stop).unwrap_err().message, "enough");
    assert_eq!(LineParser::default().feed(b"1\n2\n", stop).unwrap_err().message, "enough");
}

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_the_same_events(
        text in "(data: ?|event: |: |data|x|é|🐴|\\{\"a\":1\\}|\n|\r|\r\n){0,40}",
        places in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let bytes = text.as_bytes();
        prop_assert_eq!(sse(&cut(bytes, &places)), sse(&[bytes]));
        prop_assert_eq!(lines(&cut(bytes, &places)), lines(&[bytes]));
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        places in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        prop_assert_eq!(sse(&cut(&bytes, &places)), sse(&[&bytes]));
        prop_assert_eq!(lines(&cut(&bytes, &places)), lines(&[&bytes]));
    }
}
