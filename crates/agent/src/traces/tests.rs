//! What is told, read by somebody else's code; that it is bounded; and that no collector can do harm.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{self as theirs, span::SpanKind, status::StatusCode};
use prost::Message as _;
use skans_dist::control::Op;
use skans_policy::{Action, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::follow::Subject;
use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::enforce::Reason;
use crate::enforce::testing::link_between;
use crate::registry::{Direction, Registered};
use skans_otlp::Otlp;

const SESSION: [u8; 16] = [0xab; 16];
const SECOND: u64 = 1_000_000_000;

fn link() -> Registered {
    let link = link_between("b@here", "a@here");
    link.begin(SESSION);
    link
}

fn read(span: &Span) -> theirs::Span {
    theirs::Span::decode(span.encode_to_vec().as_slice()).unwrap()
}

fn text(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|one| one.key == key);
    let value = found.unwrap_or_else(|| panic!("{key} in {attributes:?}"));
    match value.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(truth) => truth.to_string(),
        other => panic!("{other:?}"),
    }
}

fn follow(link: &Registered, now: u64) -> Followed {
    Followed::new(Subject::Link(Arc::clone(link.link())), now, (1, 7), SECOND)
}

fn names(span: &theirs::Span) -> Vec<&str> {
    span.events
        .iter()
        .map(|event| event.name.as_str())
        .collect()
}

#[test]
fn both_ends_of_a_link_stand_in_one_trace_without_a_word() {
    // These are what other releases know the two spans by (docs/decisions/0021).
    let hex = |id: [u8; 8]| {
        id.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(
        hex(span::set_up(&SESSION, Direction::Outbound)),
        "76e2546a700cbf4d"
    );
    assert_eq!(
        hex(span::set_up(&SESSION, Direction::Inbound)),
        "ba7814796887d3f6"
    );
    let link = link();
    link.steps.pass_at(Step::Began, 5 * SECOND);
    link.steps.pass_at(Step::Decided, 7 * SECOND);
    link.steps.pass_at(Step::Greeted, 6 * SECOND);
    let span = read(&link::set_up(&link, (3, 9), 8 * SECOND));
    assert_eq!(span.trace_id, SESSION);
    assert_eq!(span.span_id, span::set_up(&SESSION, Direction::Inbound));
    assert_eq!(
        span.parent_span_id,
        span::set_up(&SESSION, Direction::Outbound)
    );
    assert_eq!(
        (span.name.as_str(), span.kind()),
        ("accept", SpanKind::Server)
    );
    assert_eq!(
        (span.start_time_unix_nano, span.end_time_unix_nano),
        (5 * SECOND, 8 * SECOND)
    );
    assert_eq!(names(&span), ["greeted", "decided", "ready"]);
    for (key, value) in [
        (
            "skans.local.id",
            "spiffe://test/cluster/c/ns/default/sa/w/node/a",
        ),
        ("skans.local.node", "b@here"),
        ("skans.peer.node", "a@here"),
        ("skans.policy.version", "3.9"),
        ("skans.across", "false"),
        ("skans.direction", "inbound"),
    ] {
        assert_eq!(text(&span.attributes, key), value, "{key}");
    }
    assert!(span.status.is_none());
}

#[test]
fn each_part_tells_what_came_since_the_one_before() {
    let link = link();
    let mut followed = follow(&link, 0);
    let pause = || 10 * SECOND;
    // A link that rests: nothing is told but ticks, which are none.
    link.traffic.sent.tick();
    link.traffic.sent.bytes(4);
    assert!(followed.look(2 * SECOND, (1, 7), pause).is_none());
    link.traffic.sent.bytes(100);
    link.traffic.sent.message(Op::Send);
    assert!(
        followed.look(11 * SECOND, (1, 7), pause).is_none(),
        "not due"
    );
    let first = read(&followed.look(13 * SECOND, (1, 7), pause).unwrap());
    link.traffic.received.bytes(7);
    link.traffic.received.message(Op::Send);
    let last = read(
        &followed
            .tell(15 * SECOND, Some(("link_lost", true)))
            .unwrap(),
    );
    for (span, times, status, numbers) in [
        (
            &first,
            (0, 13),
            None,
            [("sent", "104", "1"), ("received", "0", "0")],
        ),
        (
            &last,
            (13, 15),
            Some("link_lost"),
            [("sent", "0", "0"), ("received", "7", "1")],
        ),
    ] {
        assert_eq!(span.name, "transfer");
        assert_eq!(
            span.parent_span_id,
            span::set_up(&SESSION, Direction::Inbound)
        );
        let found = (span.start_time_unix_nano, span.end_time_unix_nano);
        assert_eq!(found, (times.0 * SECOND, times.1 * SECOND));
        for (direction, bytes, messages) in numbers {
            let number = |what: &str| text(&span.attributes, &format!("skans.{what}.{direction}"));
            assert_eq!(number("bytes"), bytes, "{direction}");
            assert_eq!(number("messages"), messages, "{direction}");
        }
        let found = span.status.as_ref().map(|status| status.message.as_str());
        assert_eq!(found, status);
    }
    assert_eq!(last.status.clone().unwrap().code(), StatusCode::Error);
    assert_eq!(text(&last.attributes, "skans.end"), "link_lost");
    assert_eq!(text(&last.attributes, "skans.total.bytes.sent"), "104");
    assert!(first.span_id != last.span_id);
}

#[test]
fn what_happens_to_a_link_is_told_and_bounded() {
    let link = link();
    let mut followed = follow(&link, 0);
    let pause = || SECOND;
    assert!(followed.look(1, (1, 8), pause).is_none());
    link.takeovers.store(1, Relaxed);
    assert!(followed.look(2, (1, 8), pause).is_none());
    link.takeovers.store(2, Relaxed);
    link.resumed.store(1, Relaxed);
    let span = read(&followed.look(SECOND, (1, 8), pause).unwrap());
    assert_eq!(names(&span), ["policy", "re-authenticated", "resumed"]);
    assert_eq!(
        text(&span.events[0].attributes, "skans.policy.version"),
        "1.8"
    );
    assert_eq!(text(&span.attributes, "skans.resumed"), "1");
    assert_eq!(text(&span.attributes, "skans.reauthenticated"), "1");
    for n in 0..40 {
        assert!(followed.look(SECOND + n, (2, n), pause).is_none());
    }
    let span = read(&followed.tell(2 * SECOND, None).unwrap());
    assert_eq!((span.events.len(), span.dropped_events_count), (16, 24));
}

#[test]
fn denials_are_counted_and_few_of_them_shown() {
    let link = link();
    let mut followed = follow(&link, 0);
    let decisions = &link.traffic.received.decisions;
    for (n, action) in Action::ALL.iter().take(10).enumerate() {
        for _ in 0..=n {
            decisions.count(Verdict::Deny, *action, Reason::Policy);
        }
    }
    decisions.count(Verdict::WouldDeny, Action::Send, Reason::Policy);
    decisions.count(Verdict::Permit, Action::Send, Reason::Policy);
    let span = read(&followed.look(2 * SECOND, (1, 7), || SECOND).unwrap());
    assert_eq!(text(&span.attributes, "skans.denied.received"), "55");
    assert_eq!(text(&span.attributes, "skans.denied.sent"), "0");
    assert_eq!((span.events.len(), span.dropped_events_count), (8, 3));
    let most = &span.events[0];
    assert_eq!(most.name, "denied");
    assert_eq!(text(&most.attributes, "skans.count"), "10");
    assert_eq!(text(&most.attributes, "skans.reason"), "policy");
    assert_eq!(text(&most.attributes, "skans.verdict"), "deny");
    // Told once.
    assert!(followed.look(9 * SECOND, (1, 7), || SECOND).is_none());
}

#[test]
fn what_others_chose_is_plain_and_short() {
    let refused = |node: &str| {
        let refused = Refused {
            session: SESSION,
            direction: Direction::Outbound,
            began: 1,
            names: ["a@here", node],
            peer: Some("spiffe://test/x\u{202e}y".to_owned()),
            service: None,
        };
        let error = Error::WrongName("what a peer said\nforged".to_owned());
        read(&link::of_refused(&refused, (1, 7), &error))
    };
    let span = refused("b\u{1b}[2J@here");
    assert_eq!(
        text(&span.attributes, "skans.peer.node"),
        "b\\u{1b}[2J@here"
    );
    assert_eq!(
        text(&span.attributes, "skans.peer.id"),
        "spiffe://test/x\\u{202e}y"
    );
    assert_eq!(span.status.unwrap().message, "wrong_name");
    assert!(span.parent_span_id.is_empty());
    let long = refused(&"\u{1b}".repeat(100_000)).encoded_len();
    assert!(long < 2048, "{long}");
}

#[test]
fn what_waits_is_bounded_and_what_is_too_much_is_counted() {
    let queue = Queue::default();
    let mut span = link::set_up(&link(), (1, 7), 1);
    let size = span.encoded_len();
    let many = 20_000;
    for _ in 0..many {
        queue.put(&span);
    }
    let (_, dropped) = queue.counts();
    let kept = many - dropped;
    let bytes = usize::try_from(kept).unwrap() * size;
    assert!((2 << 20..=4 << 20).contains(&bytes), "{bytes}");
    let mut taken = 0;
    loop {
        let batch = queue.take();
        if batch.is_empty() {
            break;
        }
        assert!(batch.len() <= 512 && batch.concat().len() <= 1 << 20);
        taken += batch.len() as u64;
    }
    assert_eq!(taken, kept);
    span.trace_id = vec![0; 16];
    queue.put(&span);
    assert_eq!(queue.counts(), (0, dropped + 1));
    assert!(queue.take().is_empty());
}

#[test]
fn whose_set_ups_fail_again_and_again_fills_nothing() {
    let config = config("http://127.0.0.1:1");
    let traces = Traces::open(&config).unwrap();
    let refused = Refused {
        session: SESSION,
        direction: Direction::Inbound,
        began: 1,
        names: ["a@here", "b@here"],
        peer: None,
        service: None,
    };
    for _ in 0..1000 {
        traces.refused(&refused, (1, 7), &Error::WrongName(String::new()));
    }
    let (_, dropped) = traces.counts().unwrap();
    // 20 a second.
    assert!(dropped >= 900, "{dropped}");
}

fn config(endpoint: &str) -> Config {
    let text = format!(
        "apiVersion: skans.io/v1alpha1\ntrustDomain: test\ncluster: main\nnodes: [{{name: a@here}}]\n\
         identity: {{authority: {{directory: /nowhere}}}}\ntraces: {{otlp: {{endpoint: '{endpoint}'}}}}\n"
    );
    crate::config::parse(&text, "test", |_| None).unwrap()
}

/// A collector that says this to every request, and what it was sent last.
async fn collector(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut last = Vec::new();
        while let Ok(Ok((mut socket, _))) =
            tokio::time::timeout(Duration::from_secs(3), listener.accept()).await
        {
            last.clear();
            let mut piece = [0; 4096];
            loop {
                let count = socket.read(&mut piece).await.unwrap_or_default();
                last.extend_from_slice(&piece[..count]);
                let text = String::from_utf8_lossy(&last).to_lowercase();
                let whole = text.split_once("\r\n\r\n").is_some_and(|(header, _)| {
                    let length = header.split("content-length: ").nth(1).unwrap();
                    let length: usize = length.lines().next().unwrap().parse().unwrap();
                    let body = last
                        .windows(4)
                        .position(|four| four == b"\r\n\r\n")
                        .unwrap()
                        + 4;
                    last.len() >= body + length
                });
                if count == 0 || whole {
                    break;
                }
            }
            let _ = socket.write_all(answer).await;
            let _ = socket.shutdown().await;
        }
        last
    });
    (format!("http://{address}"), serving)
}

async fn send(answer: &'static [u8]) -> Result<u64, (bool, String)> {
    let (endpoint, _serving) = collector(answer).await;
    let otlp = Otlp {
        endpoint,
        roots: None,
    };
    let post = Post::open(&otlp, Signal::Traces).unwrap();
    let sent = post.send(vec![1; 100_000].into()).await;
    sent.map_err(|failure| (failure.retry, failure.why))
}

#[tokio::test]
async fn a_collectors_answer_means_what_the_protocol_says() {
    let none = send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(none, Ok(0));
    // partial_success { rejected_spans: 3 }
    let some = send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\x0a\x02\x08\x03").await;
    assert_eq!(some, Ok(3));
    for (answer, retry) in [
        (&b"HTTP/1.1 429 Slow\r\ncontent-length: 0\r\n\r\n"[..], true),
        (b"HTTP/1.1 503 Away\r\ncontent-length: 0\r\n\r\n", true),
        (b"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n", false),
        (b"HTTP/1.1 500 Bad\r\ncontent-length: 0\r\n\r\n", false),
        // Nobody is led elsewhere.
        (
            b"HTTP/1.1 307 There\r\nlocation: http://10.0.0.9/\r\ncontent-length: 0\r\n\r\n",
            false,
        ),
        (b"SSH-2.0-OpenSSH\r\n", true),
        (b"", true),
    ] {
        let shown = String::from_utf8_lossy(answer);
        let failed = send(answer).await.unwrap_err();
        assert_eq!(failed.0, retry, "{shown}: {failed:?}");
        assert!(failed.1.len() < 200, "{failed:?}");
    }
}

#[tokio::test]
async fn a_collector_that_says_too_much_is_not_listened_to() {
    // All of it is good, but for how much it is.
    let filled = |before: &[u8], fill: usize, after: &[u8]| -> &'static [u8] {
        [before, &vec![b'x'; fill], after].concat().leak()
    };
    let header = |fill| {
        let end = b"\r\ncontent-length: 0\r\n\r\n";
        filled(b"HTTP/1.1 200 OK\r\nx: ", fill, end)
    };
    assert_eq!(send(header(1000)).await, Ok(0));
    assert!(send(header(100_000)).await.is_err());
    // A field that nobody knows, and partial_success { rejected_spans: 3 } behind it.
    let body = |fill: usize, length: &[u8]| {
        let size = 1 + length.len() + fill + 4;
        let before = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n\x7a");
        let before = [before.as_bytes(), length].concat();
        filled(&before, fill, b"\x0a\x02\x08\x03")
    };
    assert_eq!(send(body(100, b"\x64")).await, Ok(3));
    // It has taken them, and nothing more is read.
    assert_eq!(send(body(100_000, b"\xa0\x8d\x06")).await, Ok(0));
    let lies = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    // It rejects less than none.
    assert_eq!(send(lies).await, Ok(0));
}

#[tokio::test]
async fn what_arrives_is_a_request_of_otlp() {
    let (endpoint, serving) = collector(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let traces = Traces::open(&config(&endpoint)).unwrap();
    let link = link();
    let trace = traces.up(&link, (1, 7)).unwrap();
    link.traffic.sent.bytes(9);
    trace.end((1, 7), "node_left", false);
    let on = traces.on.as_ref().unwrap();
    assert!(on.following().all.is_empty());
    let exporter = on.exporter.lock().unwrap().take().unwrap();
    tokio::spawn(exporter.run());
    let tasks = TaskTracker::new();
    tasks.close();
    traces.finish(&tasks).await;
    assert_eq!(traces.counts(), Some((2, 0)));
    let request = serving.await.unwrap();
    let at = request
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let header = String::from_utf8_lossy(&request[..at]).to_lowercase();
    assert!(
        header.starts_with("post /v1/traces http/1.1\r\n"),
        "{header}"
    );
    assert!(
        header.contains("content-type: application/x-protobuf"),
        "{header}"
    );
    let request = ExportTraceServiceRequest::decode(&request[at + 4..]).unwrap();
    let [resource] = request.resource_spans.as_slice() else {
        panic!("{request:?}")
    };
    let who = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(text(who, "service.name"), "skans-agent");
    assert_eq!(text(who, "skans.cluster"), "main");
    let spans = &resource.scope_spans[0].spans;
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["accept", "transfer"]);
    assert!(
        spans
            .iter()
            .all(|span| span.trace_id == SESSION && span.flags == 1)
    );
}

#[tokio::test]
async fn a_collector_that_is_gone_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let traces = Traces::open(&config(&endpoint)).unwrap();
    let trace = traces.up(&link(), (1, 7)).unwrap();
    trace.end((1, 7), "node_left", false);
    let on = traces.on.as_ref().unwrap();
    let exporter = on.exporter.lock().unwrap().take().unwrap();
    tokio::spawn(exporter.run());
    let tasks = TaskTracker::new();
    tasks.close();
    let since = Instant::now();
    traces.finish(&tasks).await;
    assert!(since.elapsed() < Duration::from_secs(3));
    assert_eq!(traces.counts(), Some((0, 2)));
}

#[test]
fn where_nobody_collects_nothing_is_kept() {
    let traces = Traces { on: None };
    assert!(traces.up(&link(), (1, 7)).is_none());
    assert_eq!(traces.counts(), None);
}
