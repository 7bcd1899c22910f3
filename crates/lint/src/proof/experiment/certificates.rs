//! What comes of who has which certificate: one of the same authority for another name, one that all nodes share, one that
//! was copied and has expired since.

use super::{Bench, NEAR, Outcome, Result};
use crate::proof::taken::{CERTIFICATE, KEY};

impl Bench<'_> {
    /// Whether the authority is all that a node asks for.
    pub(super) fn neighbour(&mut self) -> Result<Outcome> {
        let (node, up) = self.node(NEAR, "")?;
        if !up {
            return Ok(Self::does_not_boot(&node, false));
        }
        let without = self.client("none")?;
        let with = self.client("neighbour")?;
        let evidence = vec![
            format!("a peer without a certificate: {without}"),
            format!("a peer with a certificate for neighbour.elsewhere.svc alone: {with}"),
        ];
        if without.starts_with("said ") {
            let consequence =
                "the node lets in who has no certificate at all, which another rule knows";
            return Ok(Outcome::new(false, consequence, evidence));
        }
        let shown = with.starts_with("said ");
        let consequence = if shown {
            "whoever has any certificate of this authority was let in to the handshake; only the cookie is left"
        } else {
            "a certificate for another name was refused"
        };
        Ok(Outcome::new(shown, consequence, evidence))
    }

    /// Whether the key of one node is enough to be another.
    pub(super) fn shared(&mut self) -> Result<Outcome> {
        let own = self.server("one")?;
        let shared = self.server("node")?;
        let evidence = vec![
            format!("an impostor of 127.0.0.2 with a certificate for 127.0.0.1 alone: {own}"),
            format!("the same with the one that all nodes have: {shared}"),
        ];
        let shown = shared.starts_with("said ") && !own.starts_with("said ");
        let consequence = if shown {
            "with the key of one node an impostor passes for another one"
        } else {
            "the certificate made no difference, which another rule may know: mend that first"
        };
        Ok(Outcome::new(shown, consequence, evidence))
    }

    /// What nodes do with what was copied, when the Secret has been renewed.
    pub(super) fn copied(&mut self) -> Result<Outcome> {
        let renewed = self.pair()?;
        if renewed.shown {
            return Ok(Outcome::new(
                false,
                "such nodes do not connect with a good certificate either: mend that first",
                renewed.evidence,
            ));
        }
        self.scratch.copy("expired.pem", CERTIFICATE)?;
        self.scratch.copy("expired.key", KEY)?;
        let old = self.pair()?;
        let mut evidence = vec!["with the certificate of the Secret: connected".to_owned()];
        evidence.extend(old.evidence);
        let consequence = if old.shown {
            "with a copy that has expired, no connection comes about; with the renewed one it would"
        } else {
            "nodes with a certificate that has expired connect all the same"
        };
        Ok(Outcome::new(old.shown, consequence, evidence))
    }
}
