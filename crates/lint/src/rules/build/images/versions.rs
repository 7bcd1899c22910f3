//! Which images: pinned or not, supported or not.

use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::rules::build::{dockerfiles, split};
use crate::source::Place;

pub(in crate::rules::build) const RULES: &[Rule] = &[
    rule!(
        IMG001,
        "image-not-pinned",
        High,
        All,
        not_pinned,
        "An image is named by a tag.",
        "Tomorrow the same tag is another image: nodes of one cluster run different code, and whoever may push to the registry runs theirs.",
        "The digest: `registry.example/shop:1.0.0@sha256:...`."
    ),
    rule!(
        VER001,
        "eol-version",
        High,
        All,
        old,
        "A release that is not supported any more (November 2026).",
        "What is found in it is not mended.",
        "A release that is."
    ),
];

/// The oldest release of an image that gets security fixes, November 2026: major and minor.
const OLDEST: &[(&str, u32, u32)] = &[
    ("erlang", 27, 0),
    ("elixir", 1, 15),
    ("alpine", 3, 21),
    ("debian", 12, 0),
    ("rabbitmq", 4, 0),
    ("emqx", 5, 8),
    ("postgres", 14, 0),
    ("cert-manager-controller", 1, 18),
    ("cert-manager-webhook", 1, 18),
    ("cert-manager-cainjector", 1, 18),
];

/// Images of workloads and Dockerfiles, with their places.
fn images<'c>(context: &Context<'c>) -> Vec<(Place, &'c str)> {
    let of_objects = context.set.workloads().flat_map(|workload: &Object| {
        workload
            .containers()
            .into_iter()
            .filter_map(move |container| {
                let image = container.image()?;
                Some((workload.place(image), image.as_str()?))
            })
    });
    let mut all: Vec<(Place, &str)> = of_objects.collect();
    for file in dockerfiles(context) {
        let stages = file.stages();
        for stage in &stages {
            if !stage.is_derived(&stages) {
                all.push((file.place(stage.from), stage.image));
            }
        }
    }
    all.retain(|(_, image)| !image.contains(['$', '{']) && !image.is_empty());
    all
}

fn not_pinned(context: &Context<'_>, found: &mut Findings<'_>) {
    for (place, image) in images(context) {
        if !image.contains("@sha256:") {
            found.add(place, format!("{image} has no digest"));
        }
    }
}

fn old(context: &Context<'_>, found: &mut Findings<'_>) {
    for (place, image) in images(context) {
        let (repository, tag) = split(image);
        let name = repository.rsplit('/').next().unwrap_or(repository);
        let Some((_, major, minor)) = OLDEST.iter().find(|(known, ..)| *known == name) else {
            continue;
        };
        let tag = tag.unwrap_or_default().trim_start_matches('v');
        let mut numbers = tag
            .split(['.', '-'])
            .map_while(|part| part.parse::<u32>().ok());
        let Some(found_major) = numbers.next() else {
            continue;
        };
        // `3` alone means the newest 3.
        let found_minor = numbers.next().unwrap_or(u32::MAX);
        if (found_major, found_minor) < (*major, *minor) {
            let oldest = if *minor == 0 {
                format!("{major}")
            } else {
                format!("{major}.{minor}")
            };
            found.add(
                place,
                format!("{name} {tag}: the oldest one that is supported is {oldest}"),
            );
        }
    }
}
