use proptest::prelude::*;

use super::*;

fn facts(state: State) -> Facts {
    Facts {
        state,
        certain: false,
        age: Duration::ZERO,
        renewed: None,
        lacking: None,
        waits: false,
        held: false,
    }
}

#[test]
fn a_key_is_denied_once_its_owner_has_lived_on_another_for_a_while() {
    let mut now = facts(State::Renewing);
    assert_eq!(next(&now), Next::Wait);
    now.renewed = Some(SETTLE - Duration::from_millis(1));
    assert_eq!(next(&now), Next::Wait);
    now.renewed = Some(SETTLE);
    assert_eq!(next(&now), Next::Cut);
}

#[test]
fn one_report_alone_never_cuts_an_owner_off_who_has_no_other_key() {
    let mut now = facts(State::Renewing);
    now.age = PATIENCE;
    assert_eq!(next(&now), Next::TellOfWaiting);
    now.waits = true;
    now.age = Duration::from_secs(86_400);
    assert_eq!(next(&now), Next::Wait);
    now.certain = true;
    assert_eq!(next(&now), Next::Cut);
    // In the end it has run out.
    now.certain = false;
    now.age = RUN_OUT;
    assert_eq!(next(&now), Next::End);
}

#[test]
fn it_is_over_when_the_denial_holds_everywhere_and_everybody_has_another_key() {
    let mut now = facts(State::Cutting);
    now.lacking = Some(3);
    assert_eq!(next(&now), Next::Wait);
    now.lacking = Some(0);
    assert_eq!(next(&now), Next::TellOfHeld);
    now.held = true;
    assert_eq!(next(&now), Next::Wait);
    now.renewed = Some(Duration::ZERO);
    assert_eq!(next(&now), Next::End);
    now.renewed = None;
    now.age = FOLLOWED;
    assert_eq!(next(&now), Next::End);
}

/// What happens around an incident, in the order in which it does.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// So many tenths of a second pass.
    Time(u8),
    /// The owner gets another key.
    Renewal,
    /// Another agent reports the same.
    Report,
    /// Some agent says that the denial holds.
    Acknowledgement,
    /// The writer dies; another one reads what was kept.
    Takeover,
}

fn happenings() -> impl Strategy<Value = Vec<Happens>> {
    let one = prop_oneof![
        4 => any::<u8>().prop_map(Happens::Time),
        1 => Just(Happens::Renewal),
        1 => Just(Happens::Report),
        2 => Just(Happens::Acknowledgement),
        1 => Just(Happens::Takeover),
    ];
    prop::collection::vec(one, 0..120)
}

proptest! {
    /// Whatever happens, in whatever order, and however often the writer changes: nobody is denied before it may be, each thing is told once,
    /// and what has begun ends.
    #[test]
    fn every_incident_keeps_to_its_course(happens in happenings(), by_person in any::<bool>()) {
        let mut at = Duration::ZERO;
        let (mut state, mut renewed, mut reports, mut lacking) = (State::Renewing, None, 1, 5_u64);
        let (mut waits, mut held, mut cuts) = (false, false, 0);
        let run_out = [Happens::Renewal, Happens::Time(255), Happens::Takeover];
        let settle = std::iter::repeat_n(Happens::Acknowledgement, 5);
        let ends = std::iter::repeat_n(Happens::Time(0), 5);
        for one in happens.into_iter().chain(run_out).chain(settle).chain(ends) {
            match one {
                Happens::Time(tenths) => at += Duration::from_millis(100) * u32::from(tenths),
                Happens::Renewal => renewed = renewed.or(Some(at)),
                Happens::Report => reports += 1,
                Happens::Acknowledgement if state == State::Cutting => lacking = lacking.saturating_sub(1),
                // All that is decided by is in the store: nothing to forget.
                Happens::Acknowledgement | Happens::Takeover => {}
            }
            let now = Facts {
                state,
                certain: by_person || reports >= 2,
                age: at,
                renewed: renewed.map(|since| at - since),
                lacking: (state == State::Cutting).then_some(lacking),
                waits,
                held,
            };
            match next(&now) {
                Next::Wait => {}
                Next::Cut => {
                    let settled = renewed.is_some_and(|since| at - since >= SETTLE);
                    prop_assert!(settled || (now.certain && at >= PATIENCE));
                    cuts += 1;
                    state = State::Cutting;
                }
                Next::TellOfWaiting => {
                    prop_assert!(!waits && renewed.is_none());
                    waits = true;
                }
                Next::TellOfHeld => {
                    prop_assert!(!held && lacking == 0);
                    held = true;
                }
                Next::End => {
                    prop_assert!(held && lacking == 0);
                    state = State::Over;
                }
            }
        }
        prop_assert_eq!(state, State::Over);
        prop_assert_eq!(cuts, 1);
    }
}
