use skans_dist::term::Atom;

use super::*;

fn pid(id: u32) -> Pid<'static> {
    Pid {
        node: Atom::new("a@here"),
        id,
        serial: 1,
        creation: 7,
    }
}

fn reference(words: &[u32]) -> Reference<'static> {
    Reference::new(Atom::new("a@here"), 7, words).unwrap()
}

#[test]
fn the_youngest_monitor_on_a_name_is_told_once_and_no_other() {
    let mut monitors = Monitors::default();
    assert_eq!(monitors.take(&pid(1), "app"), None);
    assert!(monitors.slots.is_empty(), "nothing is set aside for nobody");
    monitors.set(&pid(1), "app", &reference(&[1, 2, 3]));
    monitors.set(&pid(1), "app", &reference(&[4, 5, 6, 7, 8]));
    assert_eq!(monitors.take(&pid(1), "other"), None);
    assert_eq!(monitors.take(&pid(2), "app"), None);
    let youngest = Some(reference(&[4, 5, 6, 7, 8]));
    assert_eq!(monitors.take(&pid(1), "app"), youngest);
    assert_eq!(monitors.take(&pid(1), "app"), None);
    let foreign = Reference::new(Atom::new("b@there"), 7, &[1]).unwrap();
    monitors.set(&pid(1), "app", &foreign);
    assert_eq!(monitors.take(&pid(1), "app"), None);
}

#[test]
fn however_many_there_are_they_take_no_more_room_and_none_is_mistaken() {
    let mut monitors = Monitors::default();
    for id in 0..10_000 {
        monitors.set(&pid(id), "app", &reference(&[id]));
        assert_eq!(monitors.slots.len(), MOST);
    }
    let told = (0..10_000).filter(|id| {
        let found = monitors.take(&pid(*id), "app");
        assert!(found.is_none() || found == Some(reference(&[*id])));
        found.is_some()
    });
    assert_eq!(told.count(), MOST);
}

#[test]
fn a_further_monitor_finds_the_place_of_the_first_one_and_at_rest_none_is_kept() {
    let mut monitors = Monitors::default();
    let place = monitors.set(&pid(1), "app", &reference(&[1, 2, 3]));
    let place = Place::of(place.unwrap().number()).unwrap();
    // Creation and words, as they stand in a message.
    let numbers = [[0, 0, 0, 7], [0, 0, 0, 4], [0, 0, 0, 5], [0, 0, 0, 6]].concat();
    monitors.set_again(place, &numbers);
    assert_eq!(monitors.take(&pid(1), "app"), Some(reference(&[4, 5, 6])));
    monitors.set_again(place, &numbers);
    monitors.rest();
    assert!(monitors.slots.is_empty());
    assert_eq!(monitors.take(&pid(1), "app"), None);
    monitors.set_again(place, &numbers);
    assert_eq!(monitors.take(&pid(1), "app"), Some(reference(&[4, 5, 6])));
}
