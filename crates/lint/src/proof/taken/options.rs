//! The options of TLS of a reader's node that a proof uses, and certificates that stand in for the reader's.

use skans_erlconf::flags::Flag;
use skans_erlconf::term;

use super::super::files;
use super::super::machine::Scratch;
use super::{AUTHORITY, CERTIFICATE, KEY, Taken, short};
use crate::Set;
use crate::document::Content;
use crate::error::{Error, Result};
use crate::source::SourceId;
use crate::units::Unit;

/// What stands in for a file of a certificate.
pub(super) fn stand_in(key: &str) -> Option<&'static str> {
    match key {
        "certfile" => Some(CERTIFICATE),
        "keyfile" => Some(KEY),
        "cacertfile" => Some(AUTHORITY),
        _ => None,
    }
}

/// Whether it is known that there is no such file: all that is mounted in its directory is known, and it is not among it.
pub(super) fn is_absent(unit: Option<&Unit>, path: &str) -> bool {
    let Some((directory, _)) = path.rsplit_once('/') else {
        return false;
    };
    unit.is_some_and(|unit| {
        let whole = unit
            .whole_directories
            .iter()
            .any(|whole| whole.trim_end_matches('/') == directory);
        whole && !unit.files.iter().any(|(known, _)| known == path)
    })
}

pub(super) fn named_option_file(
    taken: &mut Taken,
    set: &Set,
    unit: &Unit,
    flag: &Flag<SourceId>,
    scratch: &Scratch,
) -> Result<String> {
    let path = flag.value().unwrap_or_default();
    if is_absent(Some(unit), path) {
        return Ok(scratch.path("there-is-no-such-file"));
    }
    let document = unit.find_file(path).and_then(|number| set.document(number));
    match document {
        Some(document) if matches!(document.content, Content::Terms(..)) => {
            option_file(taken, set, Some(unit), document.source, scratch)
        }
        Some(_) => Err(Error::Proof {
            what: format!(
                "{path} is not understood, and is not run: `erl` evaluates the file of -ssl_dist_optfile"
            ),
        }),
        None => {
            taken.note(format!(
                "{} was not given: an ordinary one for mutual TLS stands in for it",
                short(path)
            ));
            ordinary_options(scratch)
        }
    }
}

/// Writes a file of options for mutual TLS as it is usual; its path.
pub(super) fn ordinary_options(scratch: &Scratch) -> Result<String> {
    let side = format!(
        "[{{certfile, {:?}}}, {{keyfile, {:?}}}, {{cacertfile, {:?}}}, {{verify, verify_peer}}",
        scratch.path(CERTIFICATE),
        scratch.path(KEY),
        scratch.path(AUTHORITY)
    );
    let text =
        format!("[{{server, {side}, {{fail_if_no_peer_cert, true}}]}},\n {{client, {side}]}}].\n");
    scratch.write("ordinary-ssl-dist.conf", &text)
}

/// Writes a file of options; its path.
pub(super) fn option_file(
    taken: &mut Taken,
    set: &Set,
    unit: Option<&Unit>,
    source: SourceId,
    scratch: &Scratch,
) -> Result<String> {
    let text = set.sources.text(source);
    let code = term::Options {
        code: true,
        placeholders: true,
        ..term::Options::default()
    };
    let refused = |error: &dyn std::fmt::Display| Error::Proof {
        what: format!("the options of TLS are not run, since `erl` evaluates them: {error}"),
    };
    let document = term::consult_with(text, code).map_err(|error| refused(&error))?;
    let put = |key: &str, path: &str| {
        if is_absent(unit, path) {
            scratch.path("there-is-no-such-file")
        } else {
            scratch.path(stand_in(key).unwrap_or_default())
        }
    };
    let changed = files::options(text, &document, &put);
    // What is evaluated there is data, or it is not used.
    term::consult(&changed.text).map_err(|error| refused(&error))?;
    for note in changed.notes {
        taken.note(note);
    }
    taken.note("certificates made for this proof stand in for yours".to_owned());
    scratch.write("ssl-dist.conf", &changed.text)
}
