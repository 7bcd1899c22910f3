//! RabbitMQ: `rabbitmq.conf`, and RabbitmqCluster objects.

use skans_erlconf::sysctl::{File, Setting};

use crate::document::Content;
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::source::{Place, SourceId};
use crate::units::{Carrier, Product};
use crate::yaml::Node;

pub(in crate::rules) const RULES: &[Rule] = &[
    rule!(
        RMQ001,
        "guest-from-anywhere",
        Critical,
        Beam,
        guest,
        "The user `guest` with its known password may log in from everywhere.",
        "Whoever reaches the port is an administrator.",
        "A user of its own, with a password from a Secret; leave `loopback_users` as it is."
    ),
    rule!(
        RMQ003,
        "cli-without-tls",
        Blocker,
        Beam,
        cli,
        "Nodes speak TLS with each other, and the tools are not told so.",
        "`rabbitmqctl` and `rabbitmq-diagnostics` cannot connect: probes fail, and the hook that runs before a pod stops waits until it is killed.",
        "The same flags in `RABBITMQ_CTL_ERL_ARGS` as in `RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS`."
    ),
    rule!(
        RMQ002,
        "old-tls-for-clients",
        High,
        Beam,
        old_tls,
        "Clients may speak versions of TLS that are broken.",
        "TLS 1.0 and 1.1 were withdrawn in 2021 (RFC 8996).",
        "`ssl_options.versions.1 = tlsv1.3`, with `tlsv1.2` for old clients."
    ),
    rule!(
        RMQ006,
        "override-escalates",
        High,
        Beam,
        escalates,
        "The `override` of a RabbitmqCluster gives its pods the host.",
        "Who may write a RabbitmqCluster gets the host by it; newer operators refuse it.",
        "No hostPath, hostNetwork, hostPID or privileged containers in `override`."
    ),
    rule!(
        RMQ004,
        "partitions-ignored",
        Medium,
        Beam,
        partitions,
        "A cluster of RabbitMQ ignores partitions.",
        "Both halves go on by themselves, and afterwards somebody has to choose which one loses its messages.",
        "`cluster_partition_handling = pause_minority`; quorum queues."
    ),
    rule!(
        RMQ005,
        "even-replicas",
        Medium,
        Beam,
        even,
        "A cluster of RabbitMQ has an even number of nodes.",
        "A majority of two is two, of four three: one node more costs, and the cluster bears no more failures; of two it bears none.",
        "1, 3 or 5 replicas."
    ),
];

fn files<'c>(context: &Context<'c>) -> impl Iterator<Item = (SourceId, &'c File)> {
    context
        .set
        .documents
        .iter()
        .filter_map(|document| match &document.content {
            Content::RabbitMq(file) => Some((document.source, file)),
            _ => None,
        })
}

const fn at(source: SourceId, setting: &Setting) -> Place {
    Place {
        source,
        span: setting.value_span,
    }
}

fn guest(context: &Context<'_>, found: &mut Findings<'_>) {
    for (source, file) in files(context) {
        let value = |key: &[&str]| file.get(key).map(|setting| setting.value.as_str());
        let user = value(&["default_user"]).unwrap_or("guest");
        let password = value(&["default_pass"]).unwrap_or("guest");
        // The operator makes a user with a password of its own, and no guest.
        let operated = context.set.embedded.iter().any(|embedded| {
            let of = context.set.objects.get(embedded.object);
            let document = context.set.document(embedded.document);
            of.is_some_and(|object| object.kind == "RabbitmqCluster")
                && document.is_some_and(|document| document.source == source)
        });
        let open = file
            .get(&["loopback_users"])
            .filter(|setting| setting.value == "none")
            .or_else(|| {
                file.get(&["loopback_users", "guest"])
                    .filter(|setting| setting.value == "false")
            });
        if let Some(open) = open.filter(|_| user == "guest" && password == "guest" && !operated) {
            found.add(at(source, open), "guest, password guest, from everywhere");
        } else if let Some(known) = file
            .get(&["default_pass"])
            .filter(|setting| setting.value == "guest" && user != "guest")
        {
            found.add(at(source, known), "a password that everybody knows");
        }
    }
}

fn cli(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let Carrier::Tls(place) = unit.carrier() else {
            continue;
        };
        if unit.product != Product::RabbitMq || unit.guarded.is_some() {
            continue;
        }
        let told = [
            "RABBITMQ_CTL_ERL_ARGS",
            "CTL_ERL_ARGS",
            "ERL_FLAGS",
            "ERL_AFLAGS",
            "ERL_ZFLAGS",
        ]
        .into_iter()
        .filter_map(|name| unit.variable(name))
        .any(|variable| {
            variable
                .value
                .as_deref()
                .is_none_or(|value| value.contains("-proto_dist"))
        });
        if !told {
            found.add(place, "rabbitmqctl is not told that nodes speak TLS");
        }
    }
}

fn old_tls(context: &Context<'_>, found: &mut Findings<'_>) {
    for (source, file) in files(context) {
        for setting in &file.settings {
            let versions = setting.key.iter().any(|part| part == "versions");
            if versions && matches!(setting.value.as_str(), "tlsv1" | "tlsv1.1" | "sslv3") {
                found.add(at(source, setting), format!("{} is broken", setting.value));
            }
        }
    }
}

fn clusters<'c>(context: &Context<'c>) -> impl Iterator<Item = &'c Object> {
    context
        .set
        .of_kind("RabbitmqCluster")
        .filter(|object| object.group() == "rabbitmq.com")
}

fn escalates(context: &Context<'_>, found: &mut Findings<'_>) {
    for cluster in clusters(context) {
        let Some(pod) = cluster.pod() else { continue };
        for node in pod.all() {
            for (key, value) in node.entries() {
                let name = key.as_str().unwrap_or_default();
                let on = value.as_bool() == Some(true);
                let host = name == "hostPath"
                    || on && matches!(name, "hostNetwork" | "hostPID" | "hostIPC" | "privileged");
                if host {
                    found.add(cluster.place(key), format!("{name} in an override"));
                }
            }
        }
    }
}

fn partitions(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let replicas = unit.replicas(context.set);
        for document in unit.documents(context.set) {
            let Content::RabbitMq(file) = &document.content else {
                continue;
            };
            let ignores = file
                .get(&["cluster_partition_handling"])
                .filter(|setting| setting.value == "ignore");
            if let Some(setting) = ignores.filter(|_| replicas > 1) {
                found.add(
                    at(document.source, setting),
                    format!("{replicas} nodes that ignore partitions"),
                );
            }
        }
    }
}

fn even(context: &Context<'_>, found: &mut Findings<'_>) {
    for cluster in clusters(context) {
        let replicas = cluster.node.path(&["spec", "replicas"]);
        let number = replicas.and_then(Node::as_int).unwrap_or(1);
        if let Some(node) = replicas.filter(|_| number > 0 && number % 2 == 0) {
            found.add(
                cluster.place(node),
                format!("{number} nodes bear no more failures than {}", number - 1),
            );
        }
    }
}
