//! The texts: `set.yaml`, `learned.cedar`, `entities.yaml`, `tests/learned.yaml` and `LEFT-OUT.md`.

use std::collections::BTreeMap;

use super::{Draft, Line, Resource, Side};
use crate::learn::seen::{Ask, Heard, What};
use crate::learn::{LeftOut, Options, fit, listed, text};
use crate::name;
use crate::source::{API_VERSION, File, Selector};

/// Most tests of one kind, for permits and for denials. More are seen in traffic; no reader looks at all of these.
const MAX_TESTS: usize = 2_000;

impl Draft {
    /// The directory.
    pub(in crate::learn) fn files(
        &self,
        heard: &Heard,
        left_out: &[LeftOut],
        options: &Options,
    ) -> Vec<File> {
        let file = |name: &str, text: String| File {
            name: name.to_owned(),
            text,
        };
        let mut files = vec![
            file("set.yaml", self.set(options)),
            file("learned.cedar", self.cedar()),
        ];
        if !self.groups.is_empty() {
            files.push(file("entities.yaml", self.entities()));
        }
        files.push(file("LEFT-OUT.md", left(left_out)));
        files.push(file("tests/learned.yaml", tests(heard, left_out)));
        files
    }

    fn set(&self, options: &Options) -> String {
        let mut out = format!(
            "# Learned from what agents saw. Read it, and LEFT-OUT.md, before anybody puts it in force.\napiVersion: {API_VERSION}\nname: {}\n# What it refuses passes and is told, until this day: what was not seen while it was learned is seen now.\nmode: dry-run\nuntil: {}\n",
            options.name, options.until
        );
        if !self.bound.is_empty() {
            out += "roles:\n";
        }
        for bound in &self.bound {
            let requests = match bound.requests {
                1 => "1 request".to_owned(),
                n => format!("{n} different requests"),
            };
            let selectors = |selectors: &[Selector]| {
                let all: Vec<_> = selectors.iter().map(selector).collect();
                all.join(", ")
            };
            out += &format!("  # {requests}, {}\n", text::evidence(&bound.evidence));
            if bound.role == fit::SHELL {
                out += "  # WHO MAY DO THIS OWNS THE NODE. It is bound since the short-lived nodes of a host did it.\n";
            }
            out += &format!("  - role: {}\n", bound.role);
            out += &format!("    principals: [{}]\n", selectors(&bound.principals));
            out += &format!("    on: [{}]\n", selectors(&bound.on));
            if !bound.servers.is_empty() {
                let servers: Vec<_> = bound.servers.iter().map(|name| text::yaml(name)).collect();
                out += &format!("    servers: [{}]\n", servers.join(", "));
            }
        }
        out
    }

    fn cedar(&self) -> String {
        let mut out = String::from("// What no role covers.\n");
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for line in self.lines.iter().chain(&self.forbids) {
            let first = line
                .actions
                .first()
                .map_or("connect", |action| action.as_str());
            let label = if line.permits { first } else { "forbidden" };
            let n = numbers.entry(label).or_default();
            *n += 1;
            out += &format!("\n// {}\n", text::evidence(&line.evidence));
            if !line.permits {
                out += "// A role or a pattern would let it through, and the set in force forbids or refuses it.\n";
            } else if line.owns {
                out += "// WHO MAY DO THIS OWNS THE NODE. It is learned since the short-lived nodes of a host did it.\n";
            }
            out += &format!("@id(\"{label}-{n}\")\n{}", line.cedar());
        }
        out
    }

    fn entities(&self) -> String {
        let mut out = String::from("groups:\n");
        for (name, (key, names)) in &self.groups {
            out += &format!("  {name}:\n    {key}:\n");
            for (name, evidence) in names {
                let seen = evidence.as_ref().map_or_else(String::new, |evidence| {
                    format!(" # {}", text::evidence(evidence))
                });
                out += &format!("      - {}{seen}\n", text::yaml(name));
            }
        }
        out
    }
}

fn selector(selector: &Selector) -> String {
    let key = match (&selector.workload, &selector.node) {
        (Some(id), _) => format!("workload: {}", text::yaml(id)),
        (None, Some(id)) => format!("node: {}", text::yaml(id)),
        (None, None) => String::new(),
    };
    let cli = selector
        .cli
        .map_or_else(String::new, |cli| format!(", cli: {cli}"));
    format!("{{{key}{cli}}}")
}

impl Line {
    fn cedar(&self) -> String {
        let effect = if self.permits { "permit" } else { "forbid" };
        let actions: Vec<_> = self
            .actions
            .iter()
            .map(|action| format!("Skans::Action::\"{action}\""))
            .collect();
        let action = match &actions[..] {
            [only] => format!("== {only}"),
            several => format!("in [{}]", several.join(", ")),
        };
        let Side { scope: on, .. } = &self.to;
        let mut when = Vec::new();
        let resource = match &self.what {
            Resource::Node => format!("resource is Skans::Node in {on}"),
            Resource::Is(kind, id) => {
                when.push(format!("resource in {on}"));
                format!("resource == Skans::{kind}::{}", text::cedar(id))
            }
            Resource::In(kind, group) => {
                when.push(format!("resource in {on}"));
                format!(
                    "resource is Skans::{kind} in Skans::Group::{}",
                    text::cedar(group)
                )
            }
            Resource::Like(shape) => {
                when.push(format!(
                    "!resource.otp && resource.name like {}",
                    text::pattern(shape)
                ));
                format!("resource is Skans::Process in {on}")
            }
        };
        let not = |yes: bool| if yes { "" } else { "!" };
        if let Some(cli) = self.from.cli {
            when.push(format!("{}principal.cli", not(cli)));
        }
        if let Some(cli) = self.to.cli {
            let of = match self.what {
                Resource::Node | Resource::Is("Service", _) => "resource.cli",
                _ => "resource.node.cli",
            };
            when.push(format!("{}{of}", not(cli)));
        }
        if let Some(carries) = self.carries {
            when.push(format!("{}context.carriesFunction", not(carries)));
        }
        let when = if when.is_empty() {
            String::new()
        } else {
            format!("\nwhen {{ {} }}", when.join(" && "))
        };
        format!(
            "{effect} (\n  principal in {},\n  action {action},\n  {resource}\n){when};\n",
            self.from.scope
        )
    }
}

/// What was left out, by number.
fn left(left_out: &[LeftOut]) -> String {
    let shown = listed(left_out);
    let unlisted = left_out.len() - shown.len();
    let mut out = String::from(
        "# Left out\n\nWhat was seen and is not permitted. What carries a function, was seen once, or is a function of OTP, is taken in with\n`skans policy learn --include N` by its number here; the rest by a policy of yours.\n\nA `forbid` of the set in force is not carried over: what no line permits is refused, but a role that is bound later\nmay permit it.\n\n",
    );
    if left_out.is_empty() {
        out += "Nothing.\n";
    }
    for one in shown {
        let times = match one.count {
            1 => "once".to_owned(),
            count => format!("{count} times"),
        };
        out += &format!(
            "{}. {}: `{}`, seen {times}, last at {}\n",
            one.n,
            one.why.as_str(),
            one.request,
            text::moment(one.last)
        );
    }
    if unlisted > 0 {
        out += &format!("\nAnd {unlisted} more.\n");
    }
    out
}

/// What was seen and must pass; what was left out and must not.
fn tests(heard: &Heard, left_out: &[LeftOut]) -> String {
    let denied: Vec<(usize, usize, &Ask)> = left_out
        .iter()
        .filter_map(|one| one.asked.as_ref())
        .map(|(from, to, ask)| (*from, *to, ask))
        .collect();
    let refused: std::collections::BTreeSet<_> = denied.iter().copied().collect();
    let seen = heard
        .pairs
        .iter()
        .flat_map(|(&(from, to), asks)| asks.keys().map(move |ask| (from, to, ask)));
    let permitted = seen.filter(|key| !refused.contains(key));
    let mut nodes: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = String::new();
    let mut put = |(from, to, ask): (usize, usize, &Ask), expect: &str| {
        let Some(evidence) = heard.evidence(from, to, ask) else {
            return;
        };
        let mut node = |id: String| {
            let next = format!("n{}", nodes.len() + 1);
            nodes.entry(id).or_insert(next).clone()
        };
        let (from, to) = (
            node(evidence.example.0.id_at_host()),
            node(evidence.example.1.id_at_host()),
        );
        let what = match &ask.what {
            What::Node => String::new(),
            What::Process(name) => format!(", process: {}", text::yaml(name)),
            What::Service(name) => format!(", service: {}", text::yaml(name)),
            What::Function(module, function, arity) => {
                let name = name::function(module, function, *arity);
                format!(", function: {}", text::yaml(&name))
            }
        };
        let carries = if ask.carries {
            ", carriesFunction: true"
        } else {
            ""
        };
        lines += &format!(
            "  - {{from: {from}, to: {to}, action: {}{what}{carries}, expect: {expect}}}\n",
            ask.action
        );
    };
    permitted.take(MAX_TESTS).for_each(|key| put(key, "permit"));
    let askable = denied
        .into_iter()
        .filter(|(_, _, ask)| crate::learn::judge::is_askable(ask));
    askable.take(MAX_TESTS).for_each(|key| put(key, "deny"));
    let nodes: String = nodes
        .iter()
        .map(|(id, name)| format!("  {name}: {}\n", text::yaml(id)))
        .collect();
    let nodes = if nodes.is_empty() {
        "  {}\n".to_owned()
    } else {
        nodes
    };
    let lines = if lines.is_empty() {
        "  []\n".to_owned()
    } else {
        lines
    };
    format!("nodes:\n{nodes}tests:\n{lines}")
}
