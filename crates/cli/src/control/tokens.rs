//! `skans token`.

use std::io::IsTerminal as _;

use skans_control::rest::registrations::NewRegistration;
use skans_control::rest::tokens::{MadeToken, NewToken, Token as TokenView};

use super::{client, escaped, list, print, say};
use crate::arguments::Output;
use crate::arguments::control::{Carries, NewToken as Wanted, Token};
use crate::failure::{Failure, USAGE};
use crate::table;

/// `skans token`.
pub async fn token(command: Token) -> Result<(), Failure> {
    match command {
        Token::Create(wanted) => create(*wanted).await,
        Token::List(ask) => {
            list(&ask, "/v1/tokens", |tokens: Vec<TokenView>| {
                let now = table::now();
                let rows: Vec<_> = tokens
                    .into_iter()
                    .map(|one| {
                        [
                            one.id,
                            one.state,
                            one.registration,
                            one.owner,
                            table::relative(one.expires, now),
                        ]
                    })
                    .collect();
                table::render(
                    ["TOKEN", "STATE", "REGISTRATION", "MADE BY", "EXPIRES"],
                    &rows,
                )
            })
            .await
        }
        Token::Revoke { id, plane } => {
            client(&plane)
                .call("DELETE", &format!("/v1/tokens/{}", escaped(&id)), None)
                .await?;
            Ok(())
        }
    }
}

async fn create(wanted: Wanted) -> Result<(), Failure> {
    let register = wanted
        .name
        .map(|name| registration(name, wanted.carries))
        .transpose()?;
    let body = NewToken {
        registration: wanted.registration,
        register,
        person: wanted.person,
        seconds: Some(wanted.ttl.as_secs()),
    };
    let made: MadeToken = client(&wanted.ask.plane)
        .send("POST", "/v1/tokens", &body)
        .await?;
    if wanted.ask.output == Output::Json {
        return print(Output::Json, made, |_| String::new());
    }
    // The token alone on standard output, so that it can be kept in a file as it is.
    if std::io::stdout().is_terminal() {
        let left = table::relative(made.expires, table::now());
        eprintln!("{}: can be used once, expires {left}", made.id);
    }
    say(&format!("{}\n", made.token))
}

/// What an agent may carry, as the API takes it.
pub(super) fn registration(name: String, carries: Carries) -> Result<NewRegistration, Failure> {
    if carries.nodes.is_empty() {
        return Err(Failure::new(USAGE, "wanted at least one --node ALIVE@HOST"));
    }
    Ok(NewRegistration {
        name,
        names: carries.nodes,
        namespace: Some(carries.namespace),
        workload: carries.workload,
        cli: carries.cli,
        owner: carries.owner,
        ..NewRegistration::default()
    })
}
