//! The reader's files as they are used in a proof: the same text, but for what would leave the machine, run code, or name
//! files that are not here. Nothing is started.

use skans_erlconf::Span;
use skans_erlconf::term::{self, Kind, Term};

/// Keys of `kernel` that open connections, write or read files, or start what is not ours. A proof sets the address and
/// the port itself.
pub(super) const KERNEL: &[&str] = &[
    "distributed",
    "dist_listen",
    "epmd_module",
    "erl_epmd_node_limit",
    "error_logger",
    "global_groups",
    "inet_dist_connect_options",
    "inet_dist_listen_max",
    "inet_dist_listen_min",
    "inet_dist_listen_options",
    "inet_dist_use_interface",
    "inet_parse_error_log",
    "inetrc",
    "logger",
    "net_setuptime",
    "os_cmd_shell",
    "permissions",
    "shell_history",
    "shell_history_path",
    "start_boot_server",
    "start_disk_log",
    "start_distribution",
    "start_pg",
    "sync_nodes_mandatory",
    "sync_nodes_optional",
    "sync_nodes_timeout",
];

/// Options of TLS that are code, that reach out, or that belong to files that are not here.
const TLS: &[&str] = &[
    "anti_replay",
    "cacerts",
    "cert",
    "cert_policy_opts",
    "certs_keys",
    "crl_cache",
    "crl_check",
    "dh",
    "dhfile",
    "key",
    "keep_secrets",
    "partial_chain",
    "password",
    "psk_identity",
    "sni_fun",
    "sni_hosts",
    "stapling",
    "user_lookup_fun",
    "verify_fun",
];

/// A text, and what was changed in it.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) text: String,
    pub(super) notes: Vec<String>,
}

/// A text with pieces of it written anew.
struct Pieces<'t> {
    text: &'t str,
    pieces: Vec<(Span, String)>,
    notes: Vec<String>,
}

impl<'t> Pieces<'t> {
    const fn new(text: &'t str) -> Self {
        Self {
            text,
            pieces: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn done(mut self) -> Changed {
        self.pieces.sort_by_key(|(span, _)| span.start);
        let mut out = String::new();
        let mut at = 0;
        for (span, piece) in self.pieces {
            // What stands in something that was written anew is gone with it.
            if span.start < at {
                continue;
            }
            out.push_str(self.text.get(at..span.start).unwrap_or_default());
            out.push_str(&piece);
            at = span.end;
        }
        out.push_str(self.text.get(at..).unwrap_or_default());
        Changed {
            text: out,
            notes: self.notes,
        }
    }
}

/// A `sys.config`. What cannot be read is used as it is: `erl` refuses all of it, or none.
pub(super) fn config(text: &str, document: Option<&term::Document>) -> Changed {
    let mut pieces = Pieces::new(text);
    let terms = document.map_or(&[][..], |document| &document.terms);
    for item in terms.iter().flat_map(Term::items) {
        if matches!(item.kind, Kind::String(_)) {
            pieces
                .pieces
                .push((item.span, "{skans_left_out, []}".to_owned()));
            pieces
                .notes
                .push("left out: a file that sys.config includes".to_owned());
        }
        let Some([app, settings]) = item.elements() else {
            continue;
        };
        for setting in settings.items() {
            let Some(key) = setting
                .elements()
                .and_then(<[_]>::first)
                .and_then(Term::as_atom)
            else {
                continue;
            };
            if app.is_atom("kernel") && KERNEL.contains(&key) {
                pieces
                    .pieces
                    .push((setting.span, "{skans_left_out, true}".to_owned()));
                pieces.notes.push(format!("left out: {key} of kernel"));
            }
        }
    }
    unknown(&mut pieces, terms);
    pieces.done()
}

/// What is filled in when a release is made or started.
fn unknown(pieces: &mut Pieces<'_>, terms: &[Term]) {
    for term in terms.iter().flat_map(Term::all) {
        if matches!(term.kind, Kind::Placeholder(_)) {
            pieces.pieces.push((term.span, "skans_unknown".to_owned()));
        }
    }
}

/// The option file of TLS distribution. `put` says where a file is that it names.
pub(super) fn options(
    text: &str,
    document: &term::Document,
    put: &dyn Fn(&str, &str) -> String,
) -> Changed {
    let mut pieces = Pieces::new(text);
    // What takes the place of an option: the default of one that changes nothing.
    let nothing = "{log_level, notice}";
    let sides = document.terms.iter().flat_map(|term| {
        let one = std::slice::from_ref(term);
        if term.is_list() { term.items() } else { one }
    });
    for side in sides {
        let Some([_, options]) = side.elements() else {
            continue;
        };
        for option in options.items() {
            let key = option
                .elements()
                .and_then(<[_]>::first)
                .and_then(Term::as_atom)
                .unwrap_or_default();
            let runs = option.all().iter().any(|term| {
                matches!(
                    term.kind,
                    Kind::Fun { .. } | Kind::Call { .. } | Kind::Code(_)
                )
            });
            if runs || TLS.contains(&key) {
                pieces.pieces.push((option.span, nothing.to_owned()));
                pieces
                    .notes
                    .push(format!("left out: the option {key} of TLS"));
                continue;
            }
            if let Some([_, value]) = option.elements()
                && matches!(key, "certfile" | "keyfile" | "cacertfile")
            {
                let path = put(key, value.text().unwrap_or_default());
                pieces.pieces.push((value.span, format!("{path:?}")));
            }
        }
    }
    // Code that stands elsewhere would be evaluated.
    for term in document.terms.iter().flat_map(Term::all) {
        if matches!(term.kind, Kind::Call { .. } | Kind::Code(_)) {
            pieces.pieces.push((term.span, "skans_left_out".to_owned()));
        }
    }
    unknown(&mut pieces, &document.terms);
    pieces.done()
}
