//! Two sessions over connections that die, stall and overtake each other, driven by chance from a seed: each byte
//! arrives once and in order, or the session ends on both sides. In version 2 it ends with its connection, in version 3 it
//! goes on with another.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a simulation fails by panicking"
)]

mod chance;
mod connecting;
mod traffic;
mod world;

use skans_link::{Reason, VERSION_MAX, VERSION_TAKEOVER};
use world::{A, B, World};

fn runs() -> u64 {
    std::env::var("SKANS_SIMULATIONS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_500)
}

/// What became of a schedule: one that has settled is the same on both sides.
fn check(world: &World, seed: u64) -> bool {
    let [a, b] = &world.sides;
    assert_eq!(
        a.over, b.over,
        "seed {seed}: a session that lives on one side only"
    );
    if a.done || b.done {
        assert_eq!((a.received, b.received), (b.said, a.said), "seed {seed}");
    } else if a.over {
        assert!(a.received <= b.said && b.received <= a.said, "seed {seed}");
    } else {
        assert_eq!((a.received, b.received), (b.said, a.said), "seed {seed}");
    }
    a.over
}

#[test]
fn each_byte_arrives_once_and_in_order_or_both_sides_end() {
    let (mut moved, mut given_up, mut resumed, mut ended) = (0, 0, 0, 0);
    let mut handed_over = 0;
    for seed in 0..runs() {
        let mut world = World::new(seed, VERSION_MAX);
        for _ in 0..600 {
            world.step(true);
        }
        world.settle();
        ended += u32::from(check(&world, seed));
        moved += world.takeovers;
        given_up += world.given_up;
        resumed += world.resumed;
        handed_over += world.handed_over;
    }
    // A simulation in which nothing happens proves nothing.
    assert!(moved > 1_000, "{moved} takeovers");
    assert!(given_up > 100, "{given_up} given up");
    assert!(resumed > 1_000, "{resumed} resumed");
    assert!(ended > 100, "{ended} ended");
    assert!(handed_over > 500, "{handed_over} handed over");
    println!(
        "{moved} takeovers, {resumed} losses outlived, {given_up} attempts given up, {ended} of {} sessions ended",
        runs()
    );
}

#[test]
fn in_version_2_the_session_ends_with_its_connection() {
    let (mut moved, mut ended) = (0, 0);
    for seed in 0..runs() / 2 {
        let mut world = World::new(seed, VERSION_TAKEOVER);
        for _ in 0..600 {
            world.step(true);
        }
        world.settle();
        ended += u32::from(check(&world, seed));
        moved += world.takeovers;
        assert_eq!(world.resumed, 0);
    }
    assert!(
        moved > 500 && ended > 50,
        "{moved} takeovers, {ended} ended"
    );
}

#[test]
fn without_faults_nothing_ends_whatever_overtakes_what() {
    for version in [VERSION_TAKEOVER, VERSION_MAX] {
        for seed in 0..runs() / 3 {
            let mut world = World::new(seed, version);
            for _ in 0..1_000 {
                world.step(false);
            }
            world.settle();
            assert!(!check(&world, seed), "seed {seed}");
            assert_eq!(world.resumed, 0, "nor is anything lost");
        }
    }
}

/// However often connections break, none that nobody ends is over.
#[test]
fn a_session_outlives_any_number_of_losses() {
    let mut resumed = 0;
    for seed in 0..runs() / 3 {
        let mut world = World::new(seed, VERSION_MAX);
        for _ in 0..1_000 {
            match world.chance.below(40) {
                0 => world.cut(),
                1 => {
                    let side = world.chance.below(2);
                    world.lose(side);
                }
                _ => world.step(false),
            }
        }
        world.settle();
        assert!(!check(&world, seed), "seed {seed}");
        resumed += world.resumed;
    }
    assert!(resumed > 1_000, "{resumed} resumed");
}

/// Half-open: what is written vanishes, and nobody is told. Nothing false arrives, and once a ping finds it out the session
/// goes on; in version 2 both sides end when the link's time is up.
#[test]
fn a_connection_that_swallows_everything_delivers_nothing_false() {
    for version in [VERSION_TAKEOVER, VERSION_MAX] {
        for seed in 0..runs() / 3 {
            let mut world = World::new(seed, version);
            for step in 0..800 {
                if step == 300 + (seed as usize % 200) {
                    let index = world.chance.below(world.connections.len());
                    world.connections[index].dead = true;
                }
                world.step(false);
            }
            if version == VERSION_MAX {
                world.lose(A);
                world.lose(B);
                world.settle();
                assert!(!check(&world, seed), "seed {seed}");
                continue;
            }
            world.end(A, Some(Reason::Expired));
            world.end(B, Some(Reason::Expired));
            let [a, b] = &world.sides;
            assert!(a.received <= b.said && b.received <= a.said, "seed {seed}");
        }
    }
}

/// Who says that all is done has seen the other side get all, whatever was lost, moved or sent again meanwhile.
#[test]
fn a_service_ends_with_all_of_both_directions_or_both_sides_know_that_it_does_not() {
    let (mut done, mut both, mut ended, mut resumed, mut moved) = (0, 0, 0, 0, 0);
    for seed in 0..runs() {
        let mut world = World::of(seed, VERSION_MAX, "postgres");
        // Without faults first, so that many are through by then, and many are not.
        for step in 0..600 {
            world.step(step > 100);
        }
        world.settle();
        check(&world, seed);
        let [a, b] = &world.sides;
        done += u32::from(a.done || b.done);
        both += u32::from(a.done && b.done);
        ended += u32::from(!a.done && !b.done);
        resumed += world.resumed;
        moved += world.takeovers;
    }
    assert!(
        done > 500 && both > 500,
        "{done} done, {both} of them on both sides"
    );
    assert!(ended > 20, "{ended} cut short");
    assert!(
        resumed > 200 && moved > 200,
        "{resumed} resumed, {moved} moved"
    );
    println!(
        "{done} services done, {both} known to both sides, {ended} cut short, {resumed} losses outlived, {moved} takeovers"
    );
}

/// Losses alone end no service: both sides get to the end of both directions.
#[test]
fn a_service_outlives_any_number_of_losses() {
    let mut resumed = 0;
    for seed in 0..runs() / 3 {
        let mut world = World::of(seed, VERSION_MAX, "postgres");
        for _ in 0..1_000 {
            match world.chance.below(40) {
                0 => world.cut(),
                1 => {
                    let side = world.chance.below(2);
                    world.lose(side);
                }
                _ => world.step(false),
            }
        }
        world.settle();
        check(&world, seed);
        let [a, b] = &world.sides;
        assert!(a.done || b.done, "seed {seed}");
        resumed += world.resumed;
    }
    assert!(resumed > 500, "{resumed} resumed");
}
