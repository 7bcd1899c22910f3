//! From the files of a set's directory to a `Source`. Unknown files and unknown keys are problems: what its author
//! believes to be in force must be.

use serde::Deserialize;

use super::{
    API_VERSION, Binding, ClusterLinks, Entities, File, Homes, Kind, MAX_BYTES, MAX_FILES, Mode,
    Source, Version,
};
use crate::name::is_label as is_name;
use crate::problem::{Problem, Problems, near};
use crate::role::Servers;

const SET: &str = "set.yaml";
const ENTITIES: &str = "entities.yaml";
const LINKS: &str = "links.yaml";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetFile {
    api_version: String,
    name: String,
    mode: ModeName,
    /// The day at whose start (UTC) a dry run ends.
    #[serde(default)]
    until: Option<String>,
    #[serde(default)]
    roles: Vec<Binding>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum ModeName {
    Enforce,
    DryRun,
}

impl Source {
    /// Reads the files of a set's directory. `tests/*.yaml`, `*.md`, which nobody takes for a policy, and whatever begins with a dot
    /// are passed over; the version is for the caller to give.
    ///
    /// # Errors
    /// [`Problems`] with everything that is wrong, and where. Whether the policies mean anything is found by
    /// [`Engine::compile`](crate::Engine::compile).
    pub fn read(files: &[File]) -> Result<Self, Problems> {
        let total: usize = files.iter().map(|file| file.text.len()).sum();
        if total > MAX_BYTES || files.len() > MAX_FILES {
            let found = format!("{} files with {total} bytes", files.len());
            let wanted = format!("at most {MAX_FILES} with {MAX_BYTES}");
            return Err(Problem::new("", found, wanted).into());
        }
        let mut problems = Vec::new();
        let mut set: Option<SetFile> = None;
        let mut has_set = false;
        let mut entities = Entities::default();
        let mut links = ClusterLinks::default();
        let mut policies = Vec::new();
        for file in files {
            match file.name.as_str() {
                SET => {
                    has_set = true;
                    match yaml(file) {
                        Ok(read) => set = Some(read),
                        Err(problem) => problems.push(problem),
                    }
                }
                ENTITIES => match yaml(file) {
                    Ok(read) => entities = read,
                    Err(problem) => problems.push(problem),
                },
                LINKS => match yaml(file) {
                    Ok(read) => links = read,
                    Err(problem) => problems.push(problem),
                },
                name if name.starts_with("tests/")
                    || name.starts_with('.')
                    || name.ends_with(".md") => {}
                name if name.ends_with(".cedar") => policies.push(file.clone()),
                name => problems.push(Problem::new(
                    name,
                    "a file that no set has",
                    "set.yaml, entities.yaml, links.yaml, *.cedar, *.md, tests/*.yaml",
                )),
            }
        }
        if !has_set {
            problems.push(Problem::new(
                SET,
                "no such file",
                "a set.yaml with apiVersion, name and mode",
            ));
        }
        let Some(set) = set else {
            Problems::check(problems)?;
            return Err(Problem::new(SET, "nothing in it", "apiVersion, name, mode").into());
        };
        if set.api_version != API_VERSION {
            let found = format!("apiVersion: found {:?}", set.api_version);
            problems.push(Problem::new(SET, found, format!("{API_VERSION:?}")));
        }
        policies.sort();
        let source = Self {
            version: Version::default(),
            mode: mode(&set, &mut problems),
            name: set.name,
            policies,
            entities,
            roles: set.roles,
            links,
        };
        source.check(&mut problems);
        Problems::check(problems)?;
        Ok(source)
    }

    /// The rules that hold for a set however it came here.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        if !is_name(&self.name) {
            problems.push(Problem::new(SET, format!("name: {:?}", self.name), NAME));
        }
        for (n, binding) in self.roles.iter().enumerate() {
            let place = format!("roles[{n}]");
            check_binding(binding, &place, problems);
        }
        for pair in self.policies.windows(2) {
            if let [a, b] = pair
                && a.name == b.name
            {
                problems.push(Problem::new(&*a.name, "two files of that name", "one"));
            }
        }
        check_entities(&self.entities, problems);
        let links = self.links.problems().into_iter();
        problems.extend(links.map(|(found, wanted)| Problem::new(LINKS, found, wanted)));
    }

    /// That the nodes which labels, groups and roles are about can be there.
    pub(crate) fn check_home(&self, home: &Homes, problems: &mut Vec<Problem>) {
        for id in ids(&self.entities).filter(|id| !home.has(id)) {
            problems.push(Problem::new(ENTITIES, format!("{id:?}"), home.wanted()));
        }
        for (n, binding) in self.roles.iter().enumerate() {
            for (key, selectors) in [("principals", &binding.principals), ("on", &binding.on)] {
                let entities = selectors.iter().filter_map(|one| one.entity().ok());
                for (_, id) in entities.filter(|(kind, id)| *kind != "Group" && !home.has(id)) {
                    let found = format!("roles[{n}].{key}: {id:?}");
                    problems.push(Problem::new(SET, found, home.wanted()));
                }
            }
        }
    }
}

const NAME: &str = "1 to 63 of a-z 0-9 - with a letter first";

/// Reads YAML of a set.
pub(crate) fn yaml<T: serde::de::DeserializeOwned>(file: &File) -> Result<T, Problem> {
    serde_saphyr::from_str(&file.text).map_err(|error| {
        let found = error.without_snippet().to_string();
        let mut problem = Problem::new(&*file.name, found, "");
        if let Some(place) = error.location() {
            problem.line = usize::try_from(place.line()).unwrap_or(0);
            problem.column = usize::try_from(place.column()).unwrap_or(0);
        }
        problem
    })
}

fn mode(set: &SetFile, problems: &mut Vec<Problem>) -> Mode {
    let mut wrong = |found: String, wanted: &str| {
        problems.push(Problem::new(SET, found, wanted));
        Mode::Enforce
    };
    match (&set.mode, &set.until) {
        (ModeName::Enforce, None) => Mode::Enforce,
        (ModeName::Enforce, Some(_)) => wrong(
            "until: beside mode: enforce".into(),
            "until with mode: dry-run only",
        ),
        (ModeName::DryRun, None) => wrong(
            "mode: dry-run without an end".into(),
            "until: a day such as 2027-01-31, from whose start (UTC) on the set is enforced",
        ),
        (ModeName::DryRun, Some(day)) => match start_of(day) {
            Some(until) => Mode::DryRun { until },
            None => wrong(format!("until: {day:?}"), "a day such as 2027-01-31"),
        },
    }
}

/// Seconds from 1970 to the start of `YYYY-MM-DD` in UTC.
fn start_of(day: &str) -> Option<u64> {
    let mut parts = day.split('-');
    let mut next = |digits: usize| {
        let text = parts.next()?;
        (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<u64>().ok())?
    };
    let (year, month, date) = (next(4)?, next(2)?, next(2)?);
    if parts.next().is_some() || year < 1970 {
        return None;
    }
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let lengths = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let month = usize::try_from(month).ok()?.checked_sub(1)?;
    if !(1..=*lengths.get(month)?).contains(&date) {
        return None;
    }
    let years: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    let months: u64 = lengths.iter().take(month).sum();
    Some((years + months + date - 1) * 86_400)
}

fn check_binding(binding: &Binding, place: &str, problems: &mut Vec<Problem>) {
    let mut wrong = |what: &str, found: String, wanted: String| {
        problems.push(Problem::new(SET, format!("{place}{what}: {found}"), wanted));
    };
    match crate::role::get(&binding.role) {
        None => {
            let known = crate::role::ALL.iter().map(|role| role.name);
            let wanted = near(&binding.role, known.clone()).map_or_else(
                || format!("one of {}", known.collect::<Vec<_>>().join(", ")),
                |near| format!("perhaps {near:?}"),
            );
            wrong(".role", format!("{:?}", binding.role), wanted);
        }
        Some(role) if role.servers == Servers::Required && binding.servers.is_empty() => {
            wrong(
                ".servers",
                "none".into(),
                "the names of the servers that it may reach".into(),
            );
        }
        Some(role) if role.servers == Servers::No && !binding.servers.is_empty() => {
            let wanted = "servers with roles that take them".into();
            wrong(".servers", format!("servers for {}", role.name), wanted);
        }
        Some(_) => {}
    }
    for (key, selectors) in [("principals", &binding.principals), ("on", &binding.on)] {
        if selectors.is_empty() {
            wrong(
                &format!(".{key}"),
                "nobody".into(),
                "at least one selector".into(),
            );
        }
        for selector in selectors {
            if let Err((found, wanted)) = selector.entity() {
                wrong(&format!(".{key}"), found, wanted);
            }
        }
    }
    for name in &binding.servers {
        if name.is_empty() || name.len() > crate::name::MAX_ATOM {
            wrong(".servers", format!("{name:?}"), "a registered name".into());
        }
    }
}

/// The IDs that labels and groups are about.
fn ids(entities: &Entities) -> impl Iterator<Item = &String> {
    let groups = entities.groups.values();
    let nodes = entities.nodes.keys();
    nodes.chain(groups.flat_map(|group| &group.nodes))
}

fn check_entities(entities: &Entities, problems: &mut Vec<Problem>) {
    let mut wrong = |found: String, wanted: &str| {
        problems.push(Problem::new(ENTITIES, found, wanted));
    };
    for id in ids(entities) {
        if Kind::of(id).is_none() {
            wrong(
                format!("{id:?}"),
                "an ID: spiffe://<trust domain>/cluster/<c>/ns/<n>/sa/<w>/node/<name>, or the start of one",
            );
        }
    }
    let functions = entities.functions.keys();
    for name in functions.chain(entities.groups.values().flat_map(|group| &group.functions)) {
        if crate::name::parse(name.strip_suffix('*').unwrap_or(name)).is_none()
            && !name.ends_with('*')
        {
            wrong(format!("{name:?}"), "module:function/arity");
        }
    }
    let services = entities.services.keys();
    for name in services.chain(entities.groups.values().flat_map(|group| &group.services)) {
        let start = name.strip_suffix('*');
        if !is_name(name) && start.is_none_or(|start| !start.is_empty() && !is_name(start)) {
            wrong(format!("service {name:?}"), NAME);
        }
    }
    for name in entities.groups.keys() {
        if !is_name(name) {
            wrong(format!("group {name:?}"), NAME);
        }
    }
    let labels = entities.nodes.values();
    let labels = labels.chain(entities.processes.values());
    let labels = labels.chain(entities.services.values());
    for (key, value) in labels.chain(entities.functions.values()).flatten() {
        if key.is_empty() || key.len() > 63 || value.len() > 255 {
            wrong(
                format!("label {key:?}: {value:?}"),
                "a key of 1 to 63 bytes, a value of at most 255",
            );
        }
    }
}
