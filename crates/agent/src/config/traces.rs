//! `traces`: where links are told as traces, and how often long ones are.

use std::time::Duration;

use serde::Deserialize;
use skans_host::duration::deserialize as duration;
use skans_otlp::{Otlp, Signal};

/// Where links are told as traces.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Traces {
    /// Who collects them. Nobody unless given: who talks to whom leaves the host by it. Envoy and Linkerd tell nobody either unless
    /// they are told whom; the OpenTelemetry SDKs send to port 4318 of their host, whoever listens there.
    pub otlp: Option<Otlp>,
    /// How often a link that goes on is told of, if anything was said over it. 5 min: a link may live for weeks, and what is told
    /// only at its end comes when nobody asks any more, or never; at 12 spans an hour, a thousand busy links are three a second.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            otlp: None,
            interval: Duration::from_secs(300),
        }
    }
}

impl Traces {
    /// What its types cannot refuse.
    pub(super) fn check(&self) -> Result<(), String> {
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        if self.interval < least || self.interval > most {
            return Err(format!(
                "traces.interval: found {:?}, wanted {least:?} to {most:?}",
                self.interval
            ));
        }
        let checked = self
            .otlp
            .as_ref()
            .map_or(Ok(()), |otlp| otlp.check(Signal::Traces));
        checked.map_err(|why| format!("traces.otlp.{why}"))
    }
}

#[cfg(test)]
mod tests;
