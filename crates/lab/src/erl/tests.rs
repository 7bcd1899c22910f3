//! The driver against a real node, without distribution.

use super::*;

const SOON: Duration = Duration::from_secs(20);

async fn node(home: &tempfile::TempDir) -> ErlNode {
    ErlNode::start(&Options {
        label: "test".to_owned(),
        erl: find().unwrap(),
        home: home.path().to_owned(),
        args: Vec::new(),
        env: Vec::new(),
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn evaluates_what_is_hard_to_quote() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home).await;
    assert_eq!(
        node.eval("[\"a'b\\\"c\\n\", $\\s,\n 'x y', <<\"é☃\"/utf8>>]", SOON)
            .await
            .unwrap(),
        "[\"a'b\\\"c\\n\",32,'x y',<<195,169,226,152,131>>]"
    );
    assert_eq!(
        node.eval("A = 1, B = A + 1, {A, B}.", SOON).await.unwrap(),
        "{1,2}"
    );
}

#[tokio::test]
async fn tells_exceptions_and_syntax_errors() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home).await;
    let raised = node
        .eval("error(here)", SOON)
        .await
        .unwrap_err()
        .to_string();
    assert!(raised.contains("{error,here}"), "{raised}");
    let syntax = node.eval("foo(", SOON).await.unwrap_err().to_string();
    assert!(syntax.contains("erl_parse"), "{syntax}");
}

#[tokio::test]
async fn an_expression_that_hangs_holds_up_nothing() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home).await;
    let hung = node
        .eval("timer:sleep(infinity)", Duration::from_millis(100))
        .await;
    assert!(matches!(hung, Err(Error::TimedOut { .. })), "{hung:?}");
    let (slow, quick) = tokio::join!(
        node.eval("register(me, self()), receive go -> went end", SOON),
        node.wait_until("is_pid(whereis(me)) andalso go =:= (me ! go)", SOON)
    );
    assert_eq!(slow.unwrap(), "went");
    quick.unwrap();
}

#[tokio::test]
async fn waiting_tells_the_last_value() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home).await;
    node.wait_until("put(x, 1), undefined =/= whereis(init)", SOON)
        .await
        .unwrap();
    let never = node
        .wait_until("{not_yet, 7}", Duration::from_millis(200))
        .await
        .unwrap_err()
        .to_string();
    assert!(never.contains("{not_yet,7}"), "{never}");
}

#[tokio::test]
async fn what_it_says_besides_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home).await;
    node.eval(
        "io:format(user, \"plain~nno newline\", []), io:format(standard_error, \"bad~n\", [])",
        SOON,
    )
    .await
    .unwrap();
    crate::until(SOON, "output", async || {
        let said = node.said();
        if said.contains("plain") && said.contains("no newline") && said.contains("bad") {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn ends_with_its_value_its_input_or_a_signal() {
    let home = tempfile::tempdir().unwrap();
    let alive = |pid: u32| std::path::Path::new(&format!("/proc/{pid}/cmdline")).exists();
    let gone = async |pid| {
        crate::until(SOON, "the node to be gone", async || {
            if alive(pid) {
                Err(pid.to_string())
            } else {
                Ok(())
            }
        })
        .await
        .unwrap()
    };
    let (first, second, third) = (node(&home).await, node(&home).await, node(&home).await);
    let pids = [first.pid(), second.pid(), third.pid()];
    assert!(pids.into_iter().all(alive));
    first.halt(SOON).await.unwrap();
    gone(pids[0]).await;
    second.stop(SOON).await.unwrap();
    gone(pids[1]).await;
    drop(third);
    gone(pids[2]).await;
}

#[tokio::test]
async fn a_node_that_does_not_boot_says_why() {
    let home = tempfile::tempdir().unwrap();
    let error = ErlNode::start(&Options {
        label: "broken".to_owned(),
        erl: find().unwrap(),
        home: home.path().to_owned(),
        args: vec!["-boot".to_owned(), "no_such_boot_file".to_owned()],
        env: Vec::new(),
    })
    .await
    .unwrap_err()
    .to_string();
    assert!(error.contains("no_such_boot_file"), "{error}");
    assert_eq!(
        std::fs::read_dir(home.path()).unwrap().count(),
        0,
        "it left a file behind"
    );
}

#[test]
fn base64_of_the_rfc() {
    for (plain, encoded) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64(plain.as_bytes()), encoded);
    }
}

#[test]
fn atoms_are_quoted() {
    assert_eq!(atom("n1@n1.lab"), "'n1@n1.lab'");
    assert_eq!(atom("it's\\"), "'it\\'s\\\\'");
}
