//! What the links in force need of a Kubernetes network, as NetworkPolicies (networking.k8s.io/v1): the ways that the links have use
//! for, and for gateways nothing else. Text out of links, no I/O.
//!
//! A NetworkPolicy names addresses and pods, never DNS names: what only a name says is left for people to fill in, and denied until then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use skans_identity::UnixTime;
use skans_identity::federation::link::{Link, Links};
use skans_identity::host::Host;

use crate::caller::sha256;
use crate::hex;

#[cfg(test)]
mod tests;

/// The ports of links, of gateways and of the control plane's API: those of the product's defaults.
const AGENT_PORT: u16 = 4370;
const GATEWAY_PORT: u16 = 4371;
const API_PORT: u16 = 8443;

/// Where the gateways of other clusters are, `host:port` each, by the name of the link: `gateway.routes` of a gateway's configuration.
pub type Routes = BTreeMap<String, Vec<String>>;

/// Whose pods a policy selects. The labels are in docs/federation.md.
#[derive(Clone, Copy)]
enum Pods {
    Agents,
    Gateways,
    Control,
}

impl Pods {
    fn selector(self, indent: &str) -> String {
        let ours = format!("{indent}matchLabels:\n{indent}  app.kubernetes.io/part-of: skans\n");
        let component = |name| format!("{ours}{indent}  app.kubernetes.io/component: {name}\n");
        match self {
            Self::Gateways => component("gateway"),
            Self::Control => component("control"),
            // Mostly an application's pods, with an agent beside each node: their component is the application's to name.
            Self::Agents => format!(
                "{ours}{indent}matchExpressions:\n{indent}  - key: app.kubernetes.io/component\n{indent}    operator: NotIn\n{indent}    values: [gateway, control]\n"
            ),
        }
    }
}

/// At the other end of what a rule permits.
enum Peer {
    Pods(Pods),
    Address(IpAddr),
    /// CoreDNS, as every distribution of Kubernetes labels it.
    Dns,
}

impl Peer {
    fn write(&self, out: &mut String) {
        let _ = match self {
            Self::Pods(pods) => write!(
                out,
                "        - podSelector:\n{}",
                pods.selector("            ")
            ),
            Self::Address(ip) => {
                let bits = if ip.is_ipv4() { 32 } else { 128 };
                writeln!(out, "        - ipBlock: {{cidr: \"{ip}/{bits}\"}}")
            }
            Self::Dns => out.write_str(
                "        - namespaceSelector:\n            matchLabels: {kubernetes.io/metadata.name: kube-system}\n          podSelector:\n            matchLabels: {k8s-app: kube-dns}\n",
            ),
        };
    }
}

/// What a rule permits: these peers, at one port.
struct Rule {
    peers: Vec<Peer>,
    port: u16,
}

impl Rule {
    fn new(peers: impl IntoIterator<Item = Peer>, port: u16) -> Self {
        Self {
            peers: peers.into_iter().collect(),
            port,
        }
    }

    fn pods(pods: impl IntoIterator<Item = Pods>, port: u16) -> Self {
        Self::new(pods.into_iter().map(Peer::Pods), port)
    }

    fn dns() -> Self {
        Self::new([Peer::Dns], 53)
    }

    fn write(&self, way: &str, out: &mut String) {
        let _ = writeln!(out, "    - {way}:");
        self.peers.iter().for_each(|peer| peer.write(out));
        out.push_str("      ports:\n");
        let protocols: &[_] = if self.port == 53 {
            &["UDP", "TCP"]
        } else {
            &["TCP"]
        };
        for protocol in protocols {
            let _ = writeln!(
                out,
                "        - {{protocol: {protocol}, port: {}}}",
                self.port
            );
        }
    }
}

/// One document. Which pods it selects are denied what it does not permit, and no other policy does, in the directions that it has.
struct Policy {
    name: String,
    remarks: Vec<String>,
    pods: Pods,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
}

impl Policy {
    fn write(&self, out: &mut String) {
        out.push_str("---\n");
        for remark in &self.remarks {
            let _ = writeln!(out, "# {remark}");
        }
        let _ = write!(
            out,
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {}\nspec:\n  podSelector:\n{}",
            self.name,
            self.pods.selector("    ")
        );
        let both = [
            ("Ingress", "ingress", "from", &self.ingress),
            ("Egress", "egress", "to", &self.egress),
        ];
        let types: Vec<_> = both
            .iter()
            .filter_map(|(name, .., rules)| rules.as_ref().map(|_| *name))
            .collect();
        let _ = writeln!(out, "  policyTypes: [{}]", types.join(", "));
        for (_, member, way, rules) in both {
            match rules.as_deref() {
                None => {}
                // No rule is no traffic; without the member it would be the same, and less plain.
                Some([]) => {
                    let _ = writeln!(out, "  {member}: []");
                }
                Some(rules) => {
                    let _ = writeln!(out, "  {member}:");
                    rules.iter().for_each(|rule| rule.write(way, out));
                }
            }
        }
    }
}

/// The policies that the links of a set need which are not over at `now`, as YAML documents. `set` is what to call the policy set in
/// comments. Without `routes` nothing says where the gateways of others are.
///
/// Apply all of them to one namespace, that of gateways, agents and control plane. What links need no more is not among them.
#[must_use]
pub fn render(set: &str, links: &Links, routes: Option<&Routes>, now: UnixTime) -> String {
    let present: Vec<_> = links.in_force(now).collect();
    let names: Vec<_> = present.iter().map(|link| link.name.as_ref()).collect();
    let mut out = format!(
        "# What the links of policy set {} need: {}. Print and apply it anew when links, routes or addresses change.\n\
         # For the one namespace that gateways, agents and control plane are in. Their pods are those with the label app.kubernetes.io/part-of: skans;\n\
         # app.kubernetes.io/component is gateway or control, and what is neither has an agent.\n\
         # A pod that a policy selects is denied all that no policy permits: what else agents' pods and the control plane's need (their\n\
         # applications, a database, people at the API, the API server of Kubernetes) has to be permitted by policies of yours.\n",
        // A name in a file may be anything; none may end the comment.
        set.escape_debug(),
        if names.is_empty() {
            "there is none in force".to_owned()
        } else {
            names.join(", ")
        }
    );
    within(&present)
        .iter()
        .for_each(|policy| policy.write(&mut out));
    let mut domains = BTreeSet::new();
    for link in present {
        gateways(link, routes).write(&mut out);
        // Several links into one domain have one source.
        if domains.insert(&link.peer.trust_domain) {
            control(link).write(&mut out);
        }
    }
    out
}

/// What stays within the cluster.
fn within(links: &[&Link]) -> [Policy; 3] {
    let (mut to_agents, mut to_gateways) = (vec![Pods::Agents], Vec::new());
    let mut from_gateways = vec![Rule::dns(), Rule::pods([Pods::Control], API_PORT)];
    let mut from_agents = vec![
        Rule::dns(),
        Rule::pods([Pods::Agents], AGENT_PORT),
        Rule::pods([Pods::Control], API_PORT),
    ];
    if links.iter().any(|link| !link.exports.is_empty()) {
        from_gateways.push(Rule::pods([Pods::Agents], AGENT_PORT));
        to_agents.push(Pods::Gateways);
    }
    if links.iter().any(|link| !link.imports.is_empty()) {
        from_agents.push(Rule::pods([Pods::Gateways], GATEWAY_PORT));
        to_gateways.push(Rule::pods([Pods::Agents], GATEWAY_PORT));
    }
    [
        Policy {
            name: "skans-gateway".to_owned(),
            remarks: vec![
                "Gateways: nothing but what is here, and to the gateways of linked clusters below. Which nodes are exported only they know:".to_owned(),
                "a NetworkPolicy lets them reach every agent's port, and agents refuse what no link exports.".to_owned(),
            ],
            pods: Pods::Gateways,
            ingress: Some(to_gateways),
            egress: Some(from_gateways),
        },
        Policy {
            name: "skans-agent".to_owned(),
            remarks: Vec::new(),
            pods: Pods::Agents,
            ingress: Some(vec![Rule::pods(to_agents, AGENT_PORT)]),
            egress: Some(from_agents),
        },
        Policy {
            name: "skans-control".to_owned(),
            remarks: Vec::new(),
            pods: Pods::Control,
            ingress: Some(vec![Rule::pods([Pods::Agents, Pods::Gateways], API_PORT)]),
            egress: Some(vec![Rule::dns()]),
        },
    ]
}

/// What our gateways have to do with theirs.
fn gateways(link: &Link, routes: Option<&Routes>) -> Policy {
    let mut remarks = Vec::new();
    let mut known = BTreeSet::new();
    let none = Vec::new();
    let addresses = match routes {
        None => {
            remarks.push(format!(
                "Nothing says where the gateways of {} are: print this with --gateway FILE, the configuration of a gateway of ours.",
                link.name
            ));
            &none
        }
        Some(routes) => routes.get(&*link.name).unwrap_or_else(|| {
            remarks.push(format!(
                "gateway.routes has no {}: nothing says where its gateways are, and none is reached.",
                link.name
            ));
            &none
        }),
    };
    for address in addresses {
        match place(address) {
            Ok(place) => {
                known.insert(place);
            }
            Err(shown) => remarks.push(to_fill_in(&shown, "gateway.routes")),
        }
    }
    let (mut ingress, mut egress) = (Vec::new(), Vec::new());
    if !link.exports.is_empty() && !known.is_empty() {
        remarks.push(from_elsewhere("gateways"));
        let hosts: BTreeSet<_> = known.iter().map(|(ip, _)| *ip).collect();
        let peers = hosts.into_iter().map(Peer::Address);
        ingress.push(Rule::new(peers, GATEWAY_PORT));
    }
    if !link.imports.is_empty() {
        egress.extend(by_port(&known));
    }
    Policy {
        name: named("gateway", &link.name),
        remarks,
        pods: Pods::Gateways,
        ingress: Some(ingress),
        egress: Some(egress),
    }
}

/// What our control plane has to do with theirs.
fn control(link: &Link) -> Policy {
    let url = &link.source.url;
    let mut remarks = Vec::new();
    let (mut ingress, mut egress) = (Vec::new(), Vec::new());
    match url.host() {
        Host::Ip(ip) => {
            remarks.push(from_elsewhere("control plane"));
            ingress.push(Rule::new([Peer::Address(*ip)], API_PORT));
            egress.push(Rule::new([Peer::Address(*ip)], url.port()));
        }
        host @ Host::Dns(_) => remarks.push(to_fill_in(
            &format!("{host}:{}", url.port()),
            &format!("bundle.url of link {}", link.name),
        )),
    }
    Policy {
        name: named("control", &link.name),
        remarks,
        pods: Pods::Control,
        ingress: Some(ingress),
        egress: Some(egress),
    }
}

fn to_fill_in(shown: &str, at: &str) -> String {
    format!(
        "{shown} ({at}) is a name, which no NetworkPolicy can say: denied until you put its addresses here, `ipBlock: {{cidr: ADDRESS/32}}` each."
    )
}

fn from_elsewhere(whose: &str) -> String {
    format!(
        "Taken to come from where they are reached: if their {whose} leave by other addresses (NAT), put those under `from`."
    )
}

/// One rule for each port, with all the addresses that are reached there.
fn by_port(known: &BTreeSet<(IpAddr, u16)>) -> Vec<Rule> {
    let mut ports: BTreeMap<u16, Vec<Peer>> = BTreeMap::new();
    for (ip, port) in known {
        ports.entry(*port).or_default().push(Peer::Address(*ip));
    }
    let rules = ports.into_iter();
    rules.map(|(port, peers)| Rule { peers, port }).collect()
}

/// Address and port, if it is an address; else how to show it. It comes from a file: nothing in it may end a comment.
fn place(text: &str) -> Result<(IpAddr, u16), String> {
    let shown = || text.escape_debug().to_string();
    let (host, port) = text.rsplit_once(':').ok_or_else(shown)?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match (bare.unwrap_or(host).parse(), port.parse()) {
        (Ok(ip), Ok(port)) => Ok((ip, port)),
        _ => Err(shown()),
    }
}

/// The name of an object, out of that of a link, which may have in it what Kubernetes does not take: two links never make one object.
fn named(what: &str, link: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = link.bytes().all(|byte| plain(&byte) || byte == b'-')
        && link.as_bytes().last().is_some_and(plain);
    if fits {
        return format!("skans-{what}-{link}");
    }
    let spelled = link.to_ascii_lowercase().replace(['.', '_'], "-");
    let hash = hex::of(&sha256(link.as_bytes()));
    format!("skans-{what}-{spelled}-{}", hash.get(..8).unwrap_or(&hash))
}
