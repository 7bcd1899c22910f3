//! What is learned from the traffic of real applications lets them do what they did, restarts and administration included, without one
//! denial, and nothing else: what attacked them meanwhile is not in it, and calls that nobody made are refused.
//!
//! `SKANS_LEARN` and `SKANS_LEARNED` are for how many seconds the application is watched, and then held to it; `script/soak` takes ten minutes and
//! an hour.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_lab::plan::find_skans;
use skans_lab::{Cluster, HostPlan, NodePlan, Plan, until};
use skans_promises::learned::{Learned, dry_run, has_told, tells_of};
use skans_promises::rabbitmq::{Rabbits, attacks, life};
use skans_promises::{PATIENCE, attacks as rows, plan};
use tokio::process::Command;

use crate::plane::Plane;
use crate::root;

/// Everything of a lab.
const MEMBERS: &str = "roles:\n  - {role: member, principals: [{cluster: \"spiffe://lab.test/cluster/lab\"}], on: [{cluster: \"spiffe://lab.test/cluster/lab\"}]}\n";

/// Two nodes of an application such as Phoenix makes, with topics and presences over `pg`, that also call each other's functions.
struct Application {
    cluster: Cluster,
    // The nodes' code, for as long as they run.
    _code: tempfile::TempDir,
}

impl Application {
    async fn start() -> Self {
        let code = tempfile::tempdir().unwrap();
        crate::ready_made_roles::compile(&["topics", "shop"], code.path());
        let mut plan = Plan::new(skans_lab::plan::find_skans().unwrap()).unwrap();
        for number in [1, 2] {
            let path = code.path().display().to_string();
            let node = NodePlan::new(format!("n{number}@n{number}.lab")).args(["-pa", &path]);
            plan = plan.host(HostPlan::new(format!("n{number}")).node(node));
        }
        let cluster = plan.policy(dry_run(MEMBERS)).start().await.unwrap();
        Self {
            cluster,
            _code: code,
        }
    }

    async fn eval(&self, node: usize, expression: &str) -> String {
        let expression = expression
            .replace("{N}", &self.cluster.atom(1 - node).unwrap())
            .replace("{ME}", &self.cluster.atom(node).unwrap());
        let found = self
            .cluster
            .node(node)
            .unwrap()
            .eval(&expression, PATIENCE)
            .await;
        found.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn starts(&self, node: usize) {
        assert_eq!(self.eval(node, "topics:start()").await, "ok");
        assert_eq!(self.eval(node, "shop:start()").await, "ok");
        let somebody = "register(somebody, spawn(fun() -> topics:subscribe(<<\"news\">>), topics:track(node(), #{}), \
             receive never -> ok end end))";
        assert_eq!(self.eval(node, somebody).await, "true");
    }

    /// Everything that it does.
    async fn lives(&self) {
        for node in [0, 1] {
            let there = "lists:sort(topics:present()) =:= lists:sort([{ME}, {N}])";
            let there = there
                .replace("{N}", &self.cluster.atom(1 - node).unwrap())
                .replace("{ME}", &self.cluster.atom(node).unwrap());
            let there = self
                .cluster
                .node(node)
                .unwrap()
                .wait_until(&there, PATIENCE)
                .await;
            if let Err(error) = there {
                panic!("{error}\n{}", self.refused().join("\n"));
            }
            for said in [
                "topics:broadcast(<<\"news\">>, {news, self()})",
                "[begin {P, R} = spawn_monitor(fun() -> topics:broadcast(<<\"news\">>, N) end), \
                  receive {'DOWN', R, process, P, normal} -> ok end end || N <- lists:seq(1, 20)], ok",
                "topics:direct_broadcast({N}, <<\"news\">>, for_you)",
            ] {
                assert_eq!(self.eval(node, said).await, "ok");
            }
            let level = self
                .eval(node, "catch erpc:call({N}, shop, level, [apples])")
                .await;
            assert!(
                !level.contains("eacces"),
                "{level}\n{}",
                self.refused().join("\n")
            );
            let by_name = self
                .eval(
                    node,
                    "catch gen_server:call({shop_stock, {N}}, {level, pears})",
                )
                .await;
            assert!(
                !by_name.contains("eacces"),
                "{by_name}\n{}",
                self.refused().join("\n")
            );
            assert_eq!(self.eval(node, "net_adm:ping({N})").await, "pong");
        }
    }

    /// The same again and again, for as many seconds as the environment says.
    async fn lives_for(&self, variable: &str) {
        let seconds = std::env::var(variable).map_or(0, |text| text.parse().unwrap());
        let (began, mut times) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(seconds) {
            self.lives().await;
            times += 1;
        }
        if seconds > 0 {
            println!("soak: {variable}: an application lived {times} times in {seconds} s");
        }
    }

    async fn restarts(&mut self, node: usize) {
        self.cluster.kill_node(node).await.unwrap();
        self.cluster.start_node(node).await.unwrap();
        self.cluster.connect(PATIENCE).await.unwrap();
        self.starts(node).await;
    }

    /// What agents have refused, not what they would have.
    fn refused(&self) -> Vec<String> {
        let mut all = Vec::new();
        for host in self.cluster.running_agents() {
            let events = self.cluster.agent(host).unwrap().events().unwrap();
            let denied = events.iter().filter(|event| event["action"] == "Denied");
            all.extend(denied.map(|event| event["unmapped"].to_string()));
        }
        all
    }

    /// The same by counters, on which nothing gets lost.
    async fn counted(&self) -> Vec<String> {
        let mut all = Vec::new();
        for host in self.cluster.running_agents() {
            let counted = rows::denials(self.cluster.agent(host).unwrap())
                .await
                .unwrap();
            all.extend(
                counted
                    .into_iter()
                    .filter(|line| line.contains("verdict=\"deny\"") && !line.ends_with(" 0")),
            );
        }
        all
    }
}

#[tokio::test]
async fn an_application_goes_on_under_what_was_learned_of_it_and_nothing_else_does() {
    let mut application = Application::start().await;
    for node in [0, 1] {
        application.starts(node).await;
    }
    application.lives().await;
    application.restarts(1).await;
    application.lives().await;
    application.lives_for("SKANS_LEARN").await;
    // Somebody has the one node, and tries the other, again and again.
    for _ in 0..3 {
        for attack in [
            "catch erpc:call({N}, os, cmd, [\"true\"])",
            "catch erpc:call({N}, code, load_binary, [evil, \"evil\", <<1>>])",
            "catch gen_server:call({file_server_2, {N}}, {read_file, \"/etc/passwd\"})",
            "catch erpc:call({N}, fun() -> ok end)",
            "catch exit(erpc:call({N}, erlang, whereis, [shop_stock]), attacked)",
        ] {
            application.eval(0, attack).await;
        }
    }
    application.restarts(1).await;
    // And once, what no other does.
    application
        .eval(0, "begin {the_last_thing, {N}} ! x, sent end")
        .await;
    for host in [0, 1] {
        has_told(application.cluster.agent(host).unwrap(), "the_last_thing")
            .await
            .unwrap();
    }
    let agents = [0, 1].map(|host| application.cluster.agent(host).unwrap());
    let learned = Learned::of(agents).await.unwrap();
    let cedar = learned.text("learned.cedar").unwrap();
    println!(
        "{}\n{cedar}\n{}",
        learned.text("set.yaml").unwrap(),
        learned.text("LEFT-OUT.md").unwrap()
    );
    for (why, words) in [
        ("owns-the-node", "call os:cmd/1"),
        ("owns-the-node", "call code:load_binary/3"),
        ("owns-the-node", "access_files file_server_2"),
        ("attack", "exit"),
        ("once", "the_last_thing"),
    ] {
        assert!(
            learned.left_out(why, words),
            "{why} {words}: {:#}",
            learned.said
        );
    }
    application
        .cluster
        .put_policy(&learned.enforced().unwrap())
        .await
        .unwrap();
    application.lives().await;
    for node in [0, 1] {
        application.restarts(node).await;
        application.lives().await;
    }
    application.lives_for("SKANS_LEARNED").await;
    assert_eq!(application.refused(), Vec::<String>::new(), "{cedar}");
    assert_eq!(application.counted().await, Vec::<String>::new(), "{cedar}");
    for attack in [
        "catch erpc:call({N}, os, cmd, [\"true\"])",
        "catch erpc:call({N}, code, load_binary, [evil, \"evil\", <<1>>])",
        "catch gen_server:call({file_server_2, {N}}, {read_file, \"/etc/passwd\"})",
        "catch erpc:call({N}, fun() -> ok end)",
    ] {
        let answer = application.eval(0, attack).await;
        assert!(answer.contains("eacces"), "{attack}: {answer}");
    }
    // Whatever is exported over there, and what is not.
    let random = "Modules = [M || {M, _} <- code:all_loaded()], \
         All = [{M, F, A} || M <- Modules, {F, A} <- M:module_info(exports), A < 4], \
         Some = [lists:nth(rand:uniform(length(All)), All) || _ <- lists:seq(1, 300)], \
         Made = [{made, list_to_atom([$f | integer_to_list(N)]), 0} || N <- lists:seq(1, 100)], \
         length([x || {M, F, A} <- Some ++ Made, {M, F} =/= {shop, level}, {M, F} =/= {erlang, whereis}, \
           case catch erpc:call({N}, M, F, lists:duplicate(A, x), 5000) of {'EXIT', {{erpc, eacces}, _}} -> false; \
           {'EXIT', {{exception, eacces, _}, _}} -> false; Other -> string:find(io_lib:format(\"~p\", [Other]), \"eacces\") =:= nomatch end])";
    assert_eq!(application.eval(0, random).await, "0");
    assert_eq!(
        application.eval(1, "is_pid(whereis(shop_stock))").await,
        "true"
    );
    application.cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_log_of_a_control_plane_is_learned_from_as_well() {
    let plane = Plane::start(&json!({})).await;
    let watch = json!({"events": {"observe": true}});
    let (first, second) = (
        plane.host("n1", &watch).await,
        plane.host("n2", &watch).await,
    );
    let cluster = plan().host(first).host(second).start().await.unwrap();
    for (node, other) in [(0, "n2@n2.lab"), (1, "n1@n1.lab")] {
        let asked = format!("catch erpc:call('{other}', shop, level, [apples]), ok");
        let node = cluster.node(node).unwrap();
        assert_eq!(node.eval(&asked, PATIENCE).await.unwrap(), "ok");
    }
    until(PATIENCE, "both agents to have told of it", async || {
        let path = "/v1/audit/events?kind=agent.seen&limit=1000";
        let page: Value = (plane.owner().get(path).await).map_err(|error| error.to_string())?;
        let seen = page["items"].as_array().unwrap().iter();
        let asked = seen.filter(|one| tells_of(&one["body"], "shop"));
        let by: BTreeSet<_> = asked
            .map(|one| one["body"]["metadata"]["reporter"].to_string())
            .collect();
        if by.len() == 2 {
            Ok(())
        } else {
            Err(format!("{by:?}"))
        }
    })
    .await
    .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("learned");
    let piped = format!(
        "{0} audit tail --after 0 --no-follow --socket {1} | {0} policy learn --events - --out {2}",
        find_skans().unwrap().display(),
        plane.socket().display(),
        out.display()
    );
    let done = Command::new("sh")
        .args(["-c", &piped])
        .output()
        .await
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let cedar = std::fs::read_to_string(out.join("learned.cedar")).unwrap();
    assert!(cedar.contains("shop:level/1"), "{cedar}");
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "three RabbitMQ nodes, twice through all that they do: more than five minutes; script/soak runs it"]
async fn rabbits_go_on_under_what_was_learned_of_them_and_do_not_own_each_other() {
    if !root::or_skip("RabbitMQ on three hosts") {
        return;
    }
    let mut rabbits = Rabbits::start_watched(&["host-1", "host-2", "host-3"])
        .await
        .unwrap();
    rabbits.join_first(1).await.unwrap();
    rabbits.join_first(2).await.unwrap();
    life::round(&mut rabbits).await.unwrap();
    for _ in 0..2 {
        rabbits
            .eval(
                0,
                "rpc:call(list_to_atom(\"rabbit@host-2\"), os, cmd, [\"true\"])",
            )
            .await
            .unwrap();
    }
    rabbits
        .eval(
            0,
            "erlang:send({the_last_thing, list_to_atom(\"rabbit@host-2\")}, x)",
        )
        .await
        .unwrap();
    for host in [0, 1] {
        has_told(rabbits.hosts().agent(host), "the_last_thing")
            .await
            .unwrap();
    }
    let learned = Learned::of(rabbits.hosts().agents()).await.unwrap();
    let (set, cedar) = (
        learned.text("set.yaml").unwrap(),
        learned.text("learned.cedar").unwrap(),
    );
    println!("{set}\n{cedar}\n{}", learned.text("LEFT-OUT.md").unwrap());
    assert!(
        learned.left_out("owns-the-node", "call os:cmd/1"),
        "{:#}",
        learned.said
    );
    for role in ["rabbitmq-peer", "cli-tool"] {
        assert!(set.contains(&format!("role: {role}")), "{set}");
    }
    rabbits
        .put_policy(&learned.enforced().unwrap())
        .await
        .unwrap();
    let lived = life::round(&mut rabbits).await;
    // First: it is why something failed, if it did.
    assert_eq!(
        rabbits.refused().await.unwrap(),
        Vec::<String>::new(),
        "{lived:?}\n{set}\n{cedar}"
    );
    lived.unwrap();
    attacks::all_are_refused(&rabbits, 0, 1).await.unwrap();
    let told: Vec<Value> = rabbits.hosts().agent(0).events().unwrap();
    assert!(told.iter().any(|event| event["action"] == "Denied"));
}
