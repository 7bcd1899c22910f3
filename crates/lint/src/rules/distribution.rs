//! Whether distribution is protected at all: what carries it, and whether that reaches `erl`. Where it listens and who finds
//! it is in `reach`.

pub(super) mod reach;

use crate::document::{Content, Script, Terms};
use crate::rule::{Context, Findings, Rule};
use crate::rules::once::settings;
use crate::setting::Origin;
use crate::source::Place;
use crate::units::{Carrier, Distribution, Product};

pub(super) const RULES: &[Rule] = &[
    rule!(
        ERL012,
        "distribution-in-clear",
        Critical,
        Beam,
        in_clear,
        "Distribution is on and nothing encrypts it.",
        "Every message between nodes can be read and changed on the network, and whoever reaches the port and has the cookie runs any code on every node.",
        "`-proto_dist inet_tls` with an option file that demands certificates, or a Skans agent beside the node; `RELEASE_DISTRIBUTION=none` for a release that needs no other nodes."
    ),
    rule!(
        ERL001,
        "proto-dist-not-a-flag",
        Critical,
        Beam,
        proto_dist_in_config,
        "`proto_dist` stands in the application environment, where nothing reads it.",
        "Distribution is in clear although the configuration seems to say TLS: `init:get_argument(proto_dist)` is `error`, and the node answers a plain handshake.",
        "`-proto_dist inet_tls` (for IPv6 `inet6_tls`) in `vm.args` or `ERL_FLAGS`."
    ),
    rule!(
        ERL002,
        "dist-tls-options-in-app-env",
        Critical,
        Beam,
        tls_options_in_config,
        "The options of TLS distribution stand in the application environment, where nothing reads them.",
        "All of them are ignored: no certificate is verified.",
        "A file `[{server, [{certfile, ...}, ...]}, {client, [...]}].`, named by `-ssl_dist_optfile`."
    ),
    rule!(
        ERL013,
        "proto-dist-twice",
        Critical,
        Beam,
        proto_dist_twice,
        "`-proto_dist` reaches `erl` more than once.",
        "OTP 25 then ignores all of them and speaks plain TCP, without a word; OTP 27 warns and takes the first. It happens when both `vm.args` and `ERL_FLAGS` say it.",
        "Say it in one place: `ERL_FLAGS`, which tools inherit, or `vm.args`."
    ),
    rule!(
        ERL014,
        "kernel-config-at-runtime",
        Blocker,
        Beam,
        kernel_at_runtime,
        "`config/runtime.exs` configures `:kernel` or `:stdlib`.",
        "The release aborts its boot: `Cannot configure :kernel because :reboot_system_after_config has been set to false`.",
        "Flags in `vm.args.eex` (`-kernel inet_dist_listen_min 9100`), or `config/config.exs`; or `reboot_system_after_config: true` in the release of `mix.exs`, which starts the VM twice."
    ),
    rule!(
        ERL011,
        "ssl-not-in-release",
        Medium,
        Beam,
        ssl_not_in_release,
        "Distribution is carried by TLS, and the release does not list `ssl`.",
        "In embedded mode the carrier cannot be loaded, and the node does not start its distribution.",
        "`ssl`, `crypto` and `public_key` among the applications of the release."
    ),
];

fn in_clear(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let Distribution::On(place, why) = unit.distribution() else {
            continue;
        };
        if unit.guarded.is_some() {
            continue;
        }
        let (place, message) = match unit.carrier() {
            Carrier::Plain => (
                place,
                format!("{why}, and nothing encrypts what nodes say to each other"),
            ),
            Carrier::SaidPlain(said) => {
                (said, "distribution is carried by TCP, in clear".to_owned())
            }
            _ => continue,
        };
        found
            .add(place, message)
            .fix("-proto_dist inet_tls -ssl_dist_optfile FILE, or a Skans agent");
    }
}

fn proto_dist_in_config(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, setting) in settings(context) {
        if setting.key == "proto_dist" && setting.origin != Origin::Flag {
            let value = setting.value.text().unwrap_or("inet_tls");
            found
                .add(
                    setting.place,
                    format!("proto_dist of {} is read by nothing", setting.app),
                )
                .fix(format!("-proto_dist {value} in vm.args or ERL_FLAGS"));
        }
    }
}

fn tls_options_in_config(context: &Context<'_>, found: &mut Findings<'_>) {
    const KEYS: &[&str] = &[
        "inet_tls_dist",
        "inet_tls",
        "ssl_dist_opt",
        "ssl_dist_opts",
        "ssl_dist_optfile",
        "ssl_dist",
        "dist_tls",
    ];
    for (_, setting) in settings(context) {
        let app = matches!(setting.app.as_str(), "kernel" | "ssl" | "inet_tls_dist");
        if app && KEYS.contains(&setting.key.as_str()) && setting.origin != Origin::Flag {
            found.add(
                setting.place,
                format!("{} of {} is read by nothing", setting.key, setting.app),
            );
        }
    }
}

fn proto_dist_twice(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let Carrier::Twice(places) = unit.carrier() else {
            continue;
        };
        if let Some((last, others)) = places.split_last()
            && unit.guarded.is_none()
        {
            let mut adding = found.add(
                *last,
                format!(
                    "-proto_dist is given {} times to the same node",
                    places.len()
                ),
            );
            for place in others {
                adding = adding.related(*place, "also here");
            }
        }
    }
}

fn kernel_at_runtime(context: &Context<'_>, found: &mut Findings<'_>) {
    for (unit, setting) in settings(context) {
        let early = matches!(setting.app.as_str(), "kernel" | "stdlib");
        if !early || setting.origin != Origin::Runtime || unit.product != Product::Mix {
            continue;
        }
        let reboots = unit
            .documents(context.set)
            .any(|document| match &document.content {
                Content::Elixir(Script::Mix, file) => file.all().any(|expr| {
                    expr.get("reboot_system_after_config")
                        .is_some_and(|value| value.is_atom("true"))
                }),
                _ => false,
            });
        if !reboots {
            found
                .add(
                    setting.place,
                    format!(
                        "{} of :{} is set when {} has started already",
                        setting.key, setting.app, setting.app
                    ),
                )
                .fix(if setting.key == "proto_dist" {
                    "-proto_dist inet_tls in vm.args.eex".to_owned()
                } else {
                    format!("-{} {} VALUE in vm.args.eex", setting.app, setting.key)
                });
        }
    }
}

fn ssl_not_in_release(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        if !matches!(unit.carrier(), Carrier::Tls(_) | Carrier::Twice(_)) {
            continue;
        }
        for (source, terms) in unit.terms(context.set, Terms::Rebar) {
            let releases = terms
                .terms
                .iter()
                .filter_map(|term| {
                    let [key, value] = term.elements()? else {
                        return None;
                    };
                    key.is_atom("relx").then_some(value)
                })
                .flat_map(|relx| relx.items())
                .filter_map(|item| match item.elements()? {
                    [key, _, apps, ..] if key.is_atom("release") => Some(apps),
                    _ => None,
                });
            for apps in releases {
                let lists = apps.items().iter().any(|app| {
                    let name = app.elements().and_then(<[_]>::first).unwrap_or(app);
                    name.is_atom("ssl")
                });
                if !lists {
                    let place = Place {
                        source,
                        span: apps.span,
                    };
                    found.add(
                        place,
                        "the release does not list ssl, which carries its distribution",
                    );
                }
            }
        }
    }
}
