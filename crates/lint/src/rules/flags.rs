//! Flags of the emulator: those that do not exist, that contradict each other, that cost more than they give.

use skans_erlconf::flags::{Refusal, known_emulator_flags};

use super::once::{flags, place_of};
use crate::kubernetes::Container;
use crate::rule::{Context, Findings, Rule};
use crate::source::{Place, SourceId};
use crate::units::{Product, Unit};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        VMA001,
        "unknown-emulator-flag",
        Blocker,
        Beam,
        unknown,
        "A flag with `+` that the emulator does not have.",
        "The VM prints its usage and exits. Flags of `init` such as `-ssl_dist_optfile` begin with `-`; with `+` they are read as flags of the emulator.",
        "The flag as the documentation of `erl` has it."
    ),
    rule!(
        VMA009,
        "bad-flag-value",
        Blocker,
        Beam,
        bad_value,
        "A flag has a value that the emulator refuses, or none.",
        "The VM prints its usage and exits.",
        "A value of the range that `erl` documents."
    ),
    rule!(
        VMA010,
        "short-name-with-dots",
        Blocker,
        Beam,
        short_name,
        "`-sname` with a host that has dots.",
        "`Can't set short node name`: distribution does not start.",
        "`-name` for a host with dots, `-sname` for one without."
    ),
    rule!(
        VMA004,
        "global-min-heap",
        High,
        Beam,
        min_heap,
        "`+hms` sets the smallest heap of every process.",
        "Each of thousands of idle processes takes that much: at 8192 words 88 KB instead of 2.6 KB, so that 45,000 of them fill 4 GB and the pod is killed.",
        "Leave it out; `spawn_opt` with `min_heap_size` for the few processes that need it."
    ),
    rule!(
        VMA006,
        "schedulers-exceed-cpu-limit",
        High,
        Beam,
        schedulers,
        "`+S` asks for more schedulers than the container has CPU.",
        "It overrides what the VM reads from the cgroup. The kernel throttles the container, schedulers stall, and peers see node-downs that were none.",
        "No `+S` (OTP 23 and later read the quota), and no CPU limit; or as many schedulers as whole CPUs."
    ),
    rule!(
        VMA007,
        "io-threads-exceed-cpu",
        Low,
        Beam,
        io_threads,
        "More poll threads than CPUs.",
        "They only get in each other's way; and `+IOp` before `+IOt` makes the start depend on both being there.",
        "Leave them out."
    ),
    rule!(
        VMA002,
        "duplicate-flag",
        Low,
        Beam,
        duplicate,
        "A flag or variable is given twice with different values.",
        "The last one counts; who reads or changes the first is misled.",
        "One value."
    ),
    rule!(
        VMA003,
        "ignored-flag",
        Low,
        Beam,
        ignored,
        "A flag that is accepted and does nothing.",
        "Nothing: `+K` has no meaning since OTP 21, `+n` and `+sfwi` are leftovers.",
        "Leave it out."
    ),
    rule!(
        VMA005,
        "below-default",
        Low,
        Beam,
        below_default,
        "`+hmbs` below the default of the VM.",
        "Processes that hold binaries are collected more often.",
        "Leave it out."
    ),
    rule!(
        VMA008,
        "allocator-tuning-unexplained",
        Low,
        All,
        allocators,
        "Allocators are tuned, and nothing says why.",
        "Values that were right for one load and release are wrong for the next; most such sets were copied.",
        "Leave them out unless a measurement is named beside them."
    ),
];

fn expands(text: &str) -> bool {
    text.contains("${") || text.contains("<%") || text.starts_with('$') || text.contains("{{")
}

fn unknown(context: &Context<'_>, found: &mut Findings<'_>) {
    for (unit, flag) in flags(context) {
        if known_emulator_flags(&flag.name) || expands(&flag.word.text) {
            continue;
        }
        let bare = flag.name.trim_start_matches('+');
        let of_init = [
            "ssl_dist_optfile",
            "ssl_dist_opt",
            "proto_dist",
            "setcookie",
            "name",
            "sname",
            "kernel",
            "config",
        ];
        let adding = found.add(
            place_of(unit, flag),
            format!("the emulator has no flag {}", flag.name),
        );
        if of_init.contains(&bare) {
            adding.fix(format!("-{bare}"));
        }
    }
}

const BUSY: &[&str] = &["none", "very_short", "short", "medium", "long", "very_long"];
const WAKE: &[&str] = &["very_low", "low", "medium", "high", "very_high"];
const BOOL: &[&str] = &["true", "false"];

/// Which values a flag takes: numbers of a range, or words.
enum Values {
    Range(u64, u64),
    Pair(u64),
    Words(&'static [&'static str]),
}

/// Those whose wrong values were seen to stop a start, OTP 25.
fn values(name: &str) -> Option<Values> {
    Some(match name {
        "+A" => Values::Range(1, 1024),
        "+P" => Values::Range(1024, 134_217_727),
        "+Q" => Values::Range(1024, 134_217_727),
        "+t" => Values::Range(8192, 2_147_483_647),
        "+zdbbl" => Values::Range(1, 2_097_151),
        "+SDio" => Values::Range(1, 1024),
        "+S" | "+SDcpu" => Values::Pair(1024),
        "+sbwt" | "+sbwtdcpu" | "+sbwtdio" => Values::Words(BUSY),
        "+swt" | "+swtdcpu" | "+swtdio" => Values::Words(WAKE),
        "+sub" | "+scl" | "+spp" => Values::Words(BOOL),
        "+sbt" | "+stbt" => {
            Values::Words(&["u", "ns", "ts", "ps", "s", "nnts", "nnps", "tnnps", "db"])
        }
        "+C" => Values::Words(&["no_time_warp", "single_time_warp", "multi_time_warp"]),
        "+W" => Values::Words(&["i", "w", "e"]),
        "+hmqd" => Values::Words(&["off_heap", "on_heap"]),
        "+pc" => Values::Words(&["latin1", "unicode"]),
        _ => return None,
    })
}

fn bad_value(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        if let Some(Refusal::MissingArgument(word)) = &unit.line.refused {
            let place = Place::new(word.origin.unwrap_or(unit.place.source), word.span);
            found.add(place, format!("{} takes a value, and has none", word.text));
        }
    }
    for (unit, flag) in flags(context) {
        let (Some(values), Some(value)) = (values(&flag.name), flag.value()) else {
            continue;
        };
        if expands(value) {
            continue;
        }
        let wanted = match values {
            Values::Range(low, high) => {
                // This one is read by `atoi`: what follows the digits is nothing to it, and does not stop the start.
                let digits = if flag.name == "+zdbbl" {
                    value.trim_end_matches(|c: char| !c.is_ascii_digit())
                } else {
                    value
                };
                let right = digits
                    .parse()
                    .is_ok_and(|value: u64| (low..=high).contains(&value));
                (!right).then(|| format!("{low} to {high}"))
            }
            Values::Pair(most) => {
                let right = value.split(':').count() <= 2
                    && value.split(':').all(|part| {
                        part.is_empty()
                            || part.parse().is_ok_and(|part: i64| {
                                part <= i64::try_from(most).unwrap_or(i64::MAX)
                            })
                    });
                (!right).then(|| format!("one or two numbers of at most {most}, such as 4:4"))
            }
            Values::Words(words) => (!words.contains(&value)).then(|| words.join(", ")),
        };
        if let Some(wanted) = wanted {
            found.add(
                place_of(unit, flag),
                format!("{} has the value {value:?}, wanted {wanted}", flag.name),
            );
        }
    }
}

fn short_name(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        for flag in unit.line.flags("-sname") {
            let host = flag.value().and_then(|name| name.split_once('@'));
            if host.is_some_and(|(_, host)| host.contains('.') && !expands(host)) {
                found.add(unit.flag_place(flag), "a short name whose host has dots");
            }
        }
    }
}

fn min_heap(context: &Context<'_>, found: &mut Findings<'_>) {
    /// Words. The default is 233; what is below this costs no more than a few hundred bytes a process.
    const MUCH: u64 = 1000;
    for (unit, flag) in flags(context) {
        let words: Option<u64> = flag.value().and_then(|value| value.parse().ok());
        if flag.name == "+hms" && words.is_some_and(|words| words >= MUCH) {
            let words = words.unwrap_or_default();
            found.add(
                place_of(unit, flag),
                format!(
                    "each process takes {} KB or more",
                    words.saturating_mul(8) / 1024
                ),
            );
        }
    }
}

/// The node's own container: the one with the flags, or the only one that is no sidecar.
fn cpu_limit<'c>(context: &Context<'c>, unit: &Unit) -> Option<(f64, Place)> {
    let object = unit.object(context.set)?;
    let containers: Vec<Container<'c>> = object
        .containers()
        .into_iter()
        .filter(|container| !container.init)
        .collect();
    let limits: Vec<&Node> = containers
        .iter()
        .filter_map(|container| container.node.path(&["resources", "limits", "cpu"]))
        .collect();
    let [limit] = limits.as_slice() else {
        return None;
    };
    let text = limit.as_str()?;
    let cpus = match text.strip_suffix('m') {
        Some(milli) => milli.parse::<f64>().ok()? / 1000.0,
        None => text.parse().ok()?,
    };
    Some((cpus, object.place(limit)))
}

fn schedulers(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let Some(flag) = unit.line.emulator("+S").last() else {
            continue;
        };
        let Some((limit, at)) = cpu_limit(context, unit) else {
            continue;
        };
        let online = flag
            .value()
            .and_then(|value| value.rsplit(':').next()?.parse::<u32>().ok());
        if let Some(online) = online.filter(|online| f64::from(*online) > limit) {
            found
                .add(
                    place_of(unit, flag),
                    format!("{online} schedulers on {limit} CPUs"),
                )
                .related(at, "the limit of the container");
        }
    }
}

fn io_threads(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let Some((limit, at)) = cpu_limit(context, unit) else {
            continue;
        };
        let Some(flag) = unit.line.emulator("+IOt").last() else {
            continue;
        };
        let threads = flag.value().and_then(|value| value.parse::<u32>().ok());
        if threads.is_some_and(|threads| f64::from(threads) > limit) {
            found
                .add(
                    place_of(unit, flag),
                    format!("more poll threads than the {limit} CPUs"),
                )
                .related(at, "the limit of the container");
        }
    }
}

fn duplicate(context: &Context<'_>, found: &mut Findings<'_>) {
    let mut seen = Vec::new();
    for unit in &context.set.units {
        for (number, flag) in unit.line.emulator.iter().enumerate() {
            let later = unit
                .line
                .emulator
                .iter()
                .skip(number + 1)
                .find(|later| later.name == flag.name);
            let Some(later) = later.filter(|later| later.value() != flag.value()) else {
                continue;
            };
            let at = place_of(unit, flag);
            if !seen.contains(&at) {
                seen.push(at);
                found
                    .add(
                        at,
                        format!("{} is given again, and that one counts", flag.name),
                    )
                    .related(place_of(unit, later), "this one counts");
            }
        }
        let environment = &unit.line.environment;
        for (number, (name, value)) in environment.iter().enumerate() {
            let later = environment
                .iter()
                .skip(number + 1)
                .find(|(later, other)| later.text == name.text && other.text != value.text);
            let Some((later, _)) = later else { continue };
            let at = |word: &skans_erlconf::flags::Argument<SourceId>| {
                Place::new(word.origin.unwrap_or(unit.place.source), word.span)
            };
            if !seen.contains(&at(name)) {
                seen.push(at(name));
                found
                    .add(
                        at(name),
                        format!("{} is set again, and that value counts", name.text),
                    )
                    .related(at(later), "this one counts");
            }
        }
    }
}

fn ignored(context: &Context<'_>, found: &mut Findings<'_>) {
    for (unit, flag) in flags(context) {
        if matches!(flag.name.as_str(), "+K" | "+sfwi" | "+na" | "+ns" | "+nd") {
            found.add(place_of(unit, flag), format!("{} does nothing", flag.name));
        }
    }
}

fn below_default(context: &Context<'_>, found: &mut Findings<'_>) {
    /// Words, OTP 25 (`erl` prints it in its usage).
    const DEFAULT: u64 = 32_768;
    for (unit, flag) in flags(context) {
        let words: Option<u64> = flag.value().and_then(|value| value.parse().ok());
        if flag.name == "+hmbs" && words.is_some_and(|words| words < DEFAULT) {
            found.add(
                place_of(unit, flag),
                format!("below the default of {DEFAULT} words"),
            );
        }
    }
}

fn allocators(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        // RabbitMQ and its like are tuned by those who made them.
        if !matches!(unit.product, Product::Erlang | Product::Mix) {
            continue;
        }
        let tuned: Vec<_> = unit
            .line
            .emulator
            .iter()
            .filter(|flag| flag.name.starts_with("+M") && known_emulator_flags(&flag.name))
            .collect();
        if let [first, _, _, ..] = tuned.as_slice() {
            found.add(
                place_of(unit, first),
                format!("{} parameters of allocators", tuned.len()),
            );
        }
    }
}
