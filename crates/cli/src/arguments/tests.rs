//! The command line without running anything.

use clap::CommandFactory;

use super::*;

#[test]
fn holds_together() {
    Arguments::command().debug_assert();
}

#[test]
fn durations() {
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
    assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
    for wrong in [
        "",
        "5",
        "s",
        "-1s",
        "1.5s",
        "5 m",
        "25h",
        "99999999999999999999s",
        "18446744073709551615h",
    ] {
        assert!(duration(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_up_takes() {
    let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
    assert!(parse("skans up --nodes 5 --for 10s --output json").is_ok());
    assert!(parse("skans up --nodes 0").is_err());
    assert!(parse("skans up --nodes 33").is_err());
    assert!(parse("skans up --prove --for 10s").is_err());
    assert!(parse("skans top --iterations 0").is_err());
}
