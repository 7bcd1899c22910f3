//! Whether the options of TLS, and the files that they name, reach the node at all.

use super::at;
use crate::rule::{Context, Findings, Rule};
use crate::units::{Carrier, Product, TlsOptions};

pub(in crate::rules) const RULES: &[Rule] = &[
    rule!(
        ERL021,
        "optfile-twice",
        Blocker,
        Beam,
        optfile_twice,
        "`-ssl_dist_optfile` reaches `erl` more than once.",
        "Distribution does not start: `bad_ssl_dist_optfile`.",
        "Name it in one place."
    ),
    rule!(
        ERL022,
        "tls-without-options",
        Blocker,
        Beam,
        without_options,
        "Distribution is carried by TLS without any options.",
        "The node starts, and no connection comes about: it has no certificate.",
        "`-ssl_dist_optfile FILE`."
    ),
    rule!(
        XREF001,
        "path-not-provided",
        Blocker,
        Beam,
        path_not_provided,
        "A file that the node is told to read is not in the ConfigMap that is mounted there.",
        "The node does not start, or no connection comes about.",
        "The file under that key of the ConfigMap, or the path where it really is."
    ),
];

fn optfile_twice(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let flags: Vec<_> = unit.line.flags("-ssl_dist_optfile").collect();
        if let [first, .., last] = flags.as_slice() {
            found
                .add(unit.flag_place(last), "the option file is named again")
                .related(unit.flag_place(first), "the first time");
        }
    }
}

fn without_options(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        // EMQX names its file itself: etc/ssl_dist.conf.
        if let Carrier::Tls(place) = unit.carrier()
            && unit.product != Product::Emqx
            && matches!(unit.tls_options(context.set), TlsOptions::Missing)
        {
            found.add(
                place,
                "TLS, and neither -ssl_dist_optfile nor -ssl_dist_opt",
            );
        }
    }
}

fn path_not_provided(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let missing = |path: &str| {
            let (directory, _) = path.rsplit_once('/')?;
            let whole = unit
                .whole_directories
                .iter()
                .any(|whole| whole.trim_end_matches('/') == directory);
            let there = unit.files.iter().any(|(known, _)| known == path);
            (whole && !there).then(|| directory.to_owned())
        };
        for name in ["-ssl_dist_optfile", "-config", "-args_file"] {
            for flag in unit.line.flags(name) {
                let Some(path) = flag.value() else { continue };
                let with_end = format!("{path}.config");
                let found_with_end = unit.files.iter().any(|(known, _)| *known == with_end);
                if let Some(directory) = missing(path).filter(|_| !found_with_end) {
                    found.add(
                        unit.flag_place(flag),
                        format!("the ConfigMap at {directory} has no such file"),
                    );
                }
            }
        }
        if let TlsOptions::File {
            source, options, ..
        } = unit.tls_options(context.set)
        {
            for side in ["server", "client"] {
                let Some(options) = options.get(side) else {
                    continue;
                };
                for key in ["certfile", "keyfile", "cacertfile", "dhfile"] {
                    let Some(value) = options.get(key) else {
                        continue;
                    };
                    if let Some(directory) = value.text().and_then(missing) {
                        found.add(
                            at(source, value),
                            format!("the ConfigMap at {directory} has no such file"),
                        );
                    }
                }
            }
        }
    }
}
