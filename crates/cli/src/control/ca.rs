//! `skans ca`.

use skans_control::client::Client;
use skans_control::rest::Listed;
use skans_control::rest::authorities::{Authority, NextAuthority, SignedAuthority};
use skans_control::root;

use super::{client, escaped, look, read_file, say, show, write_file};
use crate::arguments::control::{Ca, CaRoot, Plane};
use crate::failure::{Failure, NOT_CHECKED};
use crate::table;

/// `skans ca`.
pub async fn ca(command: Ca) -> Result<(), Failure> {
    match command {
        Ca::Init {
            dir,
            trust_domain,
            lifetime,
        } => {
            let made = root::init(&dir, &trust_domain, lifetime)?;
            say(&table::facts(&[
                ("trust domain", made.trust_domain),
                ("root's key", made.spki_sha256),
                ("valid to", table::moment(made.not_after)),
                ("certificate", made.certificate.display().to_string()),
                ("private key", made.key.display().to_string()),
            ]))
        }
        Ca::Sign {
            dir,
            request,
            cluster,
            lifetime,
            out,
        } => {
            let certificate = root::sign(&dir, &read_file(&request)?, &cluster, lifetime)?;
            write_file(&out, &certificate)
        }
        Ca::Status(ask) => show(&ask, "/v1/authorities", draw).await,
        Ca::Rotate {
            ask,
            request,
            force,
        } => rotate(&client(&ask.plane), &request, force).await,
        Ca::Root(command) => root_command(command).await,
        Ca::Import {
            id,
            certificate,
            force,
            plane,
        } => {
            let signed = SignedAuthority {
                certificate: read_file(&certificate)?,
            };
            let client = client(&plane);
            let _: () = client
                .send(
                    "PUT",
                    &format!("/v1/authorities/{}/certificate", escaped(&id)),
                    &signed,
                )
                .await?;
            activate(&client, &id, force).await
        }
        Ca::Taint { id, plane } => by_two(&plane, &id, "taint").await,
        Ca::Revoke { id, plane } => by_two(&plane, &id, "revoke").await,
        Ca::Export { plane } => {
            let found: Listed<Authority> =
                client(&plane).get("/v1/authorities").await.map_err(look)?;
            let text: String = found.items.into_iter().map(|one| one.certificate).collect();
            say(&text)
        }
    }
}

async fn rotate(client: &Client, request: &std::path::Path, force: bool) -> Result<(), Failure> {
    let next: NextAuthority = client.send("POST", "/v1/authorities", &()).await?;
    match next.request {
        None => {
            activate(client, &next.id, force).await?;
            say(&format!("{} signs from now on\n", next.id))
        }
        Some(csr) => {
            write_file(request, &csr)?;
            say(&format!(
                "The next authority, {}, waits for the root. Where the root is:\n\
                 \x20 skans ca sign --dir DIRECTORY --request {} --out issuer.pem\n\
                 Then, here:\n\
                 \x20 skans ca import {} --certificate issuer.pem\n",
                next.id,
                request.display(),
                next.id
            ))
        }
    }
}

async fn activate(client: &Client, id: &str, force: bool) -> Result<(), Failure> {
    client
        .call(
            "POST",
            &format!("/v1/authorities/{}/activate?force={force}", escaped(id)),
            None,
        )
        .await?;
    Ok(())
}

async fn root_command(command: CaRoot) -> Result<(), Failure> {
    match command {
        CaRoot::Add { certificate, plane } => {
            let body = SignedAuthority {
                certificate: read_file(&certificate)?,
            };
            let body = serde_json::to_string(&body).map_err(std::io::Error::from)?;
            let added = client(&plane).call("POST", "/v1/roots", Some(body)).await?;
            if added.is_empty() {
                Err(second())
            } else {
                Ok(())
            }
        }
        CaRoot::Remove { id, plane } => {
            let client = client(&plane);
            client
                .call("DELETE", &format!("/v1/roots/{}", escaped(&id)), None)
                .await?;
            let found: Listed<Authority> = client.get("/v1/authorities").await?;
            let there = |one: &Authority| {
                one.id == id && !matches!(one.state.as_str(), "expired" | "revoked")
            };
            if found.items.iter().any(there) {
                Err(second())
            } else {
                Ok(())
            }
        }
    }
}

/// What was asked for waits for somebody else to ask for it as well.
pub fn second() -> Failure {
    Failure::new(
        NOT_CHECKED,
        "a second person has to ask for the same within the hour",
    )
}

async fn by_two(plane: &Plane, id: &str, what: &str) -> Result<(), Failure> {
    let path = format!("/v1/authorities/{}/{what}", escaped(id));
    let client = client(plane);
    client.call("POST", &path, None).await?;
    let found: Listed<Authority> = client.get("/v1/authorities").await?;
    let done = found
        .items
        .iter()
        .any(|one| one.id == id && matches!(one.state.as_str(), "tainted" | "revoked"));
    if done {
        return Ok(());
    }
    Err(second())
}

fn draw(found: Listed<Authority>) -> String {
    let now = table::now();
    let rows: Vec<_> = found
        .items
        .into_iter()
        .map(|one| {
            [
                one.id,
                one.kind,
                one.slot,
                one.state,
                table::relative(one.not_after, now),
                one.spki_sha256,
            ]
        })
        .collect();
    table::render(
        ["AUTHORITY", "KIND", "SLOT", "STATE", "EXPIRES", "KEY"],
        &rows,
    )
}
