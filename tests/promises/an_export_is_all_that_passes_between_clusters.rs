//! Two clusters of two trust domains, whose nodes bear the same names: what one exports and the other imports is called by name, and
//! nothing else passes, whatever policies permit.

use serde_json::json;
use skans_lab::Policy;
use skans_promises::PATIENCE;

use crate::clusters::{NODE, Says, Side};
use crate::netns::Network;
use crate::root;

/// What a careless author permits.
const OPEN: &str = r#"@id("all") permit(principal, action, resource);
@id("rex") permit(principal, action, resource == Skans::Process::"rex");
@id("kernel") permit(principal, action, resource == Skans::Process::"net_kernel");
@id("cmd") permit(principal, action, resource == Skans::Function::"os:cmd/1");
"#;

const SERVER: &str = r#"
Loop = fun Loop() ->
    receive
        {'$gen_call', From, {who, Words}} ->
            gen_server:reply(From, {node(), node(element(1, From)), Words, self()}),
            Loop();
        {'$gen_call', _, crash} -> exit(crashed);
        stop -> ok
    end
end,
register(order_server, spawn(Loop)), register(secret, spawn(Loop)), ok
"#;

/// A network, and two clusters in it that are linked: ours imports what theirs exports.
async fn linked() -> (Network, Side, Side) {
    let network = Network::new(4, false);
    let ours = Side::start(&network, "ours", &[0, 1], &[2]).await;
    let theirs = Side::start(&network, "theirs", &[3, 2], &[1]).await;
    link(&ours, &theirs).await;
    theirs.node.eval(SERVER, PATIENCE).await.unwrap();
    (network, ours, theirs)
}

async fn link(ours: &Side, theirs: &Side) {
    let item = |node: &str| json!({"node": node, "process": "order_server"});
    let mut import = item(NODE);
    import["alias"] = json!("stock@theirs");
    let says = Says {
        imports: vec![import],
        ..Says::default()
    };
    ours.link(theirs, Policy::enforced(OPEN, ""), &says).await;
    let says = Says {
        exports: vec![item(NODE)],
        ..Says::default()
    };
    theirs.link(ours, Policy::enforced(OPEN, ""), &says).await;
}

#[tokio::test]
async fn one_exported_server_is_called_by_its_alias() {
    if !root::or_skip("two linked clusters") {
        return;
    }
    let (_network, ours, theirs) = linked().await;
    let call = "element(1, gen_server:call({order_server, 'stock@theirs'}, {who, 7}))";
    let called = ours.node.wait_for(call, "'stock@theirs'", PATIENCE);
    let called = called.await;
    if called.is_err() {
        for process in ours.gateways.iter().chain(&theirs.gateways).chain([&ours.agent, &theirs.agent]) {
            eprintln!("--- {}", process.label());
            for line in process.log_since(0).unwrap() { eprintln!("{line}"); }
        }
    }
    called.unwrap();
    let all = "{There, Caller, Words, Pid} = gen_server:call({order_server, 'stock@theirs'}, {who, [orders, node()]}),
               {There, Caller, Words, node(Pid)}";
    // Over there it is they who are called so, and we are another; here each name means what it means here.
    assert_eq!(
        ours.node.eval(all, PATIENCE).await.unwrap(),
        "{'stock@theirs','orders@host-a',[orders,'orders@host-a'],'stock@theirs'}"
    );
    drop(theirs);
}
