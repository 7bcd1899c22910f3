//! Cookies: where they stand, what they are, and whether the node gets the one that was meant.

use std::collections::HashMap;

use super::once::once;
use crate::document::Content;
use crate::rule::{Context, Findings, Rule};
use crate::source::Place;
use crate::units::{COOKIE_VARIABLES, Cookie, From, How, Product, Unit};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        ERL015,
        "cookie-known",
        Critical,
        Beam,
        known,
        "The cookie is one that everybody knows: the default of a product, of a tutorial, or a word.",
        "Whoever reaches the port of distribution runs any code on the node.",
        "32 random characters for each cluster, made when it is deployed (`openssl rand -hex 32`), kept in a Secret. It proves nothing on the network all the same: encrypt distribution, too."
    ),
    rule!(
        ERL016,
        "cookie-weak",
        High,
        Beam,
        weak,
        "The cookie can be guessed: it is short, or has few different characters.",
        "The handshake lets an attacker try cookies as fast as the network goes, and whoever reads one handshake can try them at home.",
        "32 random characters (`openssl rand -hex 32`)."
    ),
    rule!(
        ERL017,
        "cookie-in-source",
        High,
        Beam,
        in_source,
        "The cookie stands in a file that is part of the source or of the image.",
        "Whoever reads the repository, its history, or pulls the image is in every cluster that was made of it.",
        "A Secret that an init container copies to `$HOME/.erlang.cookie` with mode 0400 (see ERL023); a variable without a fallback where a release demands one."
    ),
    rule!(
        ERL005,
        "cookie-on-command-line",
        High,
        Beam,
        on_command_line,
        "The cookie is given by `-setcookie`.",
        "Every process of the host or pod reads it in `/proc/PID/cmdline`, and it stands in crash dumps and in the output of `ps`.",
        "`$HOME/.erlang.cookie`, mode 0400, copied from a Secret (see ERL023); no `-setcookie`."
    ),
    rule!(
        ERL018,
        "cookie-shared",
        High,
        Beam,
        shared,
        "Two clusters have the same cookie.",
        "A node of one can join the other, by mistake or on purpose: a test runs code in production.",
        "A cookie of its own for each cluster and environment."
    ),
    rule!(
        ERL019,
        "cookie-cut-at-hash",
        High,
        Beam,
        cut,
        "A `#` in the cookie begins a comment.",
        "In an `-args_file` such as `vm.args` the sign ends a word: the node has a shorter cookie than what stands there, and others than the one it is given elsewhere.",
        "Quote it: `-setcookie 'abc#def'`; or a cookie of letters and digits."
    ),
    rule!(
        ERL020,
        "cookie-given-twice",
        High,
        Beam,
        twice,
        "`-setcookie` reaches `erl` more than once.",
        "All of them are ignored, without a word, and `~/.erlang.cookie` counts, which is made anew in each container: nodes refuse each other. Releases of Mix always give one themselves.",
        "For a release of Mix `RELEASE_COOKIE` alone; else one `-setcookie`, or none and the file."
    ),
];

/// Cookies of products, images and tutorials, in lower case.
const KNOWN: &[&str] = &[
    "cookie",
    "secret",
    "monster",
    "erlang",
    "elixir",
    "emqxsecretcookie",
    "emqx_dist_cookie",
    "rabbitmq",
    "vmq",
    "vernemq",
    "ejabberd",
    "ejabberdcookie",
    "dummycookie",
    "defaultcookie",
    "mycookie",
    "my_cookie",
    "mysecretcookie",
    "secretcookie",
    "secret_cookie",
    "supersecretcookie",
    "super_secret_cookie",
    "thecookie",
    "test",
    "dev",
    "prod",
    "password",
    "changeme",
    "change_me",
    "change-me",
    "chocolate",
    "nocookie",
    "couchdb",
    "riak",
    "antidote",
    "leofs",
    "mongooseim",
    "kazoo",
    "change_me_please",
    "your_cookie",
    "your-cookie",
    "yourcookie",
    "democookie",
    "demo",
    "abc",
    "abc123",
    "foobar",
    "foo",
    "bar",
    "releases_cookie",
    "swarmcookie",
    "rabbitmqcookie",
    "rabbitmq_cookie",
    "rabbit",
    "cookie123",
    "secretkey",
];

/// The cookies of all nodes, each place once, with whose they are.
fn cookies<'c>(context: &Context<'c>) -> Vec<(&'c str, Cookie)> {
    let of = |unit: &'c Unit| {
        let guarded = unit.guarded.is_some();
        let all = (!guarded).then(|| unit.cookies(context.set));
        all.into_iter().flatten().filter(|cookie| {
            // What is behind a URL is a file, not a cookie.
            !cookie
                .value
                .as_deref()
                .is_some_and(|value| value.starts_with("file://"))
        })
    };
    let mut all: Vec<_> = once(context, of, |_, cookie| cookie.place)
        .into_iter()
        .map(|(unit, cookie)| (unit.title.as_str(), cookie))
        .collect();
    all.extend(of_values(context));
    all
}

/// Cookies among the values of a chart: `erlangCookie`, `auth.cookie`.
fn of_values<'c>(context: &Context<'c>) -> Vec<(&'c str, Cookie)> {
    let files = context
        .set
        .documents
        .iter()
        .filter_map(|document| match &document.content {
            Content::Yaml(node) => Some((document.source, node)),
            _ => None,
        });
    let objects = context
        .set
        .objects
        .iter()
        .filter(|object| matches!(object.kind.as_str(), "HelmRelease" | "Application"))
        .map(|object| (object.source, &object.node));
    let mut all = Vec::new();
    for (source, root) in files.chain(objects) {
        let file = context.set.sources.get(source).file_name();
        let is_values = file.starts_with("values") || root.get("kind").is_some();
        for (key, value) in root.all().into_iter().flat_map(Node::entries) {
            let name = key.as_str().unwrap_or_default();
            // Of other files, a cookie may be one of a browser.
            let cookie = matches!(name, "erlangCookie" | "erlang_cookie")
                || is_values && name == "cookie"
                || COOKIE_VARIABLES.contains(&name);
            let text = value
                .as_str()
                .filter(|text| !text.is_empty() && !value.is_null() && !text.contains(['{', '$']));
            if let Some(text) = text.filter(|_| cookie) {
                all.push((
                    context.set.sources.get(source).name.as_str(),
                    Cookie {
                        value: Some(text.to_owned()),
                        place: Place::new(source, value.span),
                        how: How::Setting,
                    },
                ));
            }
        }
    }
    all
}

fn is_known(cookie: &str) -> bool {
    KNOWN.contains(&cookie.to_ascii_lowercase().as_str())
}

fn is_weak(cookie: &str) -> bool {
    /// Twenty random capital letters, what Erlang makes itself, are 94 bits.
    const SHORTEST: usize = 20;
    const FEWEST: usize = 8;
    let mut characters: Vec<_> = cookie.chars().collect();
    let length = characters.len();
    characters.sort_unstable();
    characters.dedup();
    length < SHORTEST || characters.len() < FEWEST
}

fn known(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, cookie) in cookies(context) {
        if let Some(value) = cookie.value.as_deref().filter(|value| is_known(value)) {
            found.add(
                cookie.place,
                format!("{value:?} is a cookie that everybody knows"),
            );
        }
    }
}

fn weak(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, cookie) in cookies(context) {
        if let Some(value) = cookie.value.as_deref()
            && !value.is_empty()
            && !is_known(value)
            && is_weak(value)
        {
            // Not the cookie itself: reports travel further than repositories.
            found.add(
                cookie.place,
                format!(
                    "a cookie of {} characters can be guessed",
                    value.chars().count()
                ),
            );
        }
    }
}

fn in_source(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, cookie) in cookies(context) {
        let Some(value) = cookie.value.as_deref() else {
            continue;
        };
        // What is weak is told so, and moving it into a Secret would not help.
        if value.is_empty() || is_known(value) || is_weak(value) {
            continue;
        }
        let message = match cookie.how {
            How::Flag => "the cookie stands in a file of flags",
            How::Variable(From::Manifest) => "the cookie stands in a manifest",
            How::Variable(From::Image) => "the cookie stands in the image",
            How::Variable(From::Script) => "the cookie stands in a script",
            How::Variable(From::Reference) => "the cookie stands in a ConfigMap",
            How::Variable(From::Secret) => continue,
            How::Elixir => "the cookie stands in Elixir source",
            How::Setting => "the cookie stands in the configuration",
        };
        found.add(cookie.place, message);
    }
}

fn on_command_line(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, cookie) in cookies(context) {
        if cookie.how == How::Flag {
            found.add(
                cookie.place,
                "every process of the host can read this cookie",
            );
        }
    }
}

fn shared(context: &Context<'_>, found: &mut Findings<'_>) {
    let all = cookies(context);
    // Who has a cookie first, and who of another node: one of the two is another one than whoever comes later.
    let mut known: HashMap<&str, Vec<&(&str, Cookie)>> = HashMap::new();
    for this in &all {
        let (title, cookie) = this;
        let Some(value) = cookie.value.as_deref().filter(|value| !value.is_empty()) else {
            continue;
        };
        let owners = known.entry(value).or_default();
        let before = owners.iter().find(|(other, _)| other != title).copied();
        if owners.len() < 2 && owners.iter().all(|(other, _)| other != title) {
            owners.push(this);
        }
        if let Some((other, earlier)) = before {
            found
                .add(
                    cookie.place,
                    format!("{other} and {title} have the same cookie"),
                )
                .related(earlier.place, "the other");
        }
    }
}

fn cut(context: &Context<'_>, found: &mut Findings<'_>) {
    for document in &context.set.documents {
        let Content::VmArgs(words) = &document.content else {
            continue;
        };
        let text = context.set.sources.text(document.source);
        for pair in words.windows(2) {
            let [flag, value] = pair else { continue };
            let cut = text
                .get(value.span.end..)
                .is_some_and(|rest| rest.starts_with('#'));
            if flag.text == "-setcookie" && cut {
                let place = Place::new(document.source, value.span);
                found.add(place, "the cookie ends here, since # begins a comment");
            }
        }
    }
}

fn twice(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let flags: Vec<_> = unit
            .line
            .flags("-setcookie")
            .filter(|flag| flag.values.len() < 2)
            .collect();
        let [.., last] = flags.as_slice() else {
            continue;
        };
        let by_release = unit.product == Product::Mix;
        if flags.len() < 2 && !by_release {
            continue;
        }
        let message = if by_release {
            "the release gives a cookie itself, so that this one and that are both ignored"
        } else {
            "the cookie is given more than once, and so not at all"
        };
        let mut adding = found.add(unit.flag_place(last), message);
        for flag in flags.iter().rev().skip(1) {
            adding = adding.related(unit.flag_place(flag), "also here");
        }
        if by_release {
            adding.fix("RELEASE_COOKIE, and no -setcookie");
        }
    }
}
