use crate::document::{Content, Terms};
use crate::set::Set;
use crate::source::Place;
use skans_erlconf::Span;

fn set(files: &[(&str, &str)]) -> Set {
    Set::read(
        files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect(),
    )
}

const MAP: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: erl
data:
  vm.args: |
    -name a@b
    +S 4:4
  ssl.conf: '[{server, [{verify, verify_peer}]}].'
  notes: hello
";

#[test]
fn files_in_config_maps_are_read_and_placed() {
    let set = set(&[("k8s/cm.yaml", MAP)]);
    assert_eq!(set.objects.len(), 1);
    let vm_args = set.document(set.file_in(0, "vm.args").unwrap()).unwrap();
    let Content::VmArgs(words) = &vm_args.content else {
        panic!()
    };
    let place = Place {
        source: vm_args.source,
        span: words[3].span,
    };
    assert_eq!(set.sources.at(place), "4:4");
    let location = set.sources.location(place);
    assert_eq!(
        (location.file, location.line, location.column),
        ("k8s/cm.yaml", 8, 8)
    );
    assert_eq!(location.within, Some(("ConfigMap erl, vm.args", 2, 4)));
    assert_eq!(set.sources.at(set.sources.in_file(place)), "4:4");
    let options = set.document(set.file_in(0, "ssl.conf").unwrap()).unwrap();
    assert!(matches!(
        options.content,
        Content::Terms(Terms::TlsOptions, _)
    ));
}

#[test]
fn lists_hold_objects() {
    let text = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "n"}},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "b"}}]}"#;
    let set = set(&[("list.json", text)]);
    let titles: Vec<_> = set
        .objects
        .iter()
        .map(crate::kubernetes::Object::title)
        .collect();
    assert_eq!(titles, ["Service n/a", "StatefulSet b"]);
}

#[test]
fn what_cannot_be_read_is_said() {
    let set = set(&[
        ("sys.config", "[{kernel, [}]."),
        ("chart/templates/a.yaml", "a: {{ .Values.x }}\n  b: c\n"),
        ("a.yaml", "a: [\n"),
        ("Makefile", "x"),
    ]);
    let broken: Vec<_> = set
        .unread
        .iter()
        .map(|unread| (set.sources.location(unread.place).file, unread.broken))
        .collect();
    assert_eq!(
        broken,
        [
            ("sys.config", true),
            ("chart/templates/a.yaml", false),
            ("a.yaml", true)
        ]
    );
    assert_eq!(set.unread[0].place.span, Span::new(11, 12));
}
