use crate::{Options, check};

/// How many findings of ERL012 there are, and the reasons of those that are allowed.
fn of(name: &str, text: &str) -> (usize, Vec<String>) {
    let checked = check(
        vec![(name.to_owned(), text.to_owned())],
        &Options::default(),
    );
    let left = checked
        .findings
        .iter()
        .filter(|finding| finding.rule.id == "ERL012")
        .count();
    let reasons = checked
        .allowed
        .into_iter()
        .map(|(_, reason)| reason)
        .collect();
    (left, reasons)
}

#[test]
fn a_finding_is_allowed_with_a_reason_where_it_stands() {
    let allowed = (0, vec!["only on loopback".to_owned()]);
    assert_eq!(
        of(
            "vm.args",
            "-name a@b # skans-lint: allow ERL012 only on loopback"
        ),
        allowed
    );
    assert_eq!(
        of(
            "vm.args",
            "# skans-lint: allow ERL001,erl012 only on loopback\n# more\n-name a@b"
        ),
        allowed
    );
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  # skans-lint: allow ERL012 only on loopback\n  vm.args: -name a@b\n";
    assert_eq!(of("a.yaml", map), allowed);
    let json = r#"{"apiVersion": "v1", "kind": "ConfigMap", "data": {"vm.args": "-name a@b"},
        "metadata": {"name": "a", "annotations": {"skans-lint/allow-ERL012": "only on loopback"}}}"#;
    assert_eq!(of("a.json", json), allowed);
}

#[test]
fn what_has_no_reason_or_names_another_rule_is_not_allowed() {
    for text in [
        "-name a@b # skans-lint: allow ERL012",
        "-name a@b # skans-lint: allow ERL001 because",
        "# skans-lint: allow ERL012 because\n-other\n-name a@b",
        "-name a@b\n# skans-lint: allow ERL012 because",
    ] {
        assert_eq!(of("vm.args", text), (1, vec![]), "{text}");
    }
}
