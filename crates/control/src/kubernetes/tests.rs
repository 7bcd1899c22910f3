use super::*;

fn status(audiences: &[&str], username: &str, extra: &[(&str, &str)]) -> Status {
    Status {
        authenticated: true,
        audiences: audiences.iter().map(ToString::to_string).collect(),
        user: User {
            username: username.to_owned(),
            extra: extra
                .iter()
                .map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()]))
                .collect(),
        },
        error: String::new(),
    }
}

const BOUND: &[(&str, &str)] = &[
    ("authentication.kubernetes.io/pod-name", "rabbit-0"),
    ("authentication.kubernetes.io/pod-uid", "0b5b2a5e"),
];

#[test]
fn a_bound_token_of_our_audience_names_its_pod() {
    let found = pod(
        status(&["skans"], "system:serviceaccount:prod:rabbit", BOUND),
        "skans",
    );
    let wanted = Pod {
        namespace: "prod".to_owned(),
        service_account: "rabbit".to_owned(),
        name: "rabbit-0".to_owned(),
        uid: "0b5b2a5e".to_owned(),
        node_uid: None,
    };
    assert_eq!(found, Ok(wanted));
}

#[test]
fn anything_less_is_refused() {
    let good = "system:serviceaccount:prod:rabbit";
    let cases = [
        (status(&["other"], good, BOUND), "audiences"),
        (status(&[], good, BOUND), "audiences"),
        (
            status(&["skans"], "system:node:a", BOUND),
            "service account",
        ),
        (
            status(&["skans"], "system:serviceaccount:a/b:rabbit", BOUND),
            "service account",
        ),
        (
            status(&["skans"], "system:serviceaccount::rabbit", BOUND),
            "service account",
        ),
        (status(&["skans"], good, &[]), "bound to no pod"),
        (status(&["skans"], good, &BOUND[..1]), "bound to no pod"),
        (
            Status {
                authenticated: false,
                ..status(&["skans"], good, BOUND)
            },
            "does not know it",
        ),
        (Status::default(), "does not know it"),
    ];
    for (status, wanted) in cases {
        let why = pod(status, "skans").unwrap_err();
        assert!(why.contains(wanted), "{why}");
    }
}

#[test]
fn two_values_where_one_is_due_bind_nothing() {
    let mut status = status(&["skans"], "system:serviceaccount:prod:rabbit", BOUND);
    let uids = status
        .user
        .extra
        .get_mut("authentication.kubernetes.io/pod-uid")
        .unwrap();
    uids.push("another".to_owned());
    assert!(pod(status, "skans").is_err());
}

#[tokio::test]
async fn what_is_no_token_is_not_sent_anywhere() {
    let server = ApiServer {
        address: "127.0.0.1:1".to_owned(),
        authorities: "/nonexistent".into(),
        token: "/nonexistent".into(),
    };
    for token in ["", "a b", "a\r\nHost: b", &"a".repeat(MAX_TOKEN + 1)] {
        let refused = server.review(token, "skans").await;
        assert!(matches!(refused, Err(Refusal::Token(_))), "{refused:?}");
    }
}
