use proptest::prelude::*;

use super::*;

fn cohorts(text: &str) -> Cohorts {
    text.parse().unwrap()
}

#[test]
fn an_agent_stands_in_the_same_place_in_every_release() {
    // Written down, so that no change of the hash moves agents between cohorts in the middle of a roll-out.
    let places = ["host-a", "host-b", "host-c", "agent-1"].map(place);
    assert_eq!(places, [6784, 4315, 2928, 6485]);
}

#[test]
fn a_tenth_is_about_a_tenth() {
    let names = (0..10_000).map(|n| format!("host-{n}"));
    let tenth = Cohort::Share(1000);
    let count = names.filter(|name| tenth.has(name)).count();
    assert!((900..1100).contains(&count), "{count}");
}

proptest! {
    #[test]
    fn each_cohort_has_those_before_it_in_it(agent in "[a-z0-9.-]{1,40}", small in 1_u16..5000, more in 1_u16..5000) {
        let all = cohorts(&format!("{agent}x+one,{}.{:02}%,{}.{:02}%", small / 100, small % 100, (small + more) / 100, (small + more) % 100));
        for n in 0..all.len() {
            prop_assert!(!all.has(n, &agent) || all.has(n + 1, &agent));
        }
        prop_assert!(all.has(1, "one") && all.has(3, "one") && !all.has(0, "one"));
        prop_assert_eq!(all.to_string().parse::<Cohorts>().unwrap(), all);
    }

    #[test]
    fn any_text_is_a_cohort_or_none(text in ".{0,40}") {
        if let Ok(all) = text.parse::<Cohorts>() {
            prop_assert_eq!(all.to_string().parse::<Cohorts>().unwrap(), all);
        }
    }
}

#[test]
fn what_is_no_cohort_is_refused() {
    for wrong in [
        "0%",
        "100.01%",
        "10",
        "10%,10%",
        "50%,10%",
        "%",
        "1.234%",
        "-1%",
        "a b",
        "a++b",
        "1%,2%,3%,4%,5%,6%,7%,8%,9%",
    ] {
        // A name may consist of digits.
        if wrong == "10" {
            continue;
        }
        assert!(wrong.parse::<Cohorts>().is_err(), "{wrong}");
    }
    assert_eq!(cohorts("0.25%,100%").to_string(), "0.25%,100%");
    assert!(cohorts("100%").has(1, "anybody"));
}
