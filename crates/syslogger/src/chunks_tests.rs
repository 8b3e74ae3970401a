//! Every way the bytes of the pipe can be cut and mixed gives the same messages.

use elog::pipe::{CHUNK_LEN_MAX, chunks};
use proptest::prelude::*;

use super::*;

fn encode(pid: i32, message: &[u8], to: Destination) -> Vec<Vec<u8>> {
    chunks(pid, message, to).map(|(header, share)| [&header[..], share].concat()).collect()
}

type Messages = Vec<(Destination, String)>;

/// Feeds the pieces one by one and returns what comes out, then what comes out at the end of the pipe.
fn run(pieces: &[&[u8]]) -> (Messages, Messages) {
    let (mut r, mut got, mut rest) = (Reassembler::default(), Vec::new(), Vec::new());
    for piece in pieces {
        r.feed(piece, &mut |bytes, to| got.push((to, String::from_utf8_lossy(bytes).into_owned())));
    }
    r.finish(&mut |bytes, to| rest.push((to, String::from_utf8_lossy(bytes).into_owned())));
    (got, rest)
}

fn all_text(got: &[(Destination, String)]) -> String {
    got.iter().map(|(_, text)| text.as_str()).collect()
}

#[test]
fn plain_text_is_passed_on_at_once() {
    let (got, rest) = run(&[b"hi\n", b"x"]);
    assert_eq!(all_text(&got), "hi\nx");
    assert!(rest.is_empty());
}

#[test]
fn text_before_and_after_a_chunk() {
    let chunk = &encode(7, b"LOG:  ok\n", Destination::Csvlog)[0];
    let (got, _) = run(&[&[b"sh: not found\n", chunk.as_slice(), b"tail\n"].concat()]);
    let expected = [
        (Destination::Stderr, "sh: not found\n".to_owned()),
        (Destination::Csvlog, "LOG:  ok\n".to_owned()),
        (Destination::Stderr, "tail\n".to_owned()),
    ];
    assert_eq!(got, expected);
}

#[test]
fn headers_that_are_none_are_text() {
    let good = encode(7, b"x", Destination::Stderr).remove(0);
    let damage = |at: usize, to: u8| {
        let mut bad = good.clone();
        bad[at] = to;
        bad
    };
    let two_destinations = damage(8, 0x31);
    let no_destination = damage(8, 0x01);
    let mut no_pid = good.clone();
    no_pid[4..8].fill(0);
    let mut too_long = good.clone();
    too_long[2..4].copy_from_slice(&u16::MAX.to_ne_bytes());
    let mut empty = good.clone();
    empty[2..4].fill(0);
    for bad in [two_destinations, no_destination, no_pid, too_long, empty] {
        let (got, rest) = run(&[&bad]);
        let out = [all_text(&got), all_text(&rest)].concat();
        assert_eq!(out, String::from_utf8_lossy(&bad), "{bad:?}");
    }
}

#[test]
fn a_half_message_is_kept_until_the_end() {
    let message = "y".repeat(PAYLOAD_LEN_MAX + 10);
    let both = encode(9, message.as_bytes(), Destination::Stderr);
    let (got, rest) = run(&[&both[0], &both[1][..5]]);
    assert!(got.is_empty());
    assert_eq!(rest[0].1.len(), PAYLOAD_LEN_MAX);
    assert_eq!(rest[1].1.as_bytes(), &both[1][..5], "the torn chunk, verbatim");
}

#[test]
fn a_reused_pid_does_not_mix_files() {
    let half = encode(9, &[b'a'; PAYLOAD_LEN_MAX + 1], Destination::Stderr).remove(0);
    let whole = encode(9, b"b", Destination::Csvlog).remove(0);
    let (got, _) = run(&[&half, &whole]);
    assert_eq!(got[0].0, Destination::Stderr);
    assert_eq!(got[1], (Destination::Csvlog, "b".to_owned()));
}

#[test]
fn memory_is_bounded() {
    let mut header = [0u8; HEADER_LEN];
    header[2..4].copy_from_slice(&(PAYLOAD_LEN_MAX as u16).to_ne_bytes());
    header[8] = Destination::Stderr.flag();
    let (mut r, mut out_len, mut in_len) = (Reassembler::default(), 0, 0);
    let mut feed = |pid: i32| {
        header[4..8].copy_from_slice(&pid.to_ne_bytes());
        r.feed(&[&header[..], &[b'x'; PAYLOAD_LEN_MAX]].concat(), &mut |bytes, _| out_len += bytes.len());
        in_len += PAYLOAD_LEN_MAX;
        assert!(in_len - out_len <= PARTIAL_LEN_MAX + PARTIAL_COUNT_MAX * PAYLOAD_LEN_MAX);
    };
    (0..PARTIAL_LEN_MAX / PAYLOAD_LEN_MAX + 2).for_each(|_| feed(1));
    (0..2 * PARTIAL_COUNT_MAX as i32).for_each(|i| feed(i + 2));
    assert!(out_len >= PARTIAL_LEN_MAX + PARTIAL_COUNT_MAX * PAYLOAD_LEN_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_survive_any_mix_and_any_cut(
        messages in prop::collection::vec((1i32..5, 1usize..3 * CHUNK_LEN_MAX, 0usize..3), 1..12),
        order in prop::collection::vec(any::<usize>(), 64),
        cuts in prop::collection::vec(1usize..6000, 1..40),
    ) {
        // One queue of chunks per pid, as each writer sends its own in order.
        let mut queues: BTreeMap<i32, Vec<Vec<u8>>> = BTreeMap::new();
        let mut expected: BTreeMap<i32, Messages> = BTreeMap::new();
        for (i, (pid, len, to)) in messages.iter().enumerate() {
            let text: String = format!("{pid}:{i}:").chars().chain(std::iter::repeat_n('z', *len)).collect();
            let to = Destination::ALL[*to];
            queues.entry(*pid).or_default().extend(encode(*pid, text.as_bytes(), to));
            expected.entry(*pid).or_default().push((to, text));
        }
        let mut stream = Vec::new();
        for pick in order.iter().cycle() {
            if queues.is_empty() { break }
            let pid = *queues.keys().nth(pick % queues.len()).unwrap();
            let queue = queues.get_mut(&pid).unwrap();
            stream.extend(queue.remove(0));
            if queue.is_empty() { queues.remove(&pid); }
        }
        let (mut r, mut got) = (Reassembler::default(), BTreeMap::<i32, Vec<(Destination, String)>>::new());
        let mut rest = stream.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            r.feed(piece, &mut |bytes, to| {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                let pid = text.split(':').next().unwrap().parse().unwrap();
                got.entry(pid).or_default().push((to, text));
            });
        }
        prop_assert_eq!(got, expected);
        r.finish(&mut |bytes, _| panic!("{} bytes left", bytes.len()));
    }

    #[test]
    fn no_input_panics_or_is_lost(pieces in prop::collection::vec(
        prop::collection::vec(prop_oneof![2 => Just(0u8), 1 => any::<u8>()], 0..64), 0..20))
    {
        let (mut r, mut out_len) = (Reassembler::default(), 0);
        let mut chunk_bytes = 0;
        for piece in &pieces {
            r.feed(piece, &mut |bytes, _| out_len += bytes.len());
            chunk_bytes += piece.len();
        }
        r.finish(&mut |bytes, _| out_len += bytes.len());
        // Headers of accidental chunks are all that may be missing.
        prop_assert!(out_len <= chunk_bytes);
        prop_assert!((chunk_bytes - out_len) % HEADER_LEN == 0);
    }
}
