//! Bounds on those who have not said who they are: how many may be in the middle of it, and who goes when there are more.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The address that limits count by: all of a /64 is one caller, for any host has as many as it likes of those.
#[must_use]
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// Connections of those who have not said who they are: in the middle of a handshake, or without a certificate.
///
/// When one more comes than may be, the oldest of the address that holds most of them is dropped. So a flood from one
/// address pushes out itself, and a peer that proves itself within milliseconds always gets through.
#[derive(Debug)]
pub struct Pending {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    waiting: BTreeMap<u64, (IpAddr, CancellationToken)>,
    by_address: HashMap<IpAddr, usize>,
}

/// One such connection; dropping it says that it has said so or is gone.
#[derive(Debug)]
pub struct Waiting {
    pending: Arc<Pending>,
    number: u64,
    /// Cancelled when it has to make room.
    pub evicted: CancellationToken,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pending.lock().remove(self.number);
    }
}

impl Pending {
    /// At most `limit` at once.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            inner: Mutex::default(),
        })
    }

    /// Lets one more in.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Waiting {
        let address = counted(address);
        let mut inner = self.lock();
        if inner.waiting.len() >= self.limit {
            inner.evict();
        }
        let number = inner.next;
        inner.next += 1;
        let evicted = CancellationToken::new();
        inner.waiting.insert(number, (address, evicted.clone()));
        *inner.by_address.entry(address).or_default() += 1;
        drop(inner);
        Waiting {
            pending: Arc::clone(self),
            number,
            evicted,
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn evict(&mut self) {
        let most = self.by_address.iter().max_by_key(|(_, count)| **count);
        let Some((&most, _)) = most else { return };
        let oldest = self.waiting.iter().find(|(_, (ip, _))| *ip == most);
        if let Some((&number, _)) = oldest {
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) {
        let Some((address, evicted)) = self.waiting.remove(&number) else {
            return;
        };
        evicted.cancel();
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_flood_pushes_out_itself_and_nobody_else() {
        let pending = Pending::new(4);
        let honest = pending.enter(ip("10.0.0.2"));
        let flood: Vec<_> = (0..100).map(|_| pending.enter(ip("10.0.0.1"))).collect();
        assert_eq!(pending.len(), 4);
        assert!(!honest.evicted.is_cancelled());
        let left = flood.iter().filter(|one| !one.evicted.is_cancelled());
        assert_eq!(left.count(), 3);
        assert!(!flood[99].evicted.is_cancelled(), "the oldest goes first");
        drop((honest, flood));
        assert_eq!(pending.len(), 0);
        assert!(pending.lock().by_address.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_addresses_is_one_caller() {
        let same = |a, b| counted(ip(a)) == counted(ip(b));
        assert!(same("2001:db8:1:2:3::4", "2001:db8:1:2:ffff::1"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert_eq!(counted(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
    }
}
