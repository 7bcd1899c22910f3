//! For the documentation: all rules in a table, and a section for each.

use std::fmt::Write;

use crate::example::Example;
use crate::rule::Profile;
use crate::rules;

/// The page `docs/lint/rules.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "# Rules of `skans lint`\n\n\
        This page is made from the code: `SKANS_WRITE=1 cargo test -p skans-lint --test rules`. The examples are those that\n\
        the tests check.\n\n\
        Severities: **blocker** does not start or is rejected; **critical** security or data is lost; **high** fails when it\n\
        matters; **medium** costs, or will; **low** is of no use, or misleads. Rules marked *all* are asked with\n\
        `--profile all` only: generic scanners know them, too.\n\n\
        | rule | name | severity | what is wrong |\n|---|---|---|---|\n",
    );
    for rule in rules::all() {
        let all = if rule.profile == Profile::All {
            " *all*"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "| [{}](#{}) | {} | {}{all} | {} |",
            rule.id,
            rule.id.to_lowercase(),
            rule.name,
            rule.severity.name(),
            rule.wrong.replace('|', "\\|"),
        );
    }
    for rule in rules::all() {
        let _ = write!(
            out,
            "\n<a id=\"{}\"></a>\n## {} {}\n\n*{}.* {}\n\n**What happens:** {}\n\n**Right:** {}\n",
            rule.id.to_lowercase(),
            rule.id,
            rule.name,
            rule.severity.name(),
            rule.wrong,
            rule.happens,
            rule.right,
        );
        let example = Example::read(rule.example);
        for (title, files) in [("Wrong", &example.bad), ("Right", &example.good)] {
            for (name, text) in files {
                let _ = write!(
                    out,
                    "\n{title}, `{name}`:\n\n```{}\n{text}```\n",
                    language(name)
                );
            }
        }
    }
    out
}

fn language(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("yaml" | "yml") => "yaml",
        Some("json") => "json",
        Some("exs") => "elixir",
        Some("config") => "erlang",
        Some("sh" | "eex") => "sh",
        _ => "text",
    }
}
