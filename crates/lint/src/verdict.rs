//! Which of the four models is really in force on each node: a cookie, TLS, mutual TLS, or Skans. No findings.

use skans_erlconf::term::Term;

use crate::set::Set;
use crate::source::Place;
use crate::units::{Carrier, Distribution, TlsOptions, Unit};

/// What protects the distribution of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Model {
    /// In clear, with a cookie: whoever reads along or reaches the port is in.
    Cookie,
    /// TLS that does not ask for the certificate of the peer.
    Tls,
    /// TLS that asks for it: whoever has any certificate of that authority may claim any name.
    MutualTls,
    /// Through a Skans agent.
    Skans,
    /// What was given does not tell.
    Unclear,
    /// The node is not distributed.
    Off,
}

impl Model {
    /// A short, stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Tls => "tls",
            Self::MutualTls => "mutual-tls",
            Self::Skans => "skans",
            Self::Unclear => "unclear",
            Self::Off => "off",
        }
    }

    /// What it means.
    #[must_use]
    pub const fn means(self) -> &'static str {
        match self {
            Self::Cookie => {
                "everything between nodes is in clear, and whoever gets in runs any code"
            }
            Self::Tls => "encrypted, but no certificate is asked for: whoever has the cookie is in",
            Self::MutualTls => {
                "encrypted, and both show a certificate, but any certificate of that authority may claim any node name"
            }
            Self::Skans => "each peer is who its certificate says",
            Self::Unclear => "cannot be told from what was given",
            Self::Off => "not distributed",
        }
    }
}

/// The model of a node, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The node.
    pub unit: String,
    /// Where it is configured.
    pub place: Place,
    /// The model.
    pub model: Model,
    /// Why, in one sentence.
    pub because: String,
}

/// The verdict for each node of a set.
#[must_use]
pub fn of(set: &Set) -> Vec<Verdict> {
    set.units.iter().map(|unit| judge(set, unit)).collect()
}

fn judge(set: &Set, unit: &Unit) -> Verdict {
    let (model, because) = decide(set, unit);
    Verdict {
        unit: unit.title.clone(),
        place: unit.place,
        model,
        because,
    }
}

fn decide(set: &Set, unit: &Unit) -> (Model, String) {
    if unit.guarded.is_some() {
        return (
            Model::Skans,
            "its environment points it at an agent".to_owned(),
        );
    }
    match unit.distribution() {
        Distribution::Off(_) => return (Model::Off, "RELEASE_DISTRIBUTION is none".to_owned()),
        Distribution::Unknown => {
            let carrier = unit.carrier();
            if carrier == Carrier::Plain && unit.cookies(set).is_empty() {
                return (
                    Model::Unclear,
                    "nothing that was given names the node".to_owned(),
                );
            }
        }
        Distribution::On(..) => {}
    }
    match unit.carrier() {
        Carrier::Plain => (
            Model::Cookie,
            "no -proto_dist inet_tls reaches erl".to_owned(),
        ),
        Carrier::SaidPlain(_) => (Model::Cookie, "-proto_dist says TCP".to_owned()),
        Carrier::Twice(_) => (
            Model::Cookie,
            "-proto_dist is given more than once, and to OTP 25 that means TCP".to_owned(),
        ),
        Carrier::Other(name, _) => (Model::Unclear, format!("-proto_dist names {name:?}")),
        Carrier::Tls(_) => match unit.tls_options(set) {
            TlsOptions::Missing => (
                Model::Tls,
                "no options: no certificate is asked for".to_owned(),
            ),
            TlsOptions::Elsewhere(path, _) => (Model::Unclear, {
                let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                let whole = unit
                    .whole_directories
                    .iter()
                    .any(|whole| whole.trim_end_matches('/') == directory);
                if whole {
                    format!("TLS, but there is no {path}, where its options should be")
                } else {
                    format!("TLS, but its options in {path} were not given")
                }
            }),
            TlsOptions::Flags(_) => {
                let asks = flag_option(unit, "server_fail_if_no_peer_cert") == Some("true")
                    && flag_option(unit, "server_verify") == Some("verify_peer");
                if asks {
                    (
                        Model::MutualTls,
                        "-ssl_dist_opt asks for a certificate".to_owned(),
                    )
                } else {
                    (
                        Model::Tls,
                        "-ssl_dist_opt does not ask for a certificate".to_owned(),
                    )
                }
            }
            TlsOptions::File { options, .. } => match options.get("server") {
                Some(server) if asks_for_certificate(server) => (
                    Model::MutualTls,
                    "the server side demands a certificate".to_owned(),
                ),
                _ => (
                    Model::Tls,
                    "the server side does not demand a certificate".to_owned(),
                ),
            },
        },
    }
}

/// Whether the options of a server demand a certificate in every release of OTP.
pub(crate) fn asks_for_certificate(server: &Term) -> bool {
    let is = |key: &str, value: &str| server.get(key).is_some_and(|found| found.is_atom(value));
    is("verify", "verify_peer") && is("fail_if_no_peer_cert", "true")
}

/// The value of an option of `-ssl_dist_opt`.
pub(crate) fn flag_option<'u>(unit: &'u Unit, name: &str) -> Option<&'u str> {
    let values: Vec<_> = unit
        .line
        .flags("-ssl_dist_opt")
        .flat_map(|flag| &flag.values)
        .collect();
    values.chunks(2).find_map(|pair| match pair {
        [key, value] if key.text == name => Some(value.text.as_str()),
        _ => None,
    })
}
