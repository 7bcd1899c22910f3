//! How scripts and jobs are written, whatever they do.

use super::{arguments, has_flag, scripts};
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};

pub(super) const RULES: &[Rule] = &[
    rule!(
        OPS005,
        "openssl-verify-incomplete",
        Low,
        All,
        verify,
        "`openssl verify` without purpose or name.",
        "It says OK of a certificate that is for another host, or for nothing that nodes do.",
        "`openssl verify -CAfile CA -untrusted CHAIN -purpose sslserver -verify_hostname HOST CERTIFICATE`."
    ),
    rule!(
        SH003,
        "no-strict-mode",
        Medium,
        All,
        strict,
        "A script goes on after a command has failed.",
        "What comes next works with what is not there; the job ends with success.",
        "`set -eu`, and with bash `set -o pipefail`."
    ),
    rule!(
        JOB001,
        "cronjob-controls",
        Low,
        All,
        controls,
        "A CronJob does not say what is to happen when it is late, long or twice.",
        "Runs pile up, or a hundred missed ones stop it for ever; its time is that of the controller.",
        "`timeZone`, `concurrencyPolicy: Forbid`, `startingDeadlineSeconds`, and `activeDeadlineSeconds` of the job."
    ),
];

fn verify(context: &Context<'_>, found: &mut Findings<'_>) {
    for script in scripts(context) {
        for command in script.script.runs("openssl") {
            let asks = arguments(command).first() == Some(&"verify");
            let said = has_flag(
                command,
                &["-purpose", "-verify_hostname", "-verify_ip", "-x509_strict"],
            );
            if asks && !said {
                found.add(script.place(command), "for which purpose, and which host?");
            }
        }
    }
}

fn strict(context: &Context<'_>, found: &mut Findings<'_>) {
    /// A script of fewer commands has nothing to go on with.
    const FEW: usize = 3;
    for script in scripts(context) {
        let commands = &script.script.commands;
        let sets = script.flags.contains('e')
            || commands.iter().any(|command| {
                let mut words = command.words.iter().map(|word| word.text.as_str());
                words.next() == Some("set")
                    && words.any(|word| {
                        word == "errexit" || word.starts_with('-') && word.contains('e')
                    })
            });
        let shebang = context
            .set
            .sources
            .text(script.source)
            .lines()
            .next()
            .is_some_and(|line| line.starts_with("#!") && line.contains(" -e"));
        if let Some(first) = commands
            .first()
            .filter(|_| commands.len() >= FEW && !sets && !shebang)
        {
            found.add(
                script.place(first),
                "nothing stops this script when a command fails",
            );
        }
    }
}

fn controls(context: &Context<'_>, found: &mut Findings<'_>) {
    for job in context.set.of_kind("CronJob") {
        let Some(spec) = job.spec() else { continue };
        let deadline = job
            .node
            .path(&["spec", "jobTemplate", "spec", "activeDeadlineSeconds"]);
        let missing: Vec<_> = [
            (spec.get("timeZone").is_none(), "timeZone"),
            (spec.get("concurrencyPolicy").is_none(), "concurrencyPolicy"),
            (
                spec.get("startingDeadlineSeconds").is_none(),
                "startingDeadlineSeconds",
            ),
            (deadline.is_none(), "activeDeadlineSeconds"),
        ]
        .into_iter()
        .filter_map(|(missing, name)| missing.then_some(name))
        .collect();
        if missing.len() > 1 {
            found.add(
                Object::head(job),
                format!("neither {}", missing.join(" nor ")),
            );
        }
    }
}
