//! Every attack, written in every way, against a node: who refuses it, and that it is nothing that could not be done.

use std::collections::BTreeMap;
use std::path::Path;

use skans_dist::Flags;
use skans_lab::{Cluster, HostPlan, NodePlan, Plan, Policy, until};
use skans_promises::PATIENCE;
use skans_promises::attacks::sets::node;

use super::attacks::{self, Answer, Attack, Form, message};
use super::terms::{Cut, Delivery, Said, T};
use super::victim::{Victim, pids};
use super::{Heard, Peer};
use crate::hostile::{RawNode, insider, spec};

const VICTIM: &str = "n1@n1.lab";
const EVIL: &str = "evil@n9.lab";

/// Flags of op 37.
const PRIORITY: i32 = 1;
const ALIAS: i32 = 4;
const EXIT: i32 = 16;

/// What both ends have agreed on: what a node of OTP 25 says, at most.
fn flags() -> Flags {
    Flags::KNOWN.without(Flags::NAME_ME)
}

/// A host whose node is to be attacked, by this `erl` if not by the one in `PATH`.
fn plan(erl: Option<&Path>) -> Plan {
    Plan::new(skans_lab::plan::find_skans().unwrap())
        .unwrap()
        .host(HostPlan::new("n1").node(node(VICTIM, erl)))
}

async fn victim(cluster: &Cluster) -> Victim {
    let directory = cluster.directory().join("written");
    std::fs::create_dir(&directory).unwrap();
    let node = cluster.node(0).unwrap();
    Victim::new(node, VICTIM, &directory, 1600).await
}

/// A peer whose own agent is lost: with a certificate, and nothing between it and the victim's agent.
async fn past_its_agent(cluster: &Cluster, flags: Flags) -> Peer {
    let shown = insider(cluster).leaf(&spec(EVIL)).unwrap();
    let address = cluster.agent(0).unwrap().link_address().unwrap();
    Peer::past_its_agent(address, &shown, (EVIL, VICTIM), flags).await
}

/// Which of these were done.
async fn happened(cluster: &Cluster, attacks: &[Attack]) -> Vec<String> {
    let mut done = Vec::new();
    let visible: Vec<_> = attacks
        .iter()
        .filter(|attack| !attack.happened.is_empty())
        .collect();
    for some in visible.chunks(40) {
        let all: Vec<_> = some.iter().map(|attack| attack.happened.as_str()).collect();
        let found = cluster
            .node(0)
            .unwrap()
            .eval(&format!("[catch {}]", all.join(", catch ")), PATIENCE)
            .await
            .unwrap();
        let found: Vec<_> = found.trim_matches(['[', ']']).split(',').collect();
        assert_eq!(found.len(), some.len(), "{found:?}");
        for (attack, found) in some.iter().zip(found) {
            if found != "false" {
                done.push(format!("{} ({}): {found}", attack.what, attack.number));
            }
        }
    }
    done
}

/// Says each attack, and what any member may say behind it.
async fn say_all(peer: &mut Peer, attacks: &[Attack], delivery: Delivery) {
    for attack in attacks {
        peer.say(&attack.said, delivery).await;
    }
    let number = 100_000 + attacks[0].number;
    let neighbour = attacks::neighbour(peer, number);
    peer.say(&neighbour, delivery).await;
    let heard = peer.hears(number, &format!("{delivery:?}")).await;
    assert_eq!(heard, Heard::Spawned, "{delivery:?}");
}

/// Everything in every way: each is refused and answered, and none is done; what is harmless goes on.
async fn all_are_refused(cluster: &Cluster, victim: &Victim, mut peer: Peer) {
    let mut told: BTreeMap<&str, u64> = BTreeMap::new();
    let mut first = 0;
    let mut all = Vec::new();
    for delivery in Delivery::all() {
        let attacks = attacks::all(&peer, victim, first);
        first += u32::try_from(attacks.len()).unwrap();
        say_all(&mut peer, &attacks, delivery).await;
        for attack in &attacks {
            *told.entry(attack.action).or_default() += 1;
            let what = format!("{} ({}), {delivery:?}", attack.what, attack.number);
            let refused = match attack.answer {
                Answer::NotSpawned => {
                    peer.hears(attack.number, &what).await == Heard::NotSpawned("eacces".to_owned())
                }
                Answer::Down => {
                    peer.hears(attack.number, &what).await == Heard::Down("eacces".to_owned())
                }
                Answer::Exit(id) => {
                    peer.hears_exit(id, &what).await;
                    true
                }
                Answer::None => peer.has_heard(attack.number).is_empty(),
            };
            assert!(refused, "{what}: {:?}", peer.has_heard(attack.number));
        }
        all.extend(attacks);
    }
    println!("{} messages", all.len());
    // Each has been told, once: what one agent has refused is nothing any more to the other.
    until(PATIENCE, "an event for each", async || {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for host in 0..cluster.host_count() {
            for event in cluster.agent(host).unwrap().events().unwrap() {
                let skans = &event["unmapped"]["skans"];
                if skans["verdict"] == "deny" {
                    let action = skans["action"].as_str().unwrap_or_default().to_owned();
                    *found.entry(action).or_default() +=
                        event["count"].as_u64().unwrap_or_default();
                }
            }
        }
        if found
            .iter()
            .map(|(action, count)| (action.as_str(), *count))
            .eq(told.clone())
        {
            Ok(())
        } else {
            Err(format!("found {found:?}, wanted {told:?}"))
        }
    })
    .await
    .unwrap();
    assert_eq!(happened(cluster, &all).await, Vec::<String>::new());
}

/// Only the agent beside the receiver decides.
pub async fn by_the_agent_beside_the_receiver(erl: Option<&Path>) {
    let cluster = plan(erl).start().await.unwrap();
    let victim = victim(&cluster).await;
    let peer = past_its_agent(&cluster, flags()).await;
    all_are_refused(&cluster, &victim, peer).await;
    cluster.stop().await.unwrap();
}

/// Each of the two refuses what it can tell; only the one beside the receiver knows what a bare pid is called there.
pub async fn by_both_agents(erl: Option<&Path>) {
    let evil = NodePlan::new("evil@n2.lab").not_started();
    let cluster = plan(erl)
        .host(HostPlan::new("n2").node(evil))
        .start()
        .await
        .unwrap();
    let victim = victim(&cluster).await;
    let port = cluster.agent(1).unwrap().epmd_port();
    let _registered = RawNode::register(port, "evil").await;
    let cookie = std::fs::read(cluster.runtime(1).unwrap().join("cookies/evil.cookie")).unwrap();
    let peer = Peer::through_its_agent(port, &cookie, ("evil@n2.lab", VICTIM), flags()).await;
    all_are_refused(&cluster, &victim, peer).await;
    cluster.stop().await.unwrap();
}

/// Whether this ends a node of OTP 29 by itself: a message by op 37 that is neither of priority nor for an alias, in fragments. Version 29.1.2
/// was seen to end with a segmentation fault each time, in two fragments or many, by name and by pid, and never if it was
/// whole; what nodes write by op 37, and exit signals by it, it receives in fragments, too. Agents refuse it under any policy.
fn ends_its_receiver(said: &Said, delivery: Delivery) -> bool {
    let T::Tuple(elements) = &said.control else {
        return false;
    };
    delivery.cut != Cut::No
        && elements[0] == T::Int(37)
        && matches!(elements[1], T::Int(flags) if flags & (PRIORITY | ALIAS | EXIT) == 0)
}

/// What the others say means something: where nobody refuses, all of it is done, but for what ends its receiver.
pub async fn by_nobody(erl: Option<&Path>) {
    let cluster = plan(erl).policy(Policy::open()).start().await.unwrap();
    let victim = victim(&cluster).await;
    let mut peer = past_its_agent(&cluster, flags()).await;
    let mut first = 0;
    for delivery in Delivery::all() {
        let mut attacks = attacks::all(&peer, &victim, first);
        first += u32::try_from(attacks.len()).unwrap();
        attacks.retain(|attack| !attack.happened.is_empty());
        say_all(&mut peer, &attacks, delivery).await;
        let (ending, attacks): (Vec<_>, Vec<_>) = attacks
            .into_iter()
            .partition(|attack| ends_its_receiver(&attack.said, delivery));
        until(PATIENCE, "all of it to be done", async || {
            let done = happened(&cluster, &attacks).await;
            if done.len() == attacks.len() && done.iter().all(|done| done.ends_with("true")) {
                return Ok(());
            }
            let missing: Vec<_> = attacks
                .iter()
                .map(|attack| format!("{} ({}): true", attack.what, attack.number))
                .filter(|name| !done.contains(name))
                .collect();
            Err(format!("{delivery:?}: not done: {missing:?}"))
        })
        .await
        .unwrap();
        for attack in &ending {
            let heard = peer.hears(attack.number, attack.what).await;
            assert_eq!(heard, Heard::Down("eacces".to_owned()), "{delivery:?}");
        }
        assert_eq!(happened(&cluster, &ending).await, Vec::<String>::new());
    }
    cluster.stop().await.unwrap();
}

/// A client of `shop` alone, past its agent, and what the victim's processes have been told.
struct Client {
    cluster: Cluster,
    peer: Peer,
    number: u32,
}

impl Client {
    async fn start(erl: Option<&Path>) -> Self {
        let role = "roles:\n  - role: named-client\n    principals: [{cluster: spiffe://lab.test/cluster/lab}]\n    \
                    on: [{cluster: spiffe://lab.test/cluster/lab}]\n    servers: [shop]\n";
        let plan = plan(erl).policy(Policy::enforced("", role));
        let cluster = plan.start().await.unwrap();
        // Each tells `log` what reaches it; some have names, most have none.
        let setup = "register(log, spawn(fun() -> (fun Loop(All) -> receive {ask, From} -> From ! {told, All}, Loop(All); \
                     What -> Loop([What | All]) end end)([]) end)), \
                     Tell = fun Loop(Name) -> receive What -> log ! {Name, What}, Loop(Name) end end, \
                     register(shop, spawn(fun() -> Tell(shop) end)), register(other, spawn(fun() -> Tell(other) end)), \
                     [spawn(fun() -> Tell(nameless) end) || _ <- lists:seq(1, 50)], ok";
        let node = cluster.node(0).unwrap();
        assert_eq!(node.eval(setup, PATIENCE).await.unwrap(), "ok");
        let mut peer = past_its_agent(&cluster, flags()).await;
        // Names are known to the agent a second later.
        let me = peer.pid();
        let shop = pids(node, VICTIM, "[whereis(shop)]").await.remove(0);
        let known = message(Form::SendSender, &me, shop, T::atom("known"));
        let ask = "begin log ! {ask, self()}, receive {told, All} -> lists:member({shop, known}, All) after 5000 -> silence end end";
        let begin = std::time::Instant::now();
        while node.eval(ask, PATIENCE).await.unwrap() != "true" {
            assert!(begin.elapsed() < PATIENCE, "the agent does not know shop");
            peer.say(&known, Delivery::PLAIN).await;
        }
        Self {
            cluster,
            peer,
            number: 0,
        }
    }

    /// What has been told, once everything said before has arrived.
    async fn told(&mut self) -> String {
        // Signals of one sender to one process stay in order, and this one comes by the same way as all others.
        self.number += 1;
        let me = self.peer.pid();
        let last = T::Int(i32::try_from(self.number).unwrap());
        let said = message(
            Form::RegSend,
            &me,
            T::atom("shop"),
            t![T::atom("last"), last],
        );
        self.peer.say(&said, Delivery::PLAIN).await;
        let node = self.cluster.node(0).unwrap();
        let ask =
            "begin log ! {ask, self()}, receive {told, All} -> All after 5000 -> silence end end";
        let there = format!("lists:member({{shop, {{last, {}}}}}, {ask})", self.number);
        node.wait_for(&there, "true", PATIENCE).await.unwrap();
        let all = format!("[{{N, W}} || {{N, W}} <- lists:reverse({ask}), W =:= guess]");
        node.eval(&all, PATIENCE).await.unwrap()
    }
}

/// Who may send to one name reaches nobody else by guessing pids, and not by those that each set-up hands out.
pub async fn guesses(erl: Option<&Path>) {
    let mut client = Client::start(erl).await;
    let me = client.peer.pid();
    let node = client.cluster.node(0).unwrap();
    // The creation of the node is in every pid that it has ever told.
    let first = pids(node, VICTIM, "[whereis(init)]").await.remove(0);
    let T::Pid(_, init) = &first else {
        unreachable!("{first:?}")
    };
    let written = client.cluster.directory().join("written");
    let file = written.display().to_string();
    for id in 0..400_u32 {
        let mut rest = *init;
        rest[..4].copy_from_slice(&id.to_be_bytes());
        let guess = T::pid(VICTIM, rest);
        // To tell the node one of its own pids, or to take a monitor away, is no way to come by it.
        let told = t![T::atom("look"), guess.clone()];
        let told = message(Form::RegSend, &me, T::atom("shop"), told);
        client.peer.say(&told, Delivery::PLAIN).await;
        let reference = client.peer.reference(8);
        let demonitor = Said {
            control: t![T::Int(20), me.clone(), guess.clone(), reference],
            payload: None,
        };
        client.peer.say(&demonitor, Delivery::PLAIN).await;
        for form in [
            Form::Send,
            Form::SendTraced,
            Form::SendSender,
            Form::SendSenderTraced,
        ] {
            let said = message(form, &me, guess.clone(), T::atom("guess"));
            client.peer.say(&said, Delivery::PLAIN).await;
        }
        // Whichever of them is `rex`, `net_kernel` or `global_name_server`.
        for request in ["block_call", "call", "spawn", "spawn_link"] {
            let arguments = T::List(vec![
                T::Binary(file.clone().into_bytes()),
                T::Binary(vec![1]),
            ]);
            let from = t![me.clone(), client.peer.reference(7)];
            let request = t![
                T::atom(request),
                T::atom("file"),
                T::atom("write_file"),
                arguments,
                me.clone()
            ];
            let said = t![T::atom("$gen_call"), from, request];
            let said = message(Form::SendSender, &me, guess.clone(), said);
            client.peer.say(&said, Delivery::PLAIN).await;
        }
        for (op, payload) in [(26, Some(T::atom("kill"))), (1, None), (7, None)] {
            let control = t![T::Int(op), me.clone(), guess.clone()];
            let said = Said { control, payload };
            client.peer.say(&said, Delivery::PLAIN).await;
        }
    }
    // What may be sent to by its name may be sent to by its pid; all of shop, and nobody else.
    let told = client.told().await;
    assert_eq!(
        told,
        "[{shop,guess},{shop,guess},{shop,guess},{shop,guess}]"
    );
    assert!(!written.exists());
    let node = client.cluster.node(0).unwrap();
    let whole = "length([N || N <- [shop, other, log, rex, init, net_kernel, global_name_server], is_pid(whereis(N))])";
    assert_eq!(node.eval(whole, PATIENCE).await.unwrap(), "7");
    let agent = client.cluster.agent(0).unwrap();
    for action in ["send_pid", "call", "spawn", "exit", "link", "group_leader"] {
        agent
            .wait_event(action, PATIENCE, |event| {
                event["unmapped"]["skans"]["action"] == action && event["action"] == "Denied"
            })
            .await
            .unwrap();
    }
    client.cluster.stop().await.unwrap();
}

/// What the two nodes have not agreed on is refused, also where the policy lets everything through: receivers do it.
pub async fn not_negotiated(erl: Option<&Path>) {
    let cluster = plan(erl).policy(Policy::open()).start().await.unwrap();
    let victim = victim(&cluster).await;
    let flags = flags().without(Flags::SPAWN).without(Flags::ALTACT_SIG);
    let mut peer = past_its_agent(&cluster, flags).await;
    let mut first = 0;
    for delivery in Delivery::all() {
        let mut attacks = attacks::all(&peer, &victim, first);
        first += u32::try_from(attacks.len()).unwrap();
        let altact = attacks::all_by_op_37(&peer, &victim, first);
        first += u32::try_from(altact.len()).unwrap();
        attacks.retain(|attack| matches!(&attack.said.control, T::Tuple(elements) if matches!(elements[0], T::Int(29 | 30))));
        assert!(attacks.len() > 5 && altact.len() > 5);
        attacks.extend(altact);
        for attack in &attacks {
            peer.say(&attack.said, delivery).await;
            let what = format!("{} ({}), {delivery:?}", attack.what, attack.number);
            let wanted = match attack.answer {
                Answer::NotSpawned => Heard::NotSpawned("eacces".to_owned()),
                Answer::Down => Heard::Down("eacces".to_owned()),
                _ => continue,
            };
            assert_eq!(peer.hears(attack.number, &what).await, wanted, "{what}");
        }
        assert_eq!(happened(&cluster, &attacks).await, Vec::<String>::new());
    }
    let agent = cluster.agent(0).unwrap();
    for action in ["call", "cast", "spawn", "exit"] {
        agent
            .wait_event(action, PATIENCE, |event| {
                let skans = &event["unmapped"]["skans"];
                skans["action"] == action
                    && skans["reason"] == "not_negotiated"
                    && skans["verdict"] == "deny"
            })
            .await
            .unwrap();
    }
    cluster.stop().await.unwrap();
}
