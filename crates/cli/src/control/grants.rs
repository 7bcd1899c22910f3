//! `skans grant`.

use serde_json::json;
use skans_control::rest::grants::Grant as GrantView;

use super::{client, escaped, list};
use crate::arguments::control::Grant;
use crate::failure::Failure;
use crate::table;

/// `skans grant`.
pub async fn grant(command: Grant) -> Result<(), Failure> {
    match command {
        Grant::Add {
            user,
            role,
            scope,
            plane,
        } => {
            let wanted = json!({ "user": user, "role": role, "scope": scope });
            let _: GrantView = client(&plane).send("POST", "/v1/grants", &wanted).await?;
            Ok(())
        }
        Grant::List(ask) => {
            list(&ask, "/v1/grants", |grants: Vec<GrantView>| {
                let rows: Vec<_> = grants
                    .into_iter()
                    .map(|one| {
                        [
                            one.id,
                            one.user,
                            one.role,
                            one.scope,
                            one.granted_by,
                            table::moment(one.granted_at),
                        ]
                    })
                    .collect();
                table::render(["GRANT", "PERSON", "ROLE", "SCOPE", "BY", "SINCE"], &rows)
            })
            .await
        }
        Grant::Remove { id, plane } => {
            client(&plane)
                .call("DELETE", &format!("/v1/grants/{}", escaped(&id)), None)
                .await?;
            Ok(())
        }
    }
}
