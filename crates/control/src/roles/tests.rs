//! The policies against what they are meant to say.

use super::*;

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

fn held(role: RoleName, at: &str) -> Vec<Held> {
    vec![Held {
        role,
        scope: scope(at),
    }]
}

fn asks<'a>(kind: Kind, held: &'a [Held], action: &'a str, at: &'a Scope) -> Question<'a> {
    Question {
        kind,
        held,
        action,
        scope: at,
        seconded: false,
        local: false,
    }
}

#[test]
fn a_role_holds_in_its_scope_and_below() {
    let roles = Roles::load().unwrap();
    let grant = held(RoleName::Enroller, "prod.example/main/shop");
    let allowed = |at: &str| roles.allows(&asks(Kind::User, &grant, "POST /v1/tokens", &scope(at)));
    assert!(allowed("prod.example/main/shop"));
    for wrong in [
        "prod.example/main/till",
        "prod.example/main",
        "prod.example",
        "other.example/main/shop",
    ] {
        assert!(!allowed(wrong), "{wrong}");
    }
    let grant = held(RoleName::Enroller, "prod.example");
    assert!(roles.allows(&asks(
        Kind::User,
        &grant,
        "POST /v1/tokens",
        &scope("prod.example/main/shop")
    )));
}

#[test]
fn what_has_no_row_is_refused_to_everybody() {
    let roles = Roles::load().unwrap();
    let grant = held(RoleName::Owner, "prod.example");
    let at = scope("prod.example");
    for action in ["DELETE /v1/everything", "owner", "", "get /v1/tokens"] {
        for kind in Kind::ALL {
            assert!(!roles.allows(&asks(kind, &grant, action, &at)), "{action}");
        }
    }
}

#[test]
fn roles_mean_nothing_to_who_is_no_person() {
    let roles = Roles::load().unwrap();
    let grant = held(RoleName::Owner, "prod.example");
    let at = scope("prod.example");
    for kind in Kind::ALL.into_iter().filter(|&kind| kind != Kind::User) {
        assert!(!roles.allows(&asks(kind, &grant, "GET /v1/grants", &at)));
    }
}

#[test]
fn a_taint_takes_two_people_or_the_socket() {
    let roles = Roles::load().unwrap();
    let at = scope("prod.example/main");
    for role in [RoleName::CaAdmin, RoleName::Owner] {
        let grant = held(role, "prod.example");
        let alone = asks(Kind::User, &grant, "POST /v1/authorities/{id}/taint", &at);
        assert!(!roles.allows(&alone));
        assert!(roles.allows(&Question {
            seconded: true,
            ..alone
        }));
        assert!(roles.allows(&Question {
            local: true,
            ..alone
        }));
    }
}

/// Cedar skips a policy that fails, also one that forbids: whoever makes it fail would be let in.
#[test]
fn pitfall_8_a_policy_that_fails_is_a_denial() {
    let mut roles = Roles::load().unwrap();
    let (grant, at) = (held(RoleName::Owner, "prod.example"), scope("prod.example"));
    let question = asks(Kind::User, &grant, "GET /v1/tokens", &at);
    assert!(roles.allows(&question));
    for text in [
        "forbid(principal, action, resource) when { context.missing };",
        "forbid(principal, action, resource) when { principal.missing == 1 };",
        "forbid(principal, action, resource) when { 9223372036854775807 + 1 == 0 };",
        "permit(principal, action, resource) when { context.missing };",
    ] {
        let sound = roles.policies.clone();
        let failing =
            cedar_policy::Policy::parse(Some(cedar_policy::PolicyId::new("failing")), text);
        roles.policies.add(failing.unwrap()).unwrap();
        assert!(!roles.allows(&question), "{text}");
        roles.policies = sound;
    }
    assert!(roles.allows(&question));
    // What cannot even be asked.
    assert!(!roles.allows(&Question {
        action: "GET /v1/nothing",
        ..question
    }));
}
