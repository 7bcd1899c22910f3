//! `skans policy explain`: what a set decides, and why: for a request that is typed in, or for what an agent told.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skans_control::rest::audit::Placed;
use skans_host::plain;
use skans_policy::explain::Explanation;
use skans_policy::test::Asked;
use skans_policy::{Action, Engine, Verdict, name};

use super::{Unusable, source};
use crate::arguments::policy::Explain;
use crate::control::{client, look, print};
use crate::failure::{Failure, NOT_CHECKED, USAGE};
use crate::table;

/// Most bytes of events that are read at once.
const MAX_EVENTS: u64 = 64 * 1024 * 1024;

/// The words where a set denies, and its dry run lets pass.
const WOULD_DENY: &str = "deny, which a dry run lets pass";

/// The word where a set decides nothing.
const UNDECIDED: &str = "undecided";

/// A request, and what is decided about it.
#[derive(Serialize)]
struct Explained {
    request: String,
    verdict: &'static str,
    policies: Vec<String>,
    errors: Vec<String>,
    /// Policies that would have decided otherwise but for one thing, the nearest first.
    near: Vec<Nearly>,
    /// What the agent did, if this is of an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    told_by_set: Option<u64>,
    /// Whether that is what is decided here, if it is by the same set.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<bool>,
}

/// A policy that nearly decided.
#[derive(Serialize)]
struct Nearly {
    policy: String,
    effect: &'static str,
    /// Why it did not.
    why: &'static str,
    /// In Cedar.
    text: String,
}

pub async fn explain(wanted: &Explain) -> Result<(), Failure> {
    let told = match &wanted.event {
        Some(event) => match number(event) {
            Some(seq) => Some(logged(seq, wanted).await?),
            None => Some(events(event)?),
        },
        None => None,
    };
    let set = match (&wanted.set, &told, &wanted.event) {
        (Some(set), ..) => set.clone(),
        // One event, and so one set.
        (None, Some(told), Some(event)) if number(event).is_some() => told.first().map_or_else(
            || "active".to_owned(),
            |told| told.policy_version.n.to_string(),
        ),
        _ => "active".to_owned(),
    };
    let source = source(&set, &wanted.ask.plane).await?;
    let engine = Arc::new(Engine::compile(&source).map_err(Unusable::Wrong)?);
    let mut all = Vec::new();
    match &told {
        Some(events) => {
            for told in events {
                for resource in &told.resources {
                    let mut explained = match told.asked(resource) {
                        Some(asked) => decide(&engine, &asked)?,
                        None => told.undecided(),
                    };
                    explained.told = Some(format!("{} ({})", told.verdict, told.reason));
                    explained.told_by_set = Some(told.policy_version.n);
                    let same = set == told.policy_version.n.to_string();
                    explained.replayed = (same && explained.verdict != UNDECIDED)
                        .then(|| explained.verdict == words(&told.verdict));
                    all.push(explained);
                }
            }
            if all.is_empty() {
                let event = wanted.event.as_deref().unwrap_or_else(|| Path::new(""));
                let text = format!("{}: found no denial of an agent", event.display());
                return Err(Failure::new(NOT_CHECKED, text));
            }
        }
        None => all.push(decide(&engine, &typed(wanted))?),
    }
    print(wanted.ask.output, all, |all| {
        let mut text = String::new();
        for one in all {
            let by = if one.verdict == UNDECIDED {
                "no set is asked about that, or its name is cut short".to_owned()
            } else if one.verdict == Verdict::Permit.as_str() && one.policies.is_empty() {
                "no policy forbids it".to_owned()
            } else {
                by(&one.policies, &one.errors)
            };
            text += &format!("{}: {} ({by})\n", one.request, one.verdict);
            for near in &one.near {
                let Nearly {
                    policy,
                    effect,
                    why,
                    ..
                } = near;
                text += &format!("  nearly: {effect} by {policy}, but {why}\n");
            }
            if let (Some(told), Some(n)) = (one.told, one.told_by_set) {
                let replayed = match one.replayed {
                    Some(true) => ", and so it is decided here",
                    Some(false) => ", and by the same set it is decided OTHERWISE here",
                    None => "",
                };
                text += &format!("  the agent: {told}, by set {n}{replayed}\n");
            }
        }
        text
    })
}

/// Why, in a few words.
pub(super) fn by(policies: &[String], errors: &[String]) -> String {
    match (policies, errors) {
        ([], []) => "no policy permits it".to_owned(),
        (_, [first, ..]) => format!("a policy cannot be evaluated: {first}"),
        (some, []) => format!("by {}", some.join(", ")),
    }
}

fn decide(engine: &Arc<Engine>, asked: &Asked) -> Result<Explained, Failure> {
    let Explanation { decision, near, .. } = asked
        .explain(engine)
        .map_err(|(found, wanted)| Failure::new(USAGE, format!("{found}; wanted {wanted}")))?;
    let verdict = match decision.verdict {
        Verdict::WouldDeny => WOULD_DENY,
        other => other.as_str(),
    };
    let near = near.into_iter().map(|near| Nearly {
        effect: if near.permits { "permit" } else { "forbid" },
        why: near.missing.as_str(),
        policy: near.policy,
        text: near.text,
    });
    Ok(Explained {
        // Names come from events, and so from peers.
        request: plain::show(&asked.to_string()),
        verdict,
        policies: decision.policies,
        errors: decision.errors,
        near: near.collect(),
        told: None,
        told_by_set: None,
        replayed: None,
    })
}

fn typed(wanted: &Explain) -> Asked {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    // `module:function/arity` is no name that anybody registers; whoever did can still ask by an event.
    let function = wanted
        .resource
        .as_deref()
        .is_some_and(|text| name::parse(text).is_some());
    // Nothing else that one connects to has a name of its own.
    let service = wanted.action.as_deref() == Some(Action::Connect.as_str());
    Asked {
        from: text(&wanted.from),
        to: text(&wanted.to),
        action: text(&wanted.action),
        process: wanted.resource.clone().filter(|_| !function && !service),
        function: wanted.resource.clone().filter(|_| function),
        service: wanted.resource.clone().filter(|_| service),
        carries_function: wanted.carries_function,
        via_pid: wanted.via_pid,
        now: Some(table::now()),
        expect: None,
    }
}

/// An event of an agent, as far as it is needed: `unmapped.skans` of what it denied, and where the two nodes are.
#[derive(Deserialize)]
struct Line {
    unmapped: Unmapped,
    src_endpoint: Endpoint,
    dst_endpoint: Endpoint,
    #[serde(default)]
    time: u64,
}

#[derive(Deserialize)]
struct Unmapped {
    skans: Denied,
}

#[derive(Deserialize)]
struct Endpoint {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Denied {
    action: String,
    verdict: String,
    reason: String,
    principal: String,
    target: String,
    policy_version: Numbers,
    resources: Vec<Resource>,
    /// What was only seen is told for `learn`; what of it would be denied is told as that besides.
    #[serde(default)]
    observed_by: Option<String>,
    #[serde(skip)]
    hosts: (String, String),
    #[serde(skip)]
    seconds: u64,
}

#[derive(Deserialize)]
struct Numbers {
    n: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    r#type: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    module: String,
    #[serde(default)]
    function: String,
    #[serde(default)]
    arity: u32,
    #[serde(default)]
    carries_function: bool,
    #[serde(default)]
    via_pid: bool,
}

/// What an agent's verdict is called here.
fn words(told: &str) -> &str {
    if told == Verdict::WouldDeny.as_str() {
        WOULD_DENY
    } else {
        told
    }
}

/// The number of an event of the log, if that is what was given.
fn number(event: &Path) -> Option<u64> {
    event.to_str()?.parse().ok().filter(|_| !event.exists())
}

/// An event of the log.
async fn logged(seq: u64, wanted: &Explain) -> Result<Vec<Denied>, Failure> {
    let path = format!("/v1/audit/events/{seq}");
    let found: Placed = client(&wanted.ask.plane).get(&path).await.map_err(look)?;
    Ok(denials(&found.event.body.to_string()))
}

/// The denials among the events of a file.
fn events(file: &Path) -> Result<Vec<Denied>, Failure> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(MAX_EVENTS).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_EVENTS).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::new(NOT_CHECKED, format!("{}: {error}", file.display())))?;
    Ok(denials(&text))
}

/// Events that are none of a denial, and what is not an event, are passed over: logs are mixed.
fn denials(text: &str) -> Vec<Denied> {
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let denials = lines.filter(|line| line.unmapped.skans.observed_by.is_none());
    denials
        .map(|line| {
            let host = |end: &Endpoint| {
                let name = plain::read(&end.name).unwrap_or_default();
                name.rsplit_once('@')
                    .map_or_else(String::new, |(_, host)| host.to_owned())
            };
            Denied {
                hosts: (host(&line.src_endpoint), host(&line.dst_endpoint)),
                seconds: line.time / 1000,
                ..line.unmapped.skans
            }
        })
        .collect()
}

impl Denied {
    /// What a set is asked about it. Nothing where no set was asked (`unknown`, `new_atoms`), and where a name was cut short in the event,
    /// which cannot be undone: whoever chose it does not keep the other lines from being explained.
    fn asked(&self, resource: &Resource) -> Option<Asked> {
        Action::parse(&self.action)?;
        let node = |id: &str, host: &str| Some(format!("{}@{host}", plain::read(id)?));
        let (process, function, service) = match resource.r#type.as_str() {
            "Process" => (Some(plain::read(&resource.name)?), None, None),
            "Service" => (None, None, Some(plain::read(&resource.name)?)),
            "Function" => {
                let module = plain::read(&resource.module)?;
                let function = plain::read(&resource.function)?;
                let function = name::function(&module, &function, resource.arity);
                (None, Some(function), None)
            }
            _ => (None, None, None),
        };
        Some(Asked {
            from: node(&self.principal, &self.hosts.0)?,
            to: node(&self.target, &self.hosts.1)?,
            action: self.action.clone(),
            process,
            function,
            service,
            carries_function: resource.carries_function,
            via_pid: resource.via_pid,
            now: Some(self.seconds),
            expect: None,
        })
    }

    /// In the words of the event.
    fn undecided(&self) -> Explained {
        let Self {
            principal,
            action,
            target,
            ..
        } = self;
        Explained {
            request: format!("{principal} {action} at {target}"),
            verdict: UNDECIDED,
            policies: Vec::new(),
            errors: Vec::new(),
            near: Vec::new(),
            told: None,
            told_by_set: None,
            replayed: None,
        }
    }
}
