mod bounds;
mod frames;
mod made;
mod read;

use proptest::prelude::*;

use super::*;
use crate::name::NodeName;
use made::{Form, Made, NAMES, framed, made, message, raw, shape, stream};
use read::{meaning, received, renamed};

const MAX_FRAME: u32 = 1 << 30;

fn names() -> Names {
    let name = |text: &str| text.parse::<NodeName>().unwrap();
    let pairs: Vec<_> = NAMES
        .iter()
        .map(|(from, to)| (name(from), name(to)))
        .collect();
    Names::new(&pairs).unwrap()
}

/// What goes on, if the stream comes in these chunks. Looks also whether the renamer keeps its promises to the caller.
fn relay(stream: &[u8], chunks: impl Iterator<Item = usize>, names: Names) -> Result<Vec<u8>> {
    relay_in_parts(stream, chunks, names, usize::MAX)
}

/// The same, by another renamer after each so many chunks.
fn relay_in_parts(
    stream: &[u8],
    mut chunks: impl Iterator<Item = usize>,
    names: Names,
    every: usize,
) -> Result<Vec<u8>> {
    let mut renamer = Renamer::new(names.clone(), MAX_FRAME);
    let mut count = 0;
    let (mut held, mut out, mut edits) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = stream;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(chunks.next().unwrap_or(4096).clamp(1, rest.len()));
        rest = behind;
        held.extend_from_slice(chunk);
        let decided = renamer.feed(&held, &mut edits)?;
        count += 1;
        if count % every == 0 {
            renamer = Renamer::thaw(&renamer.freeze().unwrap(), names.clone(), MAX_FRAME).unwrap();
        }
        let mut at = 0;
        for Edit { range, with } in &edits {
            assert!(at <= range.start && range.start < range.end && range.end <= decided);
            out.extend_from_slice(&held[at..range.start]);
            out.extend_from_slice(with);
            at = range.end;
        }
        out.extend_from_slice(&held[at..decided]);
        held.drain(..decided);
        assert!(held.len() < MOST_HELD);
        assert!(ends_between_frames(&out));
        let carried = renamer.sequences.entries();
        assert!(
            carried
                .map(|(_, _, message)| message.carried.len())
                .all(|length| length < skipper::MAX_PART)
        );
    }
    assert!(held.is_empty(), "the stream ends between frames");
    Ok(out)
}

fn ends_between_frames(mut out: &[u8]) -> bool {
    while let Some(prefix) = out.first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap() + 4;
        match out.get(length..) {
            Some(rest) => out = rest,
            None => return false,
        }
    }
    out.is_empty()
}

fn at_once(stream: &[u8], names: Names) -> Result<Vec<u8>> {
    relay(stream, std::iter::repeat(usize::MAX), names)
}

fn several() -> impl Strategy<Value = Vec<Made>> {
    prop::collection::vec(made(), 1..8)
}

fn order() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..30_usize, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn each_atom_that_is_a_name_becomes_another_and_nothing_else_does(all in several(), order in order()) {
        let stream = stream(&all, &order);
        let out = at_once(&stream, names()).unwrap();
        prop_assert_eq!(meaning(&out), renamed(&stream));
        prop_assert!(received(&out).iter().all(read::Received::funs_are_right));
    }

    #[test]
    fn the_other_direction_takes_it_back(all in several(), order in order()) {
        let stream = stream(&all, &order);
        let out = at_once(&stream, names()).unwrap();
        let back = at_once(&out, names().inverse()).unwrap();
        prop_assert_eq!(meaning(&back), meaning(&stream));
    }

    #[test]
    fn it_is_the_same_however_the_stream_is_cut(
        all in several(),
        order in order(),
        chunks in prop::collection::vec(1..60_usize, 1..20),
        every in 1..20_usize,
    ) {
        let stream = stream(&all, &order);
        let wanted = at_once(&stream, names()).unwrap();
        let chunks = || chunks.iter().copied().cycle();
        prop_assert_eq!(&relay(&stream, chunks(), names()).unwrap(), &wanted);
        let in_parts = relay_in_parts(&stream, chunks(), names(), every).unwrap();
        prop_assert_eq!(in_parts, wanted, "another renamer goes on where one was frozen");
    }

    #[test]
    fn it_is_the_same_however_a_message_is_cut(
        one in message(Just(Form::Header), shape().boxed()),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
    ) {
        let whole = stream(std::slice::from_ref(&one), &[0]);
        let mut cut = one;
        if let Made::Message { form, .. } = &mut cut {
            *form = Form::Fragments(cuts);
        }
        let wanted = meaning(&at_once(&whole, names()).unwrap());
        let in_parts = stream(&[cut], &[0]);
        prop_assert_eq!(meaning(&at_once(&in_parts, names()).unwrap()), wanted);
    }

    #[test]
    fn what_is_no_atom_goes_on_byte_for_byte(
        terms in prop::collection::vec(raw(), 1..6),
        form in made::form(),
        chunks in prop::collection::vec(1..60_usize, 1..20),
    ) {
        let tuple = made::Shape::Tuple(terms.into_iter().map(made::Shape::Raw).collect());
        let in_fragments = matches!(form, Form::Fragments(_));
        let all = [Made::Message {
            form,
            header: vec![3, 4],
            long: false,
            control: tuple.clone(),
            payload: Some(tuple),
        }];
        let stream = stream(&all, &[0]);
        let out = relay(&stream, chunks.iter().copied().cycle(), names()).unwrap();
        // A part that is cut moves to where it is whole.
        prop_assert!(in_fragments || out == stream);
        let terms = |stream: &[u8]| received(stream).iter().map(read::Received::terms).collect::<Vec<_>>();
        prop_assert_eq!(terms(&out), terms(&stream));
    }

    #[test]
    fn the_walk_takes_what_a_reader_takes(
        shape in shape(),
        at in any::<prop::sample::Index>(),
        with in prop::option::of(any::<u8>()),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut bytes = Vec::new();
        shape.put(&[], &mut bytes);
        if let Some(with) = with {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        let wanted = crate::term::Reader::new(&bytes).unwrap().skip().ok().map(|range| range.end);
        let names = names();
        let (mut walk, mut splices) = (skipper::Skipper::default(), Splices::default());
        walk.begin();
        let end = walk.run(&bytes, 0, &names, &mut splices);
        prop_assert_eq!(end.ok().filter(|_| walk.is_over()), wanted);
        // Piece by piece, the same.
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.push(bytes.len());
        places.sort_unstable();
        let mut walk = skipper::Skipper::default();
        walk.begin();
        let mut at = Ok(0);
        for end in places {
            at = at.and_then(|at| walk.run(&bytes[..end], at, &names, &mut splices));
        }
        prop_assert_eq!(at.ok().filter(|_| walk.is_over()), wanted);
    }
}
