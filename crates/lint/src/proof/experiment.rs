//! The experiments: what is started, what is looked for, and what it says about a rule. Those with other certificates, and
//! those with tools and probes, have rooms of their own.

mod certificates;
mod tools;

use std::path::Path;
use std::time::Duration;

use super::handshake::handshake;
use super::machine::{Erl, LIFE, Machine, Scratch, Waited, free_port, random};
use super::taken::{Taken, take};
use super::words::{first_words, quoted, telling};
use super::{Experiment, Proof};
use crate::Checked;
use crate::error::{Error, Result};
use crate::rule::Finding;

const NEAR: &str = "127.0.0.1";
const FAR: &str = "127.0.0.2";
/// What a node of a proof says when it has started.
const UP: &str = "skans-up";
/// Makes certificates, and says which release it is.
const PREPARE: &str = include_str!("prepare.erl.txt");
/// A stranger: connects, or listens, with one of the certificates or without. Distribution over TLS has
/// lengths of four bytes from the first message on, that over TCP has two.
const STRANGER: &str = include_str!("stranger.erl.txt");
/// A release of Elixir that reads configuration when it starts.
const ELIXIR: &str = include_str!("release.exs.txt");
/// What reports of a failure need to be written.
const MOMENT: Duration = Duration::from_millis(300);

/// Everything that is at hand in an experiment.
struct Bench<'a> {
    erl: &'a Erl,
    scratch: &'a Scratch,
    taken: &'a Taken,
    finding: &'a Finding,
    release: u32,
    port: u16,
    ran: Vec<String>,
}

/// What came of it.
struct Outcome {
    shown: bool,
    consequence: String,
    evidence: Vec<String>,
}

impl Outcome {
    fn new(shown: bool, consequence: impl Into<String>, evidence: Vec<String>) -> Self {
        Self {
            shown,
            consequence: consequence.into(),
            evidence,
        }
    }
}

pub(super) fn run(
    checked: &Checked,
    finding: &Finding,
    experiment: Experiment,
    erl: &Erl,
) -> Result<Proof> {
    let scratch = Scratch::new(erl)?;
    let taken = take(checked, finding, experiment, &scratch)?;
    let release = prepare(erl, &scratch, taken.tls)?;
    let mut bench = Bench {
        erl,
        scratch: &scratch,
        taken: &taken,
        finding,
        release,
        port: free_port()?,
        ran: Vec::new(),
    };
    let outcome = match experiment {
        Experiment::Boot => bench.boot()?,
        Experiment::Plain => bench.plain()?,
        Experiment::Stranger => bench.stranger()?,
        Experiment::Pair => bench.pair()?,
        Experiment::Cookie => bench.cookie()?,
        Experiment::CookieFile => {
            scratch.write_open(".erlang.cookie", &format!("skans{:016x}", random()))?;
            bench.boot()?
        }
        Experiment::Elixir => bench.elixir()?,
        Experiment::Neighbour => bench.neighbour()?,
        Experiment::Shared => bench.shared()?,
        Experiment::Copied => bench.copied()?,
        Experiment::Tool => bench.tool()?,
        Experiment::Http => bench.http()?,
    };
    let ran = std::mem::take(&mut bench.ran);
    Ok(Proof {
        rule: finding.rule,
        finding: finding.clone(),
        shown: outcome.shown,
        consequence: outcome.consequence,
        evidence: outcome.evidence,
        release: release.to_string(),
        ran,
        notes: match experiment {
            Experiment::Elixir => vec![
                "nothing of yours is evaluated: a file of one line configures the same application"
                    .to_owned(),
            ],
            Experiment::Http => vec![
                "a listener of ssl, with a certificate made for this proof, stands in for your server"
                    .to_owned(),
            ],
            _ => taken.notes,
        },
    })
}

/// Which release it is; with certificates if they are needed.
fn prepare(erl: &Erl, scratch: &Scratch, certificates: bool) -> Result<u32> {
    let what = if certificates {
        "certificates"
    } else {
        "nothing"
    };
    let arguments = [
        "-noinput",
        "-eval",
        PREPARE,
        "-extra",
        &scratch.path(""),
        what,
    ];
    let mut machine = Machine::erl(erl, scratch, &arguments.map(str::to_owned))?;
    let release = match machine.wait("skans-release ")? {
        Waited::Said(release) => release.parse().ok(),
        Waited::Ended => None,
    };
    let made = !certificates || machine.wait("skans-made")? != Waited::Ended;
    match release {
        Some(release) if made => Ok(release),
        _ => Err(Error::Proof {
            what: format!(
                "`erl` does not do what a proof needs; wanted OTP 25 or later with ssl: {}",
                first_words(&machine.said)
            ),
        }),
    }
}

impl Bench<'_> {
    /// A node of the reader's on an address, and whether it starts.
    fn node(&mut self, host: &str, then: &str) -> Result<(Machine, bool)> {
        let ours = format!(
            "{{ok, _}} = timer:apply_after({LIFE}, erlang, halt, []), io:format(\"{UP}~n\"){then}."
        );
        let arguments = self.taken.arguments(host, self.port, &ours);
        let words: Vec<_> = arguments
            .iter()
            .map(|word| {
                if *word == ours {
                    "…".to_owned()
                } else {
                    quoted(word)
                }
            })
            .collect();
        self.ran.push(format!("erl {}", words.join(" ")));
        let mut machine = Machine::erl(self.erl, self.scratch, &arguments)?;
        let up = machine.wait(UP)? != Waited::Ended;
        if !up && machine.said.iter().any(|line| line.contains("eaddrinuse")) {
            return Err(Error::Proof {
                what: "another program took the port in the meantime; try again".to_owned(),
            });
        }
        Ok((machine, up))
    }

    fn does_not_boot(machine: &Machine, shown: bool) -> Outcome {
        let consequence = if shown {
            "the node does not boot"
        } else {
            "the node does not boot at all, which another rule may know: mend that first"
        };
        Outcome::new(shown, consequence, telling(&machine.said))
    }

    fn boot(&mut self) -> Result<Outcome> {
        let (mut machine, up) = self.node(NEAR, "")?;
        if up {
            machine.linger(MOMENT);
            return Ok(Outcome::new(
                false,
                "the node boots",
                telling(&machine.said),
            ));
        }
        Ok(Self::does_not_boot(&machine, true))
    }

    fn plain(&mut self) -> Result<Outcome> {
        let (mut machine, up) = self.node(NEAR, "")?;
        if !up {
            return Ok(Self::does_not_boot(&machine, false));
        }
        let Some((status, name)) = handshake(FAR, self.port) else {
            machine.linger(MOMENT);
            let warning = machine
                .said
                .iter()
                .find(|line| line.contains("-proto_dist"))
                .cloned();
            // Later releases take the first of several, and say so.
            let shown = self.finding.rule.id == "ERL013" && warning.is_some();
            let consequence = if shown {
                "this release takes the first -proto_dist and warns; OTP 25 speaks in clear"
            } else {
                "a plaintext handshake is not answered"
            };
            return Ok(Outcome::new(
                shown,
                consequence,
                warning.into_iter().collect(),
            ));
        };
        let shown = status.starts_with("ok") && name == self.taken.name(NEAR);
        Ok(Outcome::new(
            shown,
            "a plaintext handshake was accepted",
            vec![
                format!(
                    "to 127.0.0.1:{}, without TLS: \"I am skans-probe@{FAR}\"",
                    self.port
                ),
                format!("back, in clear: {status:?}, \"I am {name}, here is my challenge\""),
                "what is left is a digest of the cookie; all that follows is in clear, too"
                    .to_owned(),
            ],
        ))
    }

    /// First whether the server lets in who shows nothing, then whether the client talks to anybody.
    fn stranger(&mut self) -> Result<Outcome> {
        let (node, up) = self.node(NEAR, "")?;
        if !up {
            return Ok(Self::does_not_boot(&node, false));
        }
        let answer = self.client("none")?;
        if let Some(status) = answer.strip_prefix("said ") {
            return Ok(Outcome::new(
                true,
                "a peer without any certificate was let in to the handshake",
                vec![
                    "a stranger with no certificate opens TLS and says: \"I am skans-probe@127.0.0.2\"".to_owned(),
                    format!("the node: {status:?}; only the cookie is left"),
                ],
            ));
        }
        drop(node);
        let refused = format!("with no certificate: {answer}");
        let heard = self.server("other")?;
        if let Some(name) = heard.strip_prefix("said ") {
            return Ok(Outcome::new(
                true,
                "the node spoke to a server of another authority",
                vec![
                    refused,
                    format!(
                        "to a server with a certificate of another authority it said: \"I am {name}\""
                    ),
                ],
            ));
        }
        let old = "OTP 25 lets it in";
        if self.finding.rule.id == "TLS002" && self.release > 25 {
            return Ok(Outcome::new(
                true,
                format!("this release refuses a peer without a certificate; {old}"),
                vec![refused],
            ));
        }
        Ok(Outcome::new(
            false,
            "a peer without a certificate is refused, and a server of another authority, too",
            vec![refused, heard],
        ))
    }

    /// What a stranger with a certificate, or `none`, hears of the node on the near address.
    fn client(&mut self, certificate: &str) -> Result<String> {
        let mut stranger = self.start_stranger("connect", NEAR, certificate)?;
        said(&mut stranger, "skans-answer ")
    }

    /// What a stranger hears who listens with a certificate where a node calls another one.
    fn server(&mut self, certificate: &str) -> Result<String> {
        let mut stranger = self.start_stranger("listen", FAR, certificate)?;
        said(&mut stranger, "skans-listens")?;
        let then = format!(
            ", io:format(\"skans-connected ~p~n\", [net_kernel:connect_node('skans-probe@{FAR}')])"
        );
        let (_node, up) = self.node(NEAR, &then)?;
        if up {
            said(&mut stranger, "skans-answer ")
        } else {
            Ok(String::new())
        }
    }

    fn start_stranger(&mut self, role: &str, host: &str, certificate: &str) -> Result<Machine> {
        let (port, path) = (self.port.to_string(), self.scratch.path(""));
        let arguments = [
            "-noinput",
            "-eval",
            STRANGER,
            "-extra",
            role,
            host,
            &port,
            &path,
            certificate,
        ];
        Machine::erl(self.erl, self.scratch, &arguments.map(str::to_owned))
    }

    fn pair(&mut self) -> Result<Outcome> {
        let (mut far, up) = self.node(FAR, "")?;
        if !up {
            return Ok(Self::does_not_boot(&far, true));
        }
        let other = self.taken.name(FAR);
        let then = format!(
            ", io:format(\"skans-connected ~p~n\", [net_kernel:connect_node('{other}')]), timer:sleep(500), halt()"
        );
        let (mut near, up) = self.node(NEAR, &then)?;
        if !up {
            return Ok(Self::does_not_boot(&near, true));
        }
        let connected = said(&mut near, "skans-connected ")?;
        if connected == "true" {
            return Ok(Outcome::new(
                false,
                "two nodes that are configured so connect",
                Vec::new(),
            ));
        }
        far.linger(MOMENT);
        near.linger(MOMENT);
        let mut evidence = vec![format!(
            "net_kernel:connect_node('{other}') from a node that is configured alike: {connected}"
        )];
        evidence.extend(telling(&far.said));
        evidence.extend(telling(&near.said));
        Ok(Outcome::new(
            true,
            "the nodes boot, and no connection comes about",
            evidence,
        ))
    }

    fn cookie(&mut self) -> Result<Outcome> {
        let (far, up) = self.node(FAR, "")?;
        if !up {
            return Ok(Self::does_not_boot(&far, false));
        }
        let other = self.taken.name(FAR);
        let then = format!(
            ", io:format(\"skans-ran ~s~n\", [try erpc:call('{other}', os, getpid, [], 15000) catch _:_ -> \"nothing\" end])"
        );
        let (mut near, up) = self.node(NEAR, &then)?;
        if !up {
            return Ok(Self::does_not_boot(&near, false));
        }
        let process = said(&mut near, "skans-ran ")?;
        // Under chroot there are other processes between; then it is enough that it answered.
        let same = process == far.id().to_string();
        let shown = same || !self.erl.is_here() && process.parse::<u32>().is_ok();
        Ok(Outcome::new(
            shown,
            if shown {
                "whoever says this cookie runs code in the node"
            } else {
                "the cookie alone did not open the node"
            },
            vec![format!(
                "erpc:call('{other}', os, getpid, []) from a second node with the cookie: {process:?}, the process of the first"
            )],
        ))
    }

    fn elixir(&mut self) -> Result<Outcome> {
        if !self.erl.is_here() {
            return Err(Error::Proof {
                what: "this rule needs Elixir beside `erl`".to_owned(),
            });
        }
        let app = if self.finding.message.contains(":stdlib") {
            "stdlib"
        } else {
            "kernel"
        };
        let script = self.scratch.write("release.exs", ELIXIR)?;
        self.ran.push(format!(
            "a release whose config/runtime.exs says: config :{app}, skans_shown: true"
        ));
        let arguments = [script, self.scratch.path(""), app.to_owned()];
        let mut machine = Machine::start(self.erl, Path::new("elixir"), self.scratch, &arguments)?;
        let up = machine.wait(UP)? != Waited::Ended;
        let refused = machine
            .said
            .iter()
            .any(|line| line.contains("Cannot configure :"));
        let consequence = if refused {
            "the release aborts its boot"
        } else {
            "the release boots"
        };
        Ok(Outcome::new(
            refused && !up,
            consequence,
            telling(&machine.said),
        ))
    }
}

fn said(machine: &mut Machine, mark: &str) -> Result<String> {
    match machine.wait(mark)? {
        Waited::Said(rest) => Ok(rest),
        Waited::Ended => Err(Error::Proof {
            what: format!("a node of the proof ended: {}", first_words(&machine.said)),
        }),
    }
}
