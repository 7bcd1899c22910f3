//! A node as it is configured: the files, flags, variables and settings that reach it together, and what follows from
//! them. Which files belong together is found out in `gather`. No rules.

mod commands;
mod gather;
#[cfg(test)]
mod tests;

use skans_erlconf::flags::{CommandLine, Flag};
use skans_erlconf::term::Term;

use crate::document::{Content, Document, Terms};
use crate::kubernetes::Object;
use crate::set::Set;
use crate::setting::{Origin, Setting, Value};
use crate::source::{Place, SourceId};

pub(crate) use gather::gather;

/// A node, or several that are configured alike.
#[derive(Debug)]
pub struct Unit {
    /// `StatefulSet shop/erlang`, or the directory.
    pub title: String,
    /// What to point at if there is nothing better.
    pub place: Place,
    /// What runs on it.
    pub product: Product,
    /// Variables of its environment, those that win last.
    pub variables: Vec<Variable>,
    /// What its applications are told.
    pub settings: Vec<Setting>,
    /// What `erl` is told, all sources together.
    pub line: CommandLine<SourceId>,
    /// Its files: as the node sees them, and which document of the set it is.
    pub files: Vec<(String, usize)>,
    /// Directories whose whole content is in the set: those of mounted ConfigMaps.
    pub whole_directories: Vec<String>,
    /// The object that runs it.
    pub object: Option<usize>,
    /// Signs that its distribution goes through a Skans agent.
    pub guarded: Option<Place>,
}

/// What runs on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// A release of relx, or plain `erl`.
    Erlang,
    /// A release of Mix.
    Mix,
    /// RabbitMQ.
    RabbitMq,
    /// EMQX.
    Emqx,
    /// ejabberd.
    Ejabberd,
    /// VerneMQ.
    VerneMq,
    /// CouchDB.
    CouchDb,
}

/// A variable of the environment.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, if it is written.
    pub value: Option<String>,
    /// Where the value stands, or what stands for it.
    pub place: Place,
    /// Where it comes from.
    pub from: From,
}

/// Where the value of a variable comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// It is written in a manifest.
    Manifest,
    /// It is written in a Dockerfile, and so in the image.
    Image,
    /// It is written in a script or an environment file.
    Script,
    /// A Secret.
    Secret,
    /// A ConfigMap, or a field of the pod.
    Reference,
}

/// Whether a node takes part in a distributed system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distribution {
    /// It does, because of what stands there.
    On(Place, &'static str),
    /// It is told not to.
    Off(Place),
    /// Nothing says so.
    Unknown,
}

/// What carries distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// TCP, since nothing else is said.
    Plain,
    /// TCP, said so.
    SaidPlain(Place),
    /// TLS.
    Tls(Place),
    /// Said more than once: OTP 25 then ignores all of them, OTP 27 takes the first.
    Twice(Vec<Place>),
    /// Another module.
    Other(String, Place),
}

/// The options of TLS distribution.
#[derive(Debug)]
pub enum TlsOptions<'s> {
    /// In a file that is in the set.
    File {
        /// The text.
        source: SourceId,
        /// The list of both sides.
        options: &'s Term,
        /// Where the file is named.
        named: Place,
    },
    /// In a file that is not in the set.
    Elsewhere(&'s str, Place),
    /// Given one by one by `-ssl_dist_opt`.
    Flags(Place),
    /// Nowhere.
    Missing,
}

/// Where a cookie comes from.
#[derive(Debug, Clone)]
pub struct Cookie {
    /// The cookie, if it is written.
    pub value: Option<String>,
    /// Where.
    pub place: Place,
    /// How it reaches the node.
    pub how: How,
}

/// How a cookie reaches a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// `-setcookie` in a file or on a command line.
    Flag,
    /// A variable of the environment.
    Variable(From),
    /// Elixir configuration, `mix.exs` among it.
    Elixir,
    /// A setting of a product, such as `node.cookie`.
    Setting,
}

/// Variables that hold a cookie.
pub const COOKIE_VARIABLES: &[&str] = &[
    "RELEASE_COOKIE",
    "ERLANG_COOKIE",
    "RABBITMQ_ERLANG_COOKIE",
    "EMQX_NODE__COOKIE",
    "EMQX_NODE_COOKIE",
    "DOCKER_VERNEMQ_DISTRIBUTED_COOKIE",
    "COUCHDB_ERLANG_COOKIE",
    "ERLANG_MAGIC_COOKIE",
    "ERL_COOKIE",
    "NODE_COOKIE",
];

impl Unit {
    /// The variable that counts.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables
            .iter()
            .rev()
            .find(|variable| variable.name == name)
    }

    /// What runs it.
    #[must_use]
    pub fn object<'s>(&self, set: &'s Set) -> Option<&'s Object> {
        set.objects.get(self.object?)
    }

    /// How many there are of it, as far as is known: one, of what stands in files.
    #[must_use]
    pub fn replicas(&self, set: &Set) -> i64 {
        self.object(set).map_or(1, Object::replicas)
    }

    /// Its files, as what they are.
    pub fn documents<'s>(&self, set: &'s Set) -> impl Iterator<Item = &'s Document> {
        self.files
            .iter()
            .filter_map(|(_, number)| set.document(*number))
    }

    /// The settings of this name, in the order in which they are read.
    pub fn settings<'s>(&'s self, app: &'s str, key: &'s str) -> impl Iterator<Item = &'s Setting> {
        self.settings
            .iter()
            .filter(move |setting| setting.app == app && setting.key == key)
    }

    /// The setting that counts: a flag wins over a file. What Elixir says to kernel when the node has started is too
    /// late.
    #[must_use]
    pub fn kernel(&self, key: &str) -> Option<&Setting> {
        let is = |setting: &&Setting| setting.app == "kernel" && setting.key == key;
        let all = || self.settings.iter();
        all()
            .filter(is)
            .find(|setting| setting.origin == Origin::Flag)
            .or_else(|| {
                all()
                    .filter(is)
                    .rfind(|setting| setting.origin != Origin::Runtime)
            })
    }

    /// The place of a flag and its values.
    #[must_use]
    pub fn flag_place(&self, flag: &Flag<SourceId>) -> Place {
        let source = flag.name.origin.unwrap_or(self.place.source);
        let end = flag
            .values
            .iter()
            .rfind(|value| value.origin == Some(source) && value.span.start >= flag.name.span.end)
            .map_or(flag.name.span, |value| value.span);
        Place {
            source,
            span: flag.name.span.to(end),
        }
    }

    /// Whether it takes part in a distributed system.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        if let Some(variable) = self.variable("RELEASE_DISTRIBUTION") {
            match variable.value.as_deref() {
                Some("none") => return Distribution::Off(variable.place),
                Some("name" | "sname") => {
                    return Distribution::On(variable.place, "RELEASE_DISTRIBUTION names the node");
                }
                _ => {}
            }
        }
        if let Some(flag) = self
            .line
            .flags("-name")
            .chain(self.line.flags("-sname"))
            .next()
        {
            return Distribution::On(self.flag_place(flag), "this flag names the node");
        }
        match self.product {
            Product::Mix => Distribution::On(
                self.variable("RELEASE_NODE")
                    .map_or(self.place, |variable| variable.place),
                "a release of Mix is distributed unless RELEASE_DISTRIBUTION is none",
            ),
            Product::RabbitMq => Distribution::On(self.place, "RabbitMQ is always distributed"),
            Product::Emqx => Distribution::On(self.place, "EMQX is always distributed"),
            Product::Ejabberd => Distribution::On(self.place, "ejabberd is always distributed"),
            Product::VerneMq => Distribution::On(self.place, "VerneMQ is always distributed"),
            Product::CouchDb => Distribution::On(self.place, "CouchDB is always distributed"),
            Product::Erlang => Distribution::Unknown,
        }
    }

    /// What carries distribution.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        let said: Vec<_> = self.line.flags("-proto_dist").collect();
        let [only] = said.as_slice() else {
            return if said.is_empty() {
                Carrier::Plain
            } else {
                Carrier::Twice(said.iter().map(|flag| self.flag_place(flag)).collect())
            };
        };
        let place = self.flag_place(only);
        match only.value() {
            Some("inet_tls" | "inet6_tls") => Carrier::Tls(place),
            Some("inet_tcp" | "inet6_tcp") => Carrier::SaidPlain(place),
            _ => {
                let values: Vec<_> = only
                    .values
                    .iter()
                    .map(|value| value.text.as_str())
                    .collect();
                Carrier::Other(values.join(" "), place)
            }
        }
    }

    /// The options of TLS distribution.
    #[must_use]
    pub fn tls_options<'s>(&'s self, set: &'s Set) -> TlsOptions<'s> {
        if let Some(flag) = self.line.flags("-ssl_dist_optfile").last() {
            let named = self.flag_place(flag);
            let Some(path) = flag.value() else {
                return TlsOptions::Missing;
            };
            let found = self
                .find_file(path)
                .and_then(|number| set.document(number))
                .and_then(|document| match &document.content {
                    Content::Terms(_, terms) => Some((document.source, terms.terms.first()?)),
                    _ => None,
                });
            return match found {
                Some((source, options)) => TlsOptions::File {
                    source,
                    options,
                    named,
                },
                None => TlsOptions::Elsewhere(path, named),
            };
        }
        match self.line.flags("-ssl_dist_opt").next() {
            Some(flag) => TlsOptions::Flags(self.flag_place(flag)),
            None => TlsOptions::Missing,
        }
    }

    /// The file at a path, as the node sees it. What a variable leads to is found by its name.
    #[must_use]
    pub fn find_file(&self, path: &str) -> Option<usize> {
        let exact = self.files.iter().find(|(known, _)| known == path);
        let name = path.rsplit('/').next().unwrap_or(path);
        let expands = path.contains(['$', '<']) || !path.starts_with('/');
        exact
            .or_else(|| {
                // A project does not say where it will be installed; a mounted file does.
                self.files.iter().find(|(known, _)| {
                    let project = !known.starts_with('/');
                    (project || expands) && known.rsplit('/').next() == Some(name)
                })
            })
            .map(|(_, document)| *document)
    }

    /// The cookies that are written or referred to, wherever that is.
    #[must_use]
    pub fn cookies(&self, set: &Set) -> Vec<Cookie> {
        let mut found: Vec<Cookie> = Vec::new();
        for flag in self.line.flags("-setcookie") {
            let Some(value) = flag.values.last() else {
                continue;
            };
            let expands = value.text.contains("${")
                || value.text.starts_with('$')
                || value.text.contains("<%");
            found.push(Cookie {
                value: (!expands).then(|| value.text.clone()),
                place: Place {
                    source: value.origin.unwrap_or(self.place.source),
                    span: value.span,
                },
                how: How::Flag,
            });
        }
        for variable in &self.variables {
            if COOKIE_VARIABLES.contains(&variable.name.as_str()) {
                found.push(Cookie {
                    value: variable.value.clone(),
                    place: variable.place,
                    how: How::Variable(variable.from),
                });
            }
        }
        for document in self.documents(set) {
            match &document.content {
                Content::Elixir(_, file) => {
                    found.extend(gather::elixir_cookies(document.source, file));
                }
                Content::Emqx(file) => {
                    if let Some(value) = file.get(&["node", "cookie"]) {
                        found.push(Cookie {
                            value: value
                                .text()
                                .filter(|text| !text.contains("${"))
                                .map(str::to_owned),
                            place: Place {
                                source: document.source,
                                span: value.span,
                            },
                            how: How::Setting,
                        });
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The documents of a kind.
    pub fn terms<'s>(
        &'s self,
        set: &'s Set,
        kind: Terms,
    ) -> impl Iterator<Item = (SourceId, &'s skans_erlconf::term::Document)> {
        self.documents(set)
            .filter_map(move |document| match &document.content {
                Content::Terms(found, terms) if *found == kind => Some((document.source, terms)),
                _ => None,
            })
    }

    /// Whether this port is the only one that distribution listens on, and which.
    #[must_use]
    pub fn listen_ports(&self) -> Option<(i128, i128, Place)> {
        let port = |key| {
            self.kernel(key)
                .and_then(|setting| Some((setting.value.integer()?, setting.place)))
        };
        if let Some((low, place)) = port("inet_dist_listen_min") {
            let high = port("inet_dist_listen_max").map_or(low, |(high, _)| high);
            return Some((low, high, place));
        }
        // Of ejabberdctl.
        if let Some(window) = self.variable("FIREWALL_WINDOW") {
            let (low, high) = window.value.as_deref()?.split_once('-')?;
            return Some((
                low.trim().parse().ok()?,
                high.trim().parse().ok()?,
                window.place,
            ));
        }
        if let Some(port) = self.variable("ERL_DIST_PORT") {
            let number = port.value.as_deref()?.parse().ok()?;
            return Some((number, number, port.place));
        }
        let flag = self.line.flags("-erl_epmd_port").next()?;
        let port: i128 = flag.value()?.parse().ok()?;
        Some((port, port, self.flag_place(flag)))
    }

    /// Whether it uses epmd. `-start_epmd false` alone means only that another one starts it.
    #[must_use]
    pub fn uses_epmd(&self) -> bool {
        let last = |name| self.line.flags(name).last();
        let other_module = last("-epmd_module").is_some();
        let fixed_port = last("-erl_epmd_port").is_some();
        let not_started = last("-start_epmd").is_some_and(|flag| flag.value() == Some("false"));
        // EMQX has its own rule for ports, ejabberd one if it is told a port.
        if self.product == Product::Emqx || self.variable("ERL_DIST_PORT").is_some() {
            return false;
        }
        !(other_module || fixed_port && not_started || self.line.flags("-no_epmd").next().is_some())
    }

    /// Whether a list of settings has this value for a key.
    #[must_use]
    pub fn has(&self, app: &str, key: &str, value: &Value) -> bool {
        self.settings(app, key)
            .any(|setting| setting.value == *value)
    }
}
