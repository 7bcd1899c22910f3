//! Two clusters whose hosts have the same addresses and names, and whose nodes have the same names: nothing but their gateways have a way
//! to each other, and what one exports the other calls all the same.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use skans_lab::{Policy, erl};
use skans_promises::PATIENCE;

use crate::clusters::{SERVER, Side, calls, exports, imports};
use crate::netns::{Host, Network};
use crate::root;

/// Where the agents are, and the gateways, in each network.
const HOSTS: [usize; 2] = [0, 1];

/// Why a host has no connection to a gateway's port there.
fn refused(host: &Host, ip: IpAddr) -> Option<ErrorKind> {
    host.inside(move || {
        let to = SocketAddr::new(ip, 4371);
        let tried = TcpStream::connect_timeout(&to, Duration::from_secs(5));
        tried.err().map(|error| error.kind())
    })
}

#[tokio::test]
async fn a_server_is_called_where_all_addresses_are_there_twice() {
    if !root::or_skip("two clusters with the same addresses") {
        return;
    }
    let networks = [Network::new(2, false), Network::new(2, false)];
    let [here, there] = &networks;
    let [own, other] = here.cable_to(1, there, 1);
    let erl = erl::find().unwrap();
    let ours = Side::start_to(here, "ours", &HOSTS, &[other], &erl).await;
    let theirs = Side::start_to(there, "theirs", &HOSTS, &[own], &erl).await;
    // All of it is there twice, and the cookies alone are not the same.
    for host in HOSTS {
        assert_eq!(here.host(host).four(), there.host(host).four());
    }
    let of = async |side: &Side, what: &str| side.node.eval(what, PATIENCE).await.unwrap();
    for (what, same) in [
        ("node()", true),
        ("inet:gethostname()", true),
        ("erlang:get_cookie()", false),
    ] {
        let (one, two) = (of(&ours, what).await, of(&theirs, what).await);
        assert_eq!(one == two, same, "{what}: {one}, {two}");
    }
    // The network between the gateways is theirs alone.
    for (network, far) in [(here, other), (there, own)] {
        assert_eq!(refused(network.host(1), far), None);
        let found = refused(network.host(0), far);
        assert_eq!(found, Some(ErrorKind::NetworkUnreachable));
    }
    ours.link(&theirs, Policy::open(), &imports()).await;
    theirs.link(&ours, Policy::open(), &exports()).await;
    of(&theirs, SERVER).await;
    calls(&ours).await;
    for side in [&ours, &theirs] {
        let seen = of(side, "{nodes(), global:registered_names()}").await;
        assert_eq!(seen, "{[],[]}");
        assert_eq!(side.agent.links().await.unwrap().len(), 1);
    }
}
