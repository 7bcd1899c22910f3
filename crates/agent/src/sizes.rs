//! What the futures of a connection take: every link keeps that of its carrying for as long as it lives, and a thousand idle ones
//! are to stay below 64 MiB with all else. What a change adds to them is seen here first.

use crate::enforce::Flow;
use crate::passage::Passage;
use crate::relay::Course;
use crate::wire::LinkStream;
use crate::{inbound, outbound};

/// The size of what a function returns, which need not be called for it.
macro_rules! size_of_result {
    ($function:path, $($argument:ident),+) => {{
        fn of<F, $($argument),+>(_: impl FnOnce($($argument),+) -> F) -> usize {
            size_of::<F>()
        }
        of($function)
    }};
}

/// In bytes, with a few hundred to spare.
fn assert_at_most(most: usize, found: usize, what: &str) {
    assert!(
        found <= most,
        "{what}: found {found} bytes, wanted at most {most}"
    );
    eprintln!("{what}: {found} bytes");
}

#[test]
fn what_a_connection_takes_stays_small() {
    assert_at_most(1536, size_of::<LinkStream>(), "a link's stream");
    assert_at_most(1024, size_of::<Flow>(), "a flow");
    assert_at_most(1536, size_of::<Passage>(), "a passage");
    let served = size_of_result!(inbound::serve, A, B, C, D);
    assert_at_most(5 * 1024, served, "serving a connection to the link port");
    let served = size_of_result!(outbound::serve, A, B, C, D, E);
    assert_at_most(5 * 1024, served, "serving a connection to a stand-in port");
    let carried = size_of_result!(outbound::go_on, A, B, C, D, E);
    assert_at_most(8 * 1024, carried, "carrying a link");
    let relayed = size_of_result!(Course::run, A, B, C);
    assert_at_most(4 * 1024, relayed, "relaying");
}
