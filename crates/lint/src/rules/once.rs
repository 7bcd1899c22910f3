//! What several rules look at, each thing once: nodes that are configured alike share the file that it stands in. No rules.

use std::collections::HashSet;

use skans_erlconf::flags::Emulator;

use crate::rule::Context;
use crate::setting::Setting;
use crate::source::{Place, SourceId};
use crate::units::Unit;

/// What all nodes have of a sort, each place once, with the first node that has it.
pub(super) fn once<'c, T, I: IntoIterator<Item = T>>(
    context: &Context<'c>,
    of: impl Fn(&'c Unit) -> I,
    place: impl Fn(&Unit, &T) -> Place,
) -> Vec<(&'c Unit, T)> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for unit in &context.set.units {
        for one in of(unit) {
            if seen.insert(place(unit, &one)) {
                all.push((unit, one));
            }
        }
    }
    all
}

/// The settings of all nodes.
pub(super) fn settings<'c>(context: &Context<'c>) -> Vec<(&'c Unit, &'c Setting)> {
    once(context, |unit| &unit.settings, |_, setting| setting.place)
}

/// The flags of the emulator of all nodes.
pub(super) fn flags<'c>(context: &Context<'c>) -> Vec<(&'c Unit, &'c Emulator<SourceId>)> {
    once(
        context,
        |unit| &unit.line.emulator,
        |unit, flag| place_of(unit, flag),
    )
}

/// Where a flag of the emulator stands, with its value if that stands behind it in the same text.
pub(super) fn place_of(unit: &Unit, flag: &Emulator<SourceId>) -> Place {
    let word = &flag.word;
    let source = word.origin.unwrap_or(unit.place.source);
    let next = flag.next.as_ref();
    let span = match next {
        Some(next) if next.origin == word.origin && next.span.start >= word.span.end => {
            word.span.to(next.span)
        }
        _ => word.span,
    };
    Place::new(source, span)
}
