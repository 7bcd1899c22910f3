//! The kernel's table, as it prints it.

use super::*;

const TABLE: &str = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 203.0.113.0/24 2 0 2
        |-- 203.0.113.9
           /32 host LOCAL
        |-- 203.0.113.255
           /32 link BROADCAST
     +-- 10.0.0.0/24 2 0 2
        |-- 10.0.0.0
           /24 link UNICAST
        |-- 10.0.0.7
           /32 host LOCAL
        +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
Local:
        |-- 10.0.0.7
           /32 host LOCAL
";

#[test]
fn own_addresses_are_found_private_ones_first() {
    let found = local(TABLE);
    assert_eq!(found.first(), Some(&Ipv4Addr::new(10, 0, 0, 7)));
    assert!(found.contains(&Ipv4Addr::new(203, 0, 113, 9)));
    assert!(!found.contains(&Ipv4Addr::new(203, 0, 113, 255)));
    let used: Vec<_> = found
        .into_iter()
        .filter(|ip| may_be_asked(IpAddr::V4(*ip)))
        .collect();
    assert_eq!(used.len(), 2, "{used:?}");
}
