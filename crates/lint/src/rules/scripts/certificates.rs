//! Scripts that do what cert-manager does.

use skans_erlconf::shell::Command;

use super::{Script, arguments, has_flag, scripts};
use crate::rule::{Context, Findings, Rule};

pub(super) const RULES: &[Rule] = &[
    rule!(
        CRT018,
        "restart-before-issue",
        High,
        Beam,
        restart,
        "A script asks for a new certificate and restarts the nodes at once.",
        "The new one is not there yet: nodes start with the old one again, and there was an outage for nothing.",
        "`kubectl wait --for=condition=Ready certificate/NAME` and a look at the new serial in between; no restart at all where files are read again."
    ),
    rule!(
        SH002,
        "gnu-date-in-busybox",
        High,
        Beam,
        busybox_date,
        "`date -d` with a form of time that BusyBox does not read.",
        "`date: invalid date`; the variable is empty, and what is computed from it is wrong: a certificate seems to expire in 1970 and is renewed every night.",
        "Parse RFC 3339 in code; or an image with GNU date."
    ),
    rule!(
        CRT017,
        "duplicate-renewal",
        Medium,
        Beam,
        duplicate,
        "A job renews certificates that cert-manager renews.",
        "Both do it about the same time; and who looks for the reason of a rotation finds two.",
        "Leave the job out; an alert on `certmanager_certificate_expiration_timestamp_seconds` instead."
    ),
    rule!(
        SH001,
        "annotate-no-overwrite",
        Medium,
        Beam,
        annotate,
        "`kubectl annotate` or `label` without `--overwrite`, in what runs again and again.",
        "The second run fails, since there is a value already; and each one after it.",
        "`--overwrite`."
    ),
];

/// Whether a command asks for a new certificate.
fn renews(command: &Command) -> bool {
    let words = arguments(command);
    let about = |what: &[&str]| {
        words.iter().any(|word| {
            let kind = word.split('/').next().unwrap_or_default();
            what.contains(&kind)
        })
    };
    let program = command
        .program()
        .and_then(|word| word.text.rsplit('/').next());
    match program {
        Some("cmctl") => words.first() == Some(&"renew"),
        Some("kubectl") => {
            let changes = matches!(words.first(), Some(&("annotate" | "patch" | "delete")));
            let secret = words.first() == Some(&"delete")
                && about(&["secret", "secrets"])
                && words
                    .iter()
                    .any(|word| word.contains("tls") || word.contains("cert"));
            changes && about(&["certificate", "certificates", "cert", "certs"])
                || secret
                || words.starts_with(&["cert-manager", "renew"])
        }
        _ => false,
    }
}

fn restarts(command: &Command) -> bool {
    let words = arguments(command);
    words.starts_with(&["rollout", "restart"])
        || words.first() == Some(&"delete")
            && words.get(1).is_some_and(|word| word.starts_with("pod"))
}

fn waits(command: &Command) -> bool {
    let words = arguments(command);
    words.first() == Some(&"wait")
        || words.starts_with(&["rollout", "status"])
        || has_flag(command, &["--wait"])
        || command
            .words
            .first()
            .is_some_and(|word| word.text == "sleep" || word.text == "until")
}

fn restart(context: &Context<'_>, found: &mut Findings<'_>) {
    for script in scripts(context) {
        let mut asked = None;
        for command in &script.script.commands {
            if renews(command) {
                asked = Some(script.place(command));
            } else if waits(command) {
                asked = None;
            } else if let Some(renewal) = asked.filter(|_| restarts(command)) {
                found
                    .add(
                        script.place(command),
                        "the new certificate is not there yet",
                    )
                    .related(renewal, "asked for here");
                asked = None;
            }
        }
    }
}

fn has_busybox(script: &Script<'_>) -> bool {
    ["alpine", "busybox"]
        .iter()
        .any(|name| script.image.contains(name))
}

fn busybox_date(context: &Context<'_>, found: &mut Findings<'_>) {
    for script in scripts(context).iter().filter(|script| has_busybox(script)) {
        for command in script.script.runs("date") {
            let mut words = command.words.iter().map(|word| word.text.as_str());
            let told = has_flag(command, &["-D"]);
            if words.any(|word| word == "-d")
                && let Some(time) = words.next()
                && !time.starts_with('@')
                && !told
                && (time.contains(['$', 'T']) || time.chars().any(|c| c.is_ascii_lowercase()))
            {
                found.add(
                    script.place(command),
                    format!(
                        "BusyBox, which is in {}, does not read RFC 3339",
                        script.image
                    ),
                );
            }
        }
    }
}

fn duplicate(context: &Context<'_>, found: &mut Findings<'_>) {
    let certificate = context
        .set
        .of_kind("Certificate")
        .find(|one| one.group() == "cert-manager.io");
    let Some(certificate) = certificate else {
        return;
    };
    for script in scripts(context) {
        let Some(job) = script.object.filter(|object| object.kind == "CronJob") else {
            continue;
        };
        let first = script
            .script
            .commands
            .iter()
            .find(|command| renews(command));
        if let Some(command) = first.filter(|_| certificate.near(job)) {
            found
                .add(script.place(command), "cert-manager renews it by itself")
                .related(certificate.head(), "because of this");
        }
    }
}

fn annotate(context: &Context<'_>, found: &mut Findings<'_>) {
    for script in scripts(context) {
        for command in script.kubectl("annotate").chain(script.kubectl("label")) {
            let sets = arguments(command)
                .iter()
                .skip(1)
                .any(|word| word.contains('='));
            if sets && !has_flag(command, &["--overwrite"]) {
                found
                    .add(script.place(command), "fails as soon as there is a value")
                    .fix("--overwrite");
            }
        }
    }
}
