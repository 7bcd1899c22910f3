//! Images: what they are made of, and what is left in them.

pub(super) mod versions;

use super::{Dockerfile, Stage, dockerfiles, split};
use crate::rule::{Context, Findings, Rule};

pub(super) const RULES: &[Rule] = &[
    rule!(
        IMG003,
        "base-mismatch",
        High,
        Beam,
        base_mismatch,
        "A release is built on one system and run on another.",
        "`crypto` was built against another OpenSSL or C library than the one that it finds: it may not load, and neither TLS nor cookies work.",
        "The same base with the same version for both stages: the tag of the build image that names its Alpine or Debian."
    ),
    rule!(
        IMG004,
        "mixed-repository",
        Medium,
        Beam,
        mixed,
        "Packages come from another release of the system, or without TLS.",
        "Libraries of two releases are mixed, differently with each build; without TLS somebody on the way chooses them.",
        "The repositories that the image has."
    ),
    rule!(
        IMG008,
        "copy-everything",
        Medium,
        All,
        copy_all,
        "`COPY . .` without a `.dockerignore`.",
        "`.git`, `_build` and whatever secret lies about become layers of the image; each change builds everything anew.",
        "A `.dockerignore`; `mix.exs` and `mix.lock` first, then `lib`, `config` and `priv`."
    ),
    rule!(
        IMG005,
        "workdir-owner",
        Low,
        All,
        workdir,
        "`USER` stands before a `WORKDIR` that is made by it.",
        "Some builders make the directory as root, so that the build cannot write to it.",
        "`RUN mkdir -p /app && chown app /app` before `USER`."
    ),
    rule!(
        IMG006,
        "healthcheck-ignored",
        Low,
        All,
        healthcheck,
        "`HEALTHCHECK` in an image for Kubernetes.",
        "Nothing reads it there.",
        "Probes of the container."
    ),
    rule!(
        IMG007,
        "tools-in-runtime",
        Low,
        All,
        tools,
        "Tools are installed into the image that runs.",
        "Who gets in finds them there.",
        "An ephemeral container (`kubectl debug`) that brings them when they are needed."
    ),
];

/// The system of an image: its family, and its release if the tag says it.
fn system(image: &str) -> Option<(&'static str, Option<String>)> {
    let (repository, tag) = split(image);
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let tag = tag.unwrap_or_default();
    let release = |family: &str| {
        let mut rest = tag.split('-').skip_while(|part| !part.starts_with(family));
        let part = rest.next()?;
        let own = part.strip_prefix(family).filter(|rest| !rest.is_empty());
        let version = own
            .map(str::to_owned)
            .or_else(|| rest.next().map(str::to_owned))?;
        let numbers: Vec<&str> = version.split('.').take(2).collect();
        version
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| numbers.join("."))
    };
    if name == "alpine" {
        let numbers: Vec<&str> = tag.split('.').take(2).collect();
        let version = (numbers.len() == 2).then(|| numbers.join("."));
        return Some(("Alpine", version));
    }
    if tag.contains("alpine") {
        return Some(("Alpine", release("alpine")));
    }
    const DEBIAN: &[&str] = &["trixie", "bookworm", "bullseye", "buster"];
    let code = DEBIAN
        .iter()
        .find(|code| tag.split('-').any(|part| part.starts_with(*code)));
    if name == "debian" || code.is_some() {
        return Some(("Debian", code.map(|code| (*code).to_owned())));
    }
    // The official ones are Debian if they do not say otherwise.
    matches!(name, "erlang" | "elixir").then_some(("Debian", None))
}

/// The stage that a release is built in, and the one that it is copied to.
fn build_and_run<'s, 'c>(
    file: &Dockerfile<'c>,
    stages: &'s [Stage<'c>],
) -> Option<(&'s Stage<'c>, &'s Stage<'c>)> {
    let run = stages.last()?;
    let copied = run.instructions.iter().find_map(|instruction| {
        let from = file.arguments(instruction).split_whitespace().next()?;
        (instruction.name == "COPY")
            .then(|| from.strip_prefix("--from="))
            .flatten()
    })?;
    let build = stages.iter().find(|stage| stage.name == Some(copied))?;
    let releases = build.instructions.iter().any(|instruction| {
        let text = file.arguments(instruction);
        instruction.name == "RUN"
            && ["mix release", "rebar3", "relx", "mix do"]
                .iter()
                .any(|word| text.contains(word))
    });
    releases.then_some((build, run))
}

fn base_mismatch(context: &Context<'_>, found: &mut Findings<'_>) {
    for file in dockerfiles(context) {
        let stages = file.stages();
        let Some((build, run)) = build_and_run(&file, &stages) else {
            continue;
        };
        if build.is_derived(&stages) || run.is_derived(&stages) {
            continue;
        }
        let (Some(built), Some(runs)) = (system(build.image), system(run.image)) else {
            continue;
        };
        let differ = match (&built, &runs) {
            ((one, _), (other, _)) if one != other => true,
            ((_, Some(one)), (_, Some(other))) => one != other,
            // What a tag without a release means changes; the other one does not.
            (("Alpine", None), (_, Some(_))) => true,
            _ => false,
        };
        if differ {
            let show = |(family, release): &(&str, Option<String>)| match release {
                Some(release) => format!("{family} {release}"),
                None => format!("{family}, whichever its tag has today"),
            };
            found
                .add(
                    file.place(run.from),
                    format!("built on {}, run on {}", show(&built), show(&runs)),
                )
                .related(file.place(build.from), "built here");
        }
    }
}

fn mixed(context: &Context<'_>, found: &mut Findings<'_>) {
    for file in dockerfiles(context) {
        for instruction in file.instructions.iter().filter(|one| one.name == "RUN") {
            let text = file.arguments(instruction);
            let adds = text.contains("apk ") || text.contains("/etc/apk/repositories");
            let plain = text.contains("http://dl-")
                || text.contains("http://deb.debian")
                || text.contains("http://ftp.");
            let edge = adds && text.contains("/edge/");
            if edge || (plain && (adds || text.contains("sources.list"))) {
                let message = match (edge, plain) {
                    (true, true) => "packages of edge, without TLS",
                    (true, false) => "packages of edge, whatever the release of the image",
                    _ => "packages without TLS",
                };
                found.add(file.place(instruction), message);
            }
        }
    }
}

fn copy_all(context: &Context<'_>, found: &mut Findings<'_>) {
    let ignores = context
        .set
        .sources
        .iter()
        .any(|(_, source)| source.file_name().ends_with(".dockerignore"));
    for file in dockerfiles(context).filter(|_| !ignores) {
        for instruction in file.instructions.iter().filter(|one| one.name == "COPY") {
            let words: Vec<&str> = file
                .arguments(instruction)
                .split_whitespace()
                .filter(|word| !word.starts_with("--chown") && !word.starts_with("--chmod"))
                .collect();
            if matches!(words.as_slice(), ["." | "./", _]) {
                found.add(
                    file.place(instruction),
                    "all that lies there becomes a part of the image",
                );
            }
        }
    }
}

fn workdir(context: &Context<'_>, found: &mut Findings<'_>) {
    for file in dockerfiles(context) {
        for stage in file.stages() {
            let mut user = None;
            let mut known: Vec<&str> = Vec::new();
            for instruction in &stage.instructions {
                let text = file.arguments(instruction);
                match instruction.name.as_str() {
                    "USER" => user = (text != "root" && text != "0").then_some(*instruction),
                    "RUN" => known.push(text),
                    "WORKDIR" => {
                        let made = known.iter().any(|run| run.contains(text));
                        if let Some(user) = user.filter(|_| !made) {
                            found
                                .add(
                                    file.place(instruction),
                                    "who owns this directory depends on the builder",
                                )
                                .related(file.place(user), "since this stands before it");
                        }
                        known.push(text);
                    }
                    _ => {}
                }
            }
        }
    }
}

fn healthcheck(context: &Context<'_>, found: &mut Findings<'_>) {
    if context.set.workloads().next().is_none() {
        return;
    }
    for file in dockerfiles(context) {
        for instruction in file
            .instructions
            .iter()
            .filter(|one| one.name == "HEALTHCHECK")
        {
            if file.arguments(instruction) != "NONE" {
                found.add(file.place(instruction), "nothing reads this in Kubernetes");
            }
        }
    }
}

fn tools(context: &Context<'_>, found: &mut Findings<'_>) {
    const TOOLS: &[&str] = &[
        "curl",
        "wget",
        "bash",
        "vim",
        "openssl",
        "netcat",
        "nmap",
        "tcpdump",
        "git",
        "bind-tools",
        "iproute2",
    ];
    for file in dockerfiles(context) {
        let stages = file.stages();
        let Some((_, run)) = build_and_run(&file, &stages) else {
            continue;
        };
        for instruction in run.instructions.iter().filter(|one| one.name == "RUN") {
            let text = file.arguments(instruction);
            if !text.contains("apk add")
                && !text.contains("apt-get install")
                && !text.contains("apt install")
            {
                continue;
            }
            let installed: Vec<&str> = text
                .split_whitespace()
                .filter(|word| TOOLS.contains(word))
                .collect();
            if !installed.is_empty() {
                found.add(file.place(instruction), installed.join(", "));
            }
        }
    }
}
