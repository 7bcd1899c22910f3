//! An address of this machine at which a bundle endpoint may be asked: bundles are never fetched from loopback (docs/decisions/0019).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use skans_identity::federation::endpoint::may_be_asked;

use super::{Missing, Options};

/// The address to use.
pub(super) fn own(options: &Options) -> Result<IpAddr, Missing> {
    if let Some(address) = options.address {
        return if may_be_asked(address) {
            Ok(address)
        } else {
            Err(Missing(format!(
                "--address {address}: bundles are never fetched from there; wanted an address of this machine that is neither loopback nor link-local"
            )))
        };
    }
    let table = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let found = local(&table).into_iter().map(IpAddr::V4);
    found.into_iter().find(|ip| may_be_asked(*ip)).ok_or_else(|| {
        Missing("this machine has no address but loopback, and bundles are never fetched from there: name one by --address, or give it one (ip address add 10.77.9.1/32 dev lo)".to_owned())
    })
}

/// The machine's own addresses in the routing table (`/32 host LOCAL` below an address), those of private networks first: what listens there for
/// a while is not for the world.
fn local(table: &str) -> Vec<Ipv4Addr> {
    let mut found: Vec<Ipv4Addr> = Vec::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in table.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line.contains("host LOCAL") {
            found.extend(last);
        }
    }
    found.sort_by_key(|ip| (!ip.is_private(), *ip));
    found.dedup();
    found
}

/// How long a bundle is good at least that could not be fetched again: no link may say less.
pub(super) const LEAST_STALENESS: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests;
