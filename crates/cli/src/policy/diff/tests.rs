use skans_policy::{File, Version};

use super::*;

fn set(text: &str, mode: Mode) -> Source {
    Source {
        mode,
        policies: vec![File {
            name: "shop.cedar".into(),
            text: text.into(),
        }],
        ..Source::nothing(Version::default())
    }
}

#[test]
fn what_differs_is_shown_and_nothing_else() {
    let one = set("a\nb\nc\nd\n", Mode::Enforce);
    assert_eq!(changes(&one, &one), []);
    let other = set("a\nx\nc\nd\ne\n", Mode::DryRun { until: 86_400 });
    let found = changes(&one, &other);
    let files: Vec<_> = found.iter().map(|one| one.file.as_str()).collect();
    assert_eq!(files, ["set.yaml", "shop.cedar"]);
    assert_eq!(found[1].lines, [" a", "-b", "+x", " c", " d", "+e"]);
    assert!(found[0].lines.contains(&"-mode: enforce".to_owned()));
}
