//! An attacker without a key of the foreign domain: he has every document that was ever published, makes documents and
//! identities of his own, and shows them in any order, between restarts. What is believed stays what was brought or
//! published, and never goes back.

use std::sync::OnceLock;

use proptest::prelude::*;

use super::tests::{by_spiffe, document, proof, root, theirs};
use super::*;
use crate::federation::link::tests::{ENDPOINT, NODE};
use crate::forge::Forge;
use crate::testing::{NOW, authority, later};

/// Their roots, one after another: publication `n` has roots `n` and `n + 1`, and its endpoint is proven by root `n`.
const ROOTS: usize = 6;

struct World {
    roots: Vec<Forge>,
    attackers: Forge,
    own: Bundle,
    links: Links,
}

fn world() -> &'static World {
    static ONE: OnceLock<World> = OnceLock::new();
    ONE.get_or_init(|| {
        let roots: Vec<_> = (0..ROOTS).map(|_| root(&theirs())).collect();
        World {
            links: by_spiffe(&roots[0]),
            attackers: root(&theirs()),
            own: authority().bundle().unwrap(),
            roots,
        }
    })
}

impl World {
    fn published(&self, n: usize) -> String {
        document(&[&self.roots[n], &self.roots[n + 1]], n as u64 + 1)
    }

    fn keys_of(&self, n: usize) -> [[u8; 32]; 2] {
        [n, n + 1].map(|at| *self.roots[at].bundle().unwrap().keys().next().unwrap())
    }
}

#[derive(Debug, Clone)]
enum Act {
    /// Their endpoint publishes the next one, and we fetch it.
    Publish,
    /// The endpoint, or what stands before it, shows an old document over a connection that is in order.
    Replay(usize),
    /// A document of the attacker's, of this sequence, shown by somebody who is not the endpoint.
    Forge {
        sequence: u64,
        by: usize,
    },
    /// A document that was published, shown by somebody who is not the endpoint.
    Repeat {
        n: usize,
        by: usize,
    },
    Restart,
    Wait(u64),
    Follow,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Publish),
        3 => (0..ROOTS - 1).prop_map(Act::Replay),
        4 => (prop_oneof![0..9u64, Just(u64::MAX)], 0..6usize)
            .prop_map(|(sequence, by)| Act::Forge { sequence, by }),
        2 => (0..ROOTS - 1, 0..6usize).prop_map(|(n, by)| Act::Repeat { n, by }),
        2 => Just(Act::Restart),
        1 => (0..4 * 3600u64).prop_map(Act::Wait),
        1 => Just(Act::Follow),
    ]
}

/// Everybody but the endpoint, with keys that the attacker has or not.
fn impostor(world: &World, by: usize) -> Option<Evidence> {
    Some(match by {
        0 => return None,
        1 => proof(ENDPOINT, &world.attackers),
        2 => proof(NODE, &world.roots[0]),
        3 => proof("spiffe://lab.test/skans/control/c1", &world.roots[0]),
        4 => Evidence {
            signers: vec![],
            ..proof(ENDPOINT, &world.roots[0])
        },
        _ => Evidence {
            not_after: 1,
            ..proof(ENDPOINT, &world.roots[0])
        },
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_believed_was_brought_or_published_and_never_goes_back(acts in prop::collection::vec(act(), 1..40)) {
        let world = world();
        let mut foreign = Foreign::default();
        foreign.follow(&world.links, &world.own, NOW).unwrap();
        // Publications so far, the last one that was taken, and seconds that have passed.
        let (mut published, mut taken, mut passed) = (0, None, 0);
        for act in acts {
            let now = later(passed);
            let show = |foreign: &mut Foreign, text: &str, by: Option<&Evidence>| {
                let channel = by.map_or(Channel::Web, Channel::Spiffe);
                foreign.accept(&theirs(), text, channel, &world.links, &world.own, now)
            };
            // Whom the endpoint is proven by: a root of the bundle that is believed.
            let by = Evidence {
                not_after: u64::MAX,
                ..proof(ENDPOINT, &world.roots[taken.unwrap_or(0)])
            };
            match act {
                Act::Publish if published < ROOTS - 1 => {
                    let step = show(&mut foreign, &world.published(published), Some(&by));
                    prop_assert_eq!(step, Ok(Step::Forward));
                    taken = Some(published);
                    published += 1;
                }
                Act::Publish => {}
                Act::Replay(n) if n < published => {
                    let step = show(&mut foreign, &world.published(n), Some(&by));
                    prop_assert_eq!(step.is_ok(), Some(n) == taken, "{:?}", step);
                }
                Act::Replay(_) => {}
                Act::Forge { sequence, by } => {
                    let text = document(&[&world.attackers], sequence);
                    let by = impostor(world, by);
                    prop_assert!(show(&mut foreign, &text, by.as_ref()).is_err());
                }
                Act::Repeat { n, by } => {
                    let by = impostor(world, by);
                    prop_assert!(show(&mut foreign, &world.published(n), by.as_ref()).is_err());
                }
                Act::Restart => foreign = Foreign::from_bytes(&foreign.to_bytes()).unwrap(),
                Act::Wait(seconds) => passed = (passed + seconds).min(20 * 3600),
                Act::Follow => {
                    prop_assert_eq!(foreign.follow(&world.links, &world.own, now), Ok(false));
                }
            }
            let believed: Vec<_> = foreign
                .in_force(&world.links, later(passed))
                .flat_map(Bundle::keys)
                .copied()
                .collect();
            let right = match taken {
                None => world.keys_of(0)[..1].to_vec(),
                Some(n) => world.keys_of(n).to_vec(),
            };
            prop_assert_eq!(believed, right);
            prop_assert_eq!(foreign.sequence(&theirs()), taken.map(|n| n as u64 + 1));
        }
    }
}
