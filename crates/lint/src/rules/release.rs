//! Releases: files that they are made of, and what they leave behind. How nodes meet is in `discovery`.

use skans_erlconf::term::Term;

use crate::document::Terms;
use crate::rule::{Context, Findings, Rule};
use crate::source::Place;
use crate::units::{Product, Unit};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        XREF008,
        "release-file-missing",
        Blocker,
        Beam,
        file_missing,
        "`relx` names a file that the project does not have.",
        "The release cannot be built; or it is built with the defaults of relx, which has a cookie that everybody knows.",
        "The path as it is, relative to `rebar.config`."
    ),
    rule!(
        ERL006,
        "crash-dump-exposure",
        Medium,
        Beam,
        crash_dump,
        "Crash dumps go to a volume that nothing bounds and that ends with the pod.",
        "The dump has the cookie and what keys were in memory; it fills the disk of the host, and is gone when somebody wants to read it.",
        "`ERL_CRASH_DUMP_BYTES=0`; or a volume that is kept, with a limit."
    ),
];

fn file_missing(context: &Context<'_>, found: &mut Findings<'_>) {
    const KEYS: &[&str] = &["vm_args", "vm_args_src", "sys_config", "sys_config_src"];
    for (source, terms) in context.set.terms(Terms::Rebar) {
        let name = &context.set.sources.get(source).name;
        let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
        let root = if directory.is_empty() {
            String::new()
        } else {
            format!("{directory}/")
        };
        // Of a single file, the rest of the project was not given.
        let shown = context.set.sources.iter().any(|(_, source)| {
            source.name != *name
                && source
                    .name
                    .strip_prefix(root.as_str())
                    .is_some_and(|rest| rest.contains('/'))
        });
        for term in terms.terms.iter().flat_map(Term::all).filter(|_| shown) {
            let Some([key, value]) = term.elements() else {
                continue;
            };
            let Some(path) = value
                .text()
                .filter(|_| key.as_atom().is_some_and(|key| KEYS.contains(&key)))
            else {
                continue;
            };
            let wanted = format!("{root}{}", path.trim_start_matches("./"));
            let there = context
                .set
                .sources
                .iter()
                .any(|(_, source)| source.name == wanted);
            if !there && !path.starts_with('/') {
                let place = Place::new(source, value.span);
                found.add(place, format!("there is no {wanted}"));
            }
        }
    }
}

/// The value of a variable, or of `-env` in a file of flags.
fn environment<'u>(unit: &'u Unit, name: &str) -> Option<&'u str> {
    let by_flag = unit
        .line
        .environment
        .iter()
        .rfind(|(key, _)| key.text == name)
        .map(|(_, value)| value.text.as_str());
    by_flag.or_else(|| unit.variable(name)?.value.as_deref())
}

fn crash_dump(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let Some(object) = unit.object(context.set) else {
            continue;
        };
        let (Some(path), Some(pod)) = (environment(unit, "ERL_CRASH_DUMP"), object.pod()) else {
            continue;
        };
        let none = environment(unit, "ERL_CRASH_DUMP_BYTES") == Some("0")
            || environment(unit, "ERL_CRASH_DUMP_SECONDS") == Some("0");
        if none || path == "/dev/null" || unit.product == Product::RabbitMq {
            continue;
        }
        let volumes = pod.get("volumes").map_or(&[][..], Node::items);
        for container in object.containers() {
            for mount in container
                .node
                .get("volumeMounts")
                .map_or(&[][..], Node::items)
            {
                let within = mount.text(&["mountPath"]).is_some_and(|directory| {
                    path.starts_with(&format!("{}/", directory.trim_end_matches('/')))
                });
                let volume = volumes
                    .iter()
                    .find(|volume| volume.text(&["name"]) == mount.text(&["name"]));
                let open = volume
                    .and_then(|volume| volume.get("emptyDir"))
                    .is_some_and(|empty| empty.get("sizeLimit").is_none());
                if within && open {
                    let place = unit
                        .variable("ERL_CRASH_DUMP")
                        .map_or_else(|| object.place(mount), |variable| variable.place);
                    found
                        .add(place, format!("{path} is in an emptyDir without a limit"))
                        .fix("ERL_CRASH_DUMP_BYTES=0");
                }
            }
        }
    }
}
