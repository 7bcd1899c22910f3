//! The proofs that need no root: what each shows, and the evidence for it. Nothing here is assumed;
//! each piece of evidence was read from the cluster a moment ago.

mod dial;
mod local;
mod messages;
mod nodes;
mod strangers;
mod wire;

use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;

use crate::{Cluster, Error};

/// How many nodes the proofs need.
pub const MIN_NODES: usize = 3;
/// For a whole proof. The longest starts an agent and two nodes; a loaded machine takes its time.
const LIMIT: Duration = Duration::from_secs(90);
/// For one step of a proof.
const STEP: Duration = Duration::from_secs(20);

/// What a proof found.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// What is claimed.
    pub proof: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was measured; where it does not hold, what was found instead.
    pub evidence: String,
}

/// A proof that can be run. The cluster is whole again afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// What is claimed, in a line.
    pub name: &'static str,
    run: Run,
}

type Run = for<'a> fn(&'a mut Cluster) -> Pin<Box<dyn Future<Output = Finding> + 'a>>;

/// Evidence, or what was found instead.
type Finding = Result<String, Failure>;

/// What was found instead.
#[derive(Debug)]
struct Failure(String);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<skans_identity::Error> for Failure {
    fn from(error: skans_identity::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// All of them, in the order in which they are run.
pub const ALL: &[Claim] = &[
    Claim {
        name: "every node has a cookie of its own",
        run: |cluster| Box::pin(nodes::cookies(cluster)),
    },
    Claim {
        name: "all nodes see each other",
        run: |cluster| Box::pin(nodes::see_each_other(cluster)),
    },
    Claim {
        name: "what applications use works across nodes",
        run: |cluster| Box::pin(messages::features(cluster)),
    },
    Claim {
        name: "large and many messages arrive whole and in order",
        run: |cluster| Box::pin(messages::bulk_and_order(cluster)),
    },
    Claim {
        name: "between agents there is TLS 1.3 and nothing else",
        run: |cluster| Box::pin(wire::only_tls(cluster)),
    },
    Claim {
        name: "a stranger gets nowhere on the link port",
        run: |cluster| Box::pin(strangers::without_identity(cluster)),
    },
    Claim {
        name: "a certificate of another name is refused on both ends",
        run: |cluster| Box::pin(strangers::of_another_name(cluster)),
    },
    Claim {
        name: "a stolen cookie opens nothing",
        run: |cluster| Box::pin(strangers::stolen_cookie(cluster)),
    },
    Claim {
        name: "nodes and epmd listen on loopback only",
        run: |cluster| Box::pin(local::loopback_only(cluster)),
    },
    Claim {
        name: "nobody can end or rob the epmd by a word",
        run: |cluster| Box::pin(local::epmd_refuses(cluster)),
    },
    Claim {
        name: "a killed node is missed, and welcome again",
        run: |cluster| Box::pin(nodes::killed_and_back(cluster)),
    },
];

impl Claim {
    /// Tries to prove it.
    pub async fn run(&self, cluster: &mut Cluster) -> Proof {
        let finding = tokio::time::timeout(LIMIT, (self.run)(cluster)).await;
        let (passed, evidence) = match finding {
            Ok(Ok(evidence)) => (true, evidence),
            Ok(Err(Failure(found))) => (false, found),
            Err(_) => (false, format!("not done within {LIMIT:?}")),
        };
        Proof {
            proof: self.name.to_owned(),
            passed,
            evidence,
        }
    }
}

/// Fails with what was found, unless it is as it should be.
fn ensure(holds: bool, found: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure(found())) }
}
