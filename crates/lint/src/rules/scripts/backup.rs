//! Backups: where they go, what they read, and whether anybody has looked at one. What is exported is in `exports`.

use super::{arguments, scripts};
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        BAK001,
        "node-local-backup",
        Critical,
        Beam,
        node_local,
        "A backup is written to the disk of whichever host the job runs on.",
        "Backups lie scattered over hosts, and are lost with the one that is lost; nobody can tell where the last one is.",
        "An object store, or VolumeSnapshots with a copy outside of the cluster."
    ),
    rule!(
        BAK002,
        "live-volume-copy",
        Critical,
        Beam,
        live_volume,
        "A job mounts the volume of a node that runs.",
        "On another host it stays `Pending` for ever (Multi-Attach); on the same one it copies Mnesia tables while they are written, which may not be readable afterwards.",
        "A VolumeSnapshot after the application was told to rest; or `mnesia:backup/1`, `rabbitmqctl export_definitions` and the like."
    ),
    rule!(
        BAK006,
        "no-verification",
        Critical,
        Beam,
        unverified,
        "A script says that the backup is done when it has only been asked for.",
        "It says so as well when the job fails, or is never scheduled; it is found out when somebody needs it.",
        "`kubectl wait --for=condition=complete`, a checksum, and a restore that is tried."
    ),
    rule!(
        BAK003,
        "source-not-readonly",
        Medium,
        Beam,
        not_readonly,
        "A job has the volume that it copies mounted for writing.",
        "A mistake in the script damages what it is to save.",
        "`readOnly: true` of the mount and of the claim."
    ),
    rule!(
        BAK007,
        "no-restore",
        Critical,
        All,
        no_restore,
        "There is a backup and nothing that restores it.",
        "A restore that was never tried fails; Mnesia has the names of the nodes in its tables.",
        "A job that restores into a namespace of its own, and runs regularly."
    ),
];

fn is_backup(object: &Object) -> bool {
    object.name.contains("backup") && matches!(object.kind.as_str(), "Job" | "CronJob" | "Pod")
}

fn volumes(object: &Object) -> &[Node] {
    object
        .pod()
        .and_then(|pod| pod.get("volumes"))
        .map_or(&[], Node::items)
}

/// The mounts of a volume that can be written.
fn writable<'o>(object: &'o Object, volume: &Node) -> Option<&'o Node> {
    let name = volume.text(&["name"])?;
    object.containers().into_iter().find_map(|container| {
        container
            .node
            .get("volumeMounts")
            .map_or(&[][..], Node::items)
            .iter()
            .find(|mount| {
                let read_only = mount.get("readOnly").and_then(Node::as_bool) == Some(true);
                mount.text(&["name"]) == Some(name) && !read_only
            })
    })
}

fn node_local(context: &Context<'_>, found: &mut Findings<'_>) {
    for object in context.set.objects.iter().filter(|one| is_backup(one)) {
        for volume in volumes(object) {
            if volume.get("hostPath").is_some() && writable(object, volume).is_some() {
                found.add(
                    object.key(volume, "hostPath"),
                    "the backup stays on this host",
                );
            }
        }
    }
}

/// The volumes of a job that a lasting workload has, too: the volume and the workload.
fn live<'c>(context: &Context<'c>, job: &'c Object) -> Vec<(&'c Node, &'c Object)> {
    let mut all = Vec::new();
    for volume in volumes(job) {
        let Some(claim) = volume.text(&["persistentVolumeClaim", "claimName"]) else {
            continue;
        };
        let owner = context.set.workloads().find(|workload| {
            let templates = workload
                .node
                .path(&["spec", "volumeClaimTemplates"])
                .map_or(&[][..], Node::items);
            let of_template = templates.iter().any(|template| {
                let name = template.text(&["metadata", "name"]).unwrap_or_default();
                claim
                    .strip_prefix(&format!("{name}-{}-", workload.name))
                    .is_some_and(|ordinal| {
                        ordinal.starts_with(['$', '{']) || ordinal.parse::<u32>().is_ok()
                    })
            });
            let direct = volumes(workload)
                .iter()
                .any(|one| one.text(&["persistentVolumeClaim", "claimName"]) == Some(claim));
            workload.is_lasting() && workload.near(job) && (of_template || direct)
        });
        all.extend(owner.map(|owner| (volume, owner)));
    }
    all
}

fn jobs<'c>(context: &Context<'c>) -> impl Iterator<Item = &'c Object> {
    context
        .set
        .objects
        .iter()
        .filter(|object| matches!(object.kind.as_str(), "Job" | "CronJob"))
}

fn live_volume(context: &Context<'_>, found: &mut Findings<'_>) {
    for job in jobs(context) {
        for (volume, owner) in live(context, job) {
            found
                .add(
                    job.key(volume, "persistentVolumeClaim"),
                    format!("{} writes to this volume", owner.title()),
                )
                .related(owner.head(), "the one that writes");
        }
    }
}

fn not_readonly(context: &Context<'_>, found: &mut Findings<'_>) {
    for job in jobs(context) {
        for (volume, _) in live(context, job) {
            let claim = volume
                .path(&["persistentVolumeClaim", "readOnly"])
                .and_then(Node::as_bool);
            if let Some(mount) = writable(job, volume).filter(|_| claim != Some(true)) {
                found
                    .add(
                        job.key(mount, "mountPath"),
                        "what is to be saved can be written here",
                    )
                    .fix("readOnly: true");
            }
        }
    }
}

fn unverified(context: &Context<'_>, found: &mut Findings<'_>) {
    const DONE: &[&str] = &["complete", "success", "finished", " done"];
    for script in scripts(context) {
        let text = context.set.sources.text(script.source).to_ascii_lowercase();
        if !text.contains("backup") {
            continue;
        }
        let mut asked = None;
        for command in &script.script.commands {
            let kubectl = command
                .program()
                .is_some_and(|word| word.text.ends_with("kubectl"));
            match arguments(command).first() {
                Some(&("apply" | "create")) if kubectl => asked = Some(script.place(command)),
                Some(&"wait") if kubectl => asked = None,
                _ => {}
            }
            let says = command.program().is_some_and(|word| word.text == "echo")
                && command.words.iter().skip(1).any(|word| {
                    let word = word.text.to_ascii_lowercase();
                    DONE.iter().any(|done| word.contains(done))
                });
            if let Some(place) = asked.filter(|_| says) {
                found
                    .add(
                        script.place(command),
                        "nothing has waited for the backup, or looked at it",
                    )
                    .related(place, "asked for here");
                asked = None;
            }
        }
    }
}

fn no_restore(context: &Context<'_>, found: &mut Findings<'_>) {
    let restores = context
        .set
        .objects
        .iter()
        .any(|object| object.name.contains("restore") || object.kind.contains("Restore"))
        || context
            .set
            .sources
            .iter()
            .any(|(_, source)| source.file_name().contains("restore"));
    let backup = context
        .set
        .of_kind("CronJob")
        .find(|object| is_backup(object));
    if let Some(backup) = backup.filter(|_| !restores) {
        found.add(backup.head(), "nothing restores what this saves");
    }
}
