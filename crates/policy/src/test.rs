//! Tests of a set, as its authors write them: requests, and the decision that is expected. `tests/*.yaml`:
//!
//! ```yaml
//! nodes:
//!   cart: spiffe://prod.example/cluster/shop/ns/web/sa/cart/node/cart@host-a
//!   stock: spiffe://prod.example/cluster/shop/ns/web/sa/stock/node/stock@host-b
//! tests:
//!   - {from: cart, to: stock, action: call, function: "shop_stock:level/1", expect: permit}
//!   - {from: cart, to: stock, action: send, process: rex, carriesFunction: true, expect: deny}
//!   - {from: cart, to: stock, action: connect, service: postgres, expect: permit}
//! ```
//!
//! A request without `process`, `function` and `service` is about the receiving node.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::action::Action;
use crate::decision::{Decision, Verdict};
use crate::engine::Engine;
use crate::problem::{Problem, Problems, near};
use crate::request::{Request, Resource, Subject};
use crate::source::File;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tests {
    #[serde(default)]
    nodes: BTreeMap<String, String>,
    tests: Vec<Asked>,
}

/// A request as people write it, in tests and for `explain`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Asked {
    /// The sending node: an ID with host, or a name from `nodes`.
    pub from: String,
    /// The receiving node.
    pub to: String,
    /// The action.
    pub action: String,
    /// A registered name.
    #[serde(default)]
    pub process: Option<String>,
    /// `module:function/arity`.
    #[serde(default)]
    pub function: Option<String>,
    /// The name of a service, for `connect`.
    #[serde(default)]
    pub service: Option<String>,
    /// The payload has a fun in it, or was not seen to its end.
    #[serde(default)]
    pub carries_function: bool,
    /// The message went to a raw pid.
    #[serde(default)]
    pub via_pid: bool,
    /// Seconds since 1970, for `connect`.
    #[serde(default)]
    pub now: Option<u64>,
    /// What should come out.
    #[serde(default)]
    pub expect: Option<Expected>,
}

/// What a test expects. A dry run counts as what it would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// It passes.
    Permit,
    /// It does not.
    Deny,
}

/// One test, done.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The test, in one line.
    pub test: String,
    /// What was expected.
    pub expected: Expected,
    /// What came out.
    pub decision: Decision,
}

impl Outcome {
    /// Whether it came out as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        (self.decision.verdict == Verdict::Permit) == (self.expected == Expected::Permit)
    }
}

/// All tests of a file.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order of the file.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// Those that did not come out as expected.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| !outcome.passed())
    }
}

/// Runs the tests of a file.
///
/// # Errors
/// [`Problems`] if the file is not one of tests.
pub fn run(engine: &Arc<Engine>, file: &File) -> Result<Report, Problems> {
    let tests: Tests = crate::source::yaml(file)?;
    let mut problems = Vec::new();
    let mut outcomes = Vec::new();
    for (n, asked) in tests.tests.iter().enumerate() {
        let wrong = |found: &str, wanted: String| {
            Problem::new(&*file.name, format!("tests[{n}].{found}"), wanted)
        };
        let Some(expected) = asked.expect else {
            problems.push(wrong("expect: nothing", "permit or deny".into()));
            continue;
        };
        let mut asked = asked.clone();
        for node in [&mut asked.from, &mut asked.to] {
            if let Some(id) = tests.nodes.get(node) {
                node.clone_from(id);
            }
        }
        match asked.decide(engine) {
            Ok(decision) => outcomes.push(Outcome {
                test: asked.to_string(),
                expected,
                decision,
            }),
            Err((found, wanted)) => problems.push(wrong(&found, wanted)),
        }
    }
    Problems::check(problems)?;
    Ok(Report { outcomes })
}

impl Asked {
    /// Decides. The time is 0 unless the request has one.
    ///
    /// # Errors
    /// What was found, and what would be right.
    pub fn decide(&self, engine: &Arc<Engine>) -> Result<Decision, (String, String)> {
        let (from, to) = self.subjects()?;
        let pair = engine.pair(&from, &to, self.now.unwrap_or(0));
        self.with_request(|request| pair.decide(request))
    }

    /// Both ends.
    pub(crate) fn subjects(&self) -> Result<(Subject, Subject), (String, String)> {
        let read = |key: &str, id: &str| {
            subject(id).ok_or_else(|| (format!("{key}: {id:?}"), NODE.to_owned()))
        };
        Ok((read("from", &self.from)?, read("to", &self.to)?))
    }

    /// Hands the request to `ask`.
    ///
    /// # Errors
    /// What was found, and what would be right.
    pub(crate) fn with_request<T>(
        &self,
        ask: impl FnOnce(&Request<'_>) -> T,
    ) -> Result<T, (String, String)> {
        let action = Action::parse(&self.action).ok_or_else(|| {
            let known = Action::ALL.iter().map(|action| action.as_str());
            let wanted = near(&self.action, known.clone()).map_or_else(
                || format!("one of {}", known.collect::<Vec<_>>().join(", ")),
                |near| format!("perhaps {near:?}"),
            );
            (format!("action: {:?}", self.action), wanted)
        })?;
        let function = self.function.as_deref().map(|text| {
            crate::name::parse(text).ok_or_else(|| {
                (
                    format!("function: {text:?}"),
                    "module:function/arity".to_owned(),
                )
            })
        });
        let function = function.transpose()?;
        if let Some(name) = &self.service
            && (!crate::name::is_label(name) || action != Action::Connect)
        {
            return Err((
                format!("service: {name:?} with action: {action}"),
                "the name of a service, and connect".to_owned(),
            ));
        }
        let resource = match (&self.process, &function, &self.service) {
            (None, None, None) => Resource::Node,
            (Some(name), None, None) => Resource::Process(name),
            (None, None, Some(name)) => Resource::Service(name),
            (None, Some((module, function, arity)), None) => Resource::Function {
                module,
                function,
                arity: *arity,
            },
            _ => {
                return Err((
                    "two of process, function and service".into(),
                    "one of them".into(),
                ));
            }
        };
        let now = if action == Action::Connect {
            Some(self.now.unwrap_or(0))
        } else {
            None
        };
        Ok(ask(&Request {
            action,
            resource,
            carries_function: self.carries_function,
            via_pid: self.via_pid,
            now,
        }))
    }
}

const NODE: &str = "a node: spiffe://<trust domain>/cluster/<c>/ns/<n>/sa/<w>/node/<name>@<host>";

/// Reads the ID of a node with its host.
#[must_use]
pub fn subject(id: &str) -> Option<Subject> {
    if crate::source::Kind::of(id) != Some(crate::source::Kind::Node) {
        return None;
    }
    let (id, host) = id.rsplit_once('@')?;
    let mut parts = id.strip_prefix("spiffe://")?.split('/');
    let trust_domain = parts.next()?.to_owned();
    // The words between the parts: the shape was checked above.
    let mut next = || parts.nth(1).map(str::to_owned);
    Some(Subject {
        trust_domain,
        cluster: next()?,
        namespace: next()?,
        workload: next()?,
        node: next()?,
        host: host.to_owned(),
    })
}

impl core::fmt::Display for Asked {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {}", self.from, self.action)?;
        let name = self.process.as_ref().or(self.function.as_ref());
        if let Some(name) = name.or(self.service.as_ref()) {
            write!(f, " {name}")?;
        }
        write!(f, " at {}", self.to)
    }
}
