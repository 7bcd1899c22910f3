use super::*;
use crate::engine::tests::engine;

const SET: &str = r#"@id("stock") permit (principal in Skans::Workload::"spiffe://prod.example/cluster/shop/ns/web/sa/cart",
  action in [Skans::Action::"call", Skans::Action::"connect"], resource in Skans::Workload::"spiffe://prod.example/cluster/shop/ns/web/sa/stock");"#;

const TESTS: &str = "
nodes:
  cart: spiffe://prod.example/cluster/shop/ns/web/sa/cart/node/cart@host-a
  stock: spiffe://prod.example/cluster/shop/ns/web/sa/stock/node/stock@2001:db8::1
tests:
  - {from: cart, to: stock, action: call, function: 'shop_stock:level/1', expect: permit}
  - {from: cart, to: stock, action: call, function: 'os:cmd/1', expect: deny}
  - {from: stock, to: cart, action: call, function: 'shop_stock:level/1', expect: deny}
  - {from: cart, to: stock, action: connect, expect: permit}
  - {from: cart, to: stock, action: send, process: rex, carriesFunction: true, expect: permit}
";

fn ran(text: &str) -> Result<Report, Problems> {
    run(
        &engine(SET),
        &File {
            name: "tests/stock.yaml".into(),
            text: text.into(),
        },
    )
}

#[test]
fn a_test_that_does_not_come_out_as_expected_is_told() {
    let report = ran(TESTS).unwrap();
    assert_eq!(report.outcomes.len(), 5);
    let failed: Vec<_> = report
        .failures()
        .map(|outcome| outcome.test.clone())
        .collect();
    let rex = "spiffe://prod.example/cluster/shop/ns/web/sa/cart/node/cart@host-a send rex at spiffe://prod.example/cluster/shop/ns/web/sa/stock/node/stock@2001:db8::1";
    assert_eq!(failed, [rex]);
}

#[test]
fn what_cannot_be_asked_is_told_with_what_would_be_right() {
    for (found, wanted, says) in [
        (
            "action: connect",
            "action: conect",
            "tests[3].action: \"conect\"; wanted perhaps \"connect\"",
        ),
        (
            "from: stock",
            "from: stack",
            "tests[2].from: \"stack\"; wanted a node: spiffe://",
        ),
        (
            "'os:cmd/1'",
            "'os:cmd'",
            "tests[1].function: \"os:cmd\"; wanted module:function/arity",
        ),
        (
            "process: rex,",
            "process: rex, function: 'a:b/1',",
            "tests[4].two of process, function and service; wanted one of them",
        ),
        (
            ", expect: deny}\n  - {from: stock",
            "}\n  - {from: stock",
            "tests[1].expect: nothing; wanted permit or deny",
        ),
    ] {
        let text = TESTS.replacen(found, wanted, 1);
        assert_ne!(text, TESTS);
        let problems = ran(&text).unwrap_err().to_string();
        assert!(problems.contains(says), "{problems}");
    }
    let problems = ran("tests: [{from: a, to: b, acton: call, expect: deny}]").unwrap_err();
    assert_eq!(problems.as_slice()[0].line, 1, "{problems}");
}
