//! The form of a set that is signed: JSON without spaces, members in the order below, maps by key, policies by name.
//! One set has one form: whatever reads back must come out again byte by byte.

use serde::{Deserialize, Serialize};

use super::{API_VERSION, Binding, ClusterLinks, Entities, File, MAX_BYTES, Mode, Source, Version};
use crate::problem::{Problem, Problems};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Canonical {
    api_version: String,
    name: String,
    mode: Mode,
    roles: Vec<Binding>,
    policies: Vec<File>,
    entities: Entities,
    /// Not written where there are none: agents of releases without links go on taking such sets.
    #[serde(default, skip_serializing_if = "ClusterLinks::is_empty")]
    links: ClusterLinks,
}

impl Source {
    /// The canonical JSON. The version is not in it.
    #[must_use]
    pub fn to_canonical(&self) -> String {
        let mut policies = self.policies.clone();
        policies.sort();
        let canonical = Canonical {
            api_version: API_VERSION.into(),
            name: self.name.clone(),
            mode: self.mode,
            roles: self.roles.clone(),
            policies,
            entities: self.entities.clone(),
            links: self.links.clone(),
        };
        // Strings, numbers, maps with strings as keys: nothing in it that JSON does not have.
        serde_json::to_string(&canonical).unwrap_or_default()
    }

    /// Reads the canonical JSON back. Whether it compiles is another question.
    ///
    /// # Errors
    /// [`Problems`] if it is larger than [`MAX_BYTES`], is not what [`Source::to_canonical`] writes, or breaks a rule of
    /// [`Source::read`].
    pub fn from_canonical(text: &str, version: Version) -> Result<Self, Problems> {
        const WHAT: &str = "source";
        if text.len() > MAX_BYTES {
            let found = format!("{} bytes", text.len());
            return Err(Problem::new(WHAT, found, format!("at most {MAX_BYTES}")).into());
        }
        let read: Canonical = serde_json::from_str(text).map_err(|error| {
            Problem::new(
                WHAT,
                error.to_string(),
                "the canonical JSON of a policy set",
            )
        })?;
        if read.api_version != API_VERSION {
            let found = format!("apiVersion {:?}", read.api_version);
            return Err(Problem::new(WHAT, found, format!("{API_VERSION:?}")).into());
        }
        let source = Self {
            version,
            name: read.name,
            mode: read.mode,
            policies: read.policies,
            entities: read.entities,
            roles: read.roles,
            links: read.links,
        };
        if source.to_canonical() != text {
            let wanted = "members in order, without spaces, policies by name";
            return Err(Problem::new(WHAT, "JSON that is not canonical", wanted).into());
        }
        let mut problems = Vec::new();
        source.check(&mut problems);
        Problems::check(problems)?;
        Ok(source)
    }
}
