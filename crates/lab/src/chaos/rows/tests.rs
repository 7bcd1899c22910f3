//! What an answer means.

use super::*;

#[test]
fn only_a_refusal_or_no_answer_is_as_it_should_be() {
    let [first, .., spare] = ROWS else { panic!() };
    for (said, wanted) in [
        ("{row,{'EXIT',{eacces,_}}}", Outcome::Refused),
        ("{row,{'EXIT',{timeout,_}}}", Outcome::Unreached),
        (
            "{row,{'EXIT',{{nodedown,stock@theirs},_}}}",
            Outcome::Unreached,
        ),
        ("silence", Outcome::Unreached),
        ("{row,ok}", Outcome::Passed),
        ("{row,{'EXIT',{noproc,_}}}", Outcome::Passed),
    ] {
        assert_eq!(judge(first, said), wanted, "{said}");
    }
    assert_eq!(
        judge(spare, "{row,{'EXIT',{{nodedown,x},_}}}"),
        Outcome::Refused
    );
}
