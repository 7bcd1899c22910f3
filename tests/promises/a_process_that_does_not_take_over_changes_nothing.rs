//! A process that is to take an agent's place and cannot, dies on the way, or says nothing more, leaves the old one serving, and no
//! node notices.

use serde_json::Value;
use skans_agent::admin::ask;
use skans_handover::{Ask, HEADER, Header, Kind, Message};
use skans_lab::{Cluster, until};
use skans_promises::talk::Talk;
use skans_promises::{PATIENCE, cluster};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::between::Between;
use crate::root;

/// Something that says what a new process says, up to where the test wants it. Sockets that come are closed.
struct Successor(UnixStream);

impl Successor {
    async fn of(cluster: &Cluster, host: usize) -> Self {
        let path = cluster.runtime(host).unwrap().join("handover.sock");
        Self(UnixStream::connect(path).await.unwrap())
    }

    async fn say(&mut self, message: &Message) {
        let (head, bytes) = message.encode(0).unwrap();
        self.0.write_all(&head).await.unwrap();
        self.0.write_all(&bytes).await.unwrap();
    }

    async fn ask(&mut self, min: u16, max: u16) {
        let release = "test".to_owned();
        self.say(&Message::Ask(Ask { min, max, release })).await;
    }

    async fn hear(&mut self) -> Message {
        let read = async {
            let mut head = [0; HEADER];
            self.0.read_exact(&mut head).await.unwrap();
            let header = Header::decode(head).unwrap();
            let (mut text, mut bytes) = (vec![0; header.text], vec![0; header.bytes]);
            self.0.read_exact(&mut text).await.unwrap();
            self.0.read_exact(&mut bytes).await.unwrap();
            Message::decode(&header, &text, &bytes).unwrap()
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap()
    }

    /// Everything but the last word.
    async fn hear_all(&mut self) {
        while !matches!(self.hear().await, Message::Done(_)) {}
    }
}

/// How often somebody wanted to take over, and how that ended.
async fn count(cluster: &Cluster, result: &str) -> u64 {
    let socket = &cluster.agent(0).unwrap().files().socket;
    let metrics = ask(socket, "GET", "/metrics", "").await.unwrap();
    let name = format!("skans_handovers_total{{result=\"{result}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
    value
        .unwrap_or_else(|| panic!("no {name} in {metrics}"))
        .parse()
        .unwrap()
}

async fn resumed(cluster: &Cluster) -> u64 {
    let links = cluster.agent(0).unwrap().links().await.unwrap();
    links.iter().map(|link| link.resumed).sum()
}

#[tokio::test]
async fn who_dies_or_falls_silent_at_any_step_leaves_the_old_one_serving() {
    let cluster = cluster(2).await;
    cluster.connect(PATIENCE).await.unwrap();
    let talk = Talk::begin(&cluster, [0, 1]).await;
    for step in 0..6 {
        let mut successor = Successor::of(&cluster, 0).await;
        if step > 0 {
            successor.ask(1, 1).await;
        }
        if step > 1 {
            assert!(matches!(successor.hear().await, Message::Doors(_)));
            // Nothing stands still yet.
            talk.goes_on(&cluster).await;
        }
        if step > 2 {
            successor.say(&Message::Ready).await;
        }
        if step == 3 {
            successor.hear().await;
        }
        if step > 3 {
            successor.hear_all().await;
        }
        if step == 5 {
            // It has everything, and says nothing: the old one does not wait for ever.
            let said = successor.hear().await;
            assert!(matches!(said, Message::Refused(_)), "{said:?}");
        }
        drop(successor);
        talk.goes_on(&cluster).await;
    }
    talk.end(&cluster).await;
    assert_eq!(count(&cluster, "ok").await, 0);
    assert_eq!(count(&cluster, "refused").await, 3);
    assert_eq!(count(&cluster, "failed").await, 3);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn one_that_cannot_start_says_why_and_nothing_stands_still() {
    let cluster = cluster(2).await;
    cluster.connect(PATIENCE).await.unwrap();
    let agent = cluster.agent(0).unwrap();
    let file = &agent.files().config;
    let good = std::fs::read_to_string(file).unwrap();
    // Found out when the doors of the old one are there already.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut unfit: Value = serde_json::from_str(&good).unwrap();
    unfit["admin"]["listen"] = taken.local_addr().unwrap().to_string().into();
    let unfit = unfit.to_string();
    for (text, wanted) in [("nodes: 7", "nodes"), (&unfit, "admin.listen")] {
        std::fs::write(file, text).unwrap();
        let failed = agent.successor().unwrap().ready().await;
        let error = failed.unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
        std::fs::write(file, &good).unwrap();
        assert_eq!(
            resumed(&cluster).await,
            0,
            "no link has lost its connection"
        );
    }
    let ping = "net_adm:ping('n2@n2.lab')";
    let n1 = cluster.node(0).unwrap();
    assert_eq!(n1.eval(ping, PATIENCE).await.unwrap(), "pong");
    assert_eq!(count(&cluster, "refused").await, 1, "the other never asked");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn two_releases_without_a_format_in_common_are_told_so() {
    let cluster = cluster(2).await;
    cluster.connect(PATIENCE).await.unwrap();
    let mut successor = Successor::of(&cluster, 0).await;
    successor.ask(700, 701).await;
    let Message::Refused(refused) = successor.hear().await else {
        panic!("wanted a refusal");
    };
    assert!(
        refused.why.contains("knows formats 700 to 701")
            && refused.why.contains("restart the agent instead"),
        "{}",
        refused.why
    );
    assert_eq!(resumed(&cluster).await, 0);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn nobody_but_its_own_user_reaches_the_socket() {
    use std::os::unix::fs::PermissionsExt;
    let mut cluster = cluster(1).await;
    for _ in 0..2 {
        let path = cluster.runtime(0).unwrap().join("handover.sock");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        cluster.replace_agent(0).await.unwrap();
    }
    cluster.stop().await.unwrap();
}

/// A process that is killed at a word, and what is left of the agent.
async fn killed_at(cluster: &Cluster, last: Kind) {
    let path = cluster.runtime(0).unwrap().join("handover.sock");
    let between = Between::at(&path);
    let successor = cluster.agent(0).unwrap().successor().unwrap();
    let killing = tokio::task::spawn_blocking(move || between.kill_at(last));
    tokio::time::timeout(PATIENCE, killing)
        .await
        .unwrap()
        .unwrap();
    let error = successor.ready().await.unwrap_err().to_string();
    assert!(error.contains("signal: 9"), "{error}");
}

#[tokio::test]
async fn a_process_that_is_killed_before_it_has_it_leaves_the_old_one_serving() {
    let mut cluster = cluster(2).await;
    cluster.connect(PATIENCE).await.unwrap();
    let talk = Talk::begin(&cluster, [0, 1]).await;
    // It could have started; it hears of a link; it has everything, and its word for that is lost with it.
    for last in [Kind::Ready, Kind::Link, Kind::Taken] {
        killed_at(&cluster, last).await;
        talk.goes_on(&cluster).await;
    }
    assert_eq!(count(&cluster, "refused").await, 1);
    assert_eq!(count(&cluster, "failed").await, 2);
    // Nothing of that is in the way of one that does take over.
    cluster.replace_agent(0).await.unwrap();
    talk.goes_on(&cluster).await;
    talk.end(&cluster).await;
    cluster.stop().await.unwrap();
}

/// Never two: what the old one has let go is nobody's then, and comes back as after any agent that was killed.
#[tokio::test]
async fn a_process_that_is_killed_once_it_has_it_is_a_killed_agent() {
    let mut cluster = cluster(2).await;
    cluster.connect(PATIENCE).await.unwrap();
    killed_at(&cluster, Kind::Go).await;
    // By itself, and in order.
    let old = cluster.take_agent(0).unwrap();
    old.gone(PATIENCE).await.unwrap();
    let n2 = cluster.node(1).unwrap();
    n2.wait_for("nodes()", "[]", PATIENCE).await.unwrap();
    cluster.start_agent(0).await.unwrap();
    let agent = cluster.agent(0).unwrap();
    until(PATIENCE, "the node to register again", async || match agent
        .nodes()
        .await
        .map_err(|error| error.to_string())?
        .as_slice()
    {
        [_] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    cluster.connect(PATIENCE).await.unwrap();
    cluster.stop().await.unwrap();
}

/// Nor does it where the mode of the socket does not keep it away: the kernel says who asks.
#[tokio::test]
async fn a_process_of_another_user_is_told_nothing() {
    use std::os::unix::fs::PermissionsExt;
    if !root::or_skip("to be another user") {
        return;
    }
    let cluster = cluster(2).await;
    cluster.connect(PATIENCE).await.unwrap();
    let path = cluster.runtime(0).unwrap().join("handover.sock");
    let release = "test".to_owned();
    let (head, bytes) = Message::Ask(Ask {
        min: 1,
        max: 2,
        release,
    })
    .encode(0)
    .unwrap();
    assert!(bytes.is_empty());
    let hex: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
    // Connected, asked, and how much was heard.
    let script = "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); \
        connect(S, sockaddr_un($ARGV[0])) or do { print 'none'; exit }; $SIG{PIPE} = 'IGNORE'; \
        syswrite(S, pack('H*', $ARGV[1])); print sysread(S, $heard, 12) || 'nothing'";
    let said = async |mut perl: tokio::process::Command| {
        let run = perl.args(["-e", script]).arg(&path).arg(&hex).output();
        let output = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut directory = path.parent().unwrap();
    while directory.starts_with(cluster.directory()) {
        std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
        directory = directory.parent().unwrap();
    }
    assert_eq!(said(root::as_nobody("perl")).await, "none", "by its mode");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let mark = cluster.agent(0).unwrap().log_mark();
    assert_eq!(said(root::as_nobody("perl")).await, "nothing");
    let line = cluster
        .agent(0)
        .unwrap()
        .wait_log(mark, "the stranger", PATIENCE, |line| {
            line["reason"] == "local_stranger"
        })
        .await
        .unwrap();
    let wanted = format!("user {}", root::NOBODY);
    assert!(
        line["message"].as_str().unwrap().contains(&wanted),
        "{line}"
    );
    assert_eq!(count(&cluster, "refused").await, 1);
    // The same words of its own user are answered.
    assert_eq!(said(tokio::process::Command::new("perl")).await, "12");
    assert_eq!(resumed(&cluster).await, 0, "nothing has stood still");
    cluster.stop().await.unwrap();
}
