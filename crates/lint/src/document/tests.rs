use super::{Content, Script, Shell, Terms, is_interesting, read};
use crate::source::Sources;

fn kind(name: &str, text: &str) -> String {
    let mut sources = Sources::default();
    let source = sources.add(name, text.to_owned());
    match read(&sources, source, name, &mut Vec::new()) {
        Err(_) => "yaml",
        Ok(Content::VmArgs(_)) => "flags",
        Ok(Content::Terms(Terms::Config, _)) => "config",
        Ok(Content::Terms(Terms::TlsOptions, _)) => "tls",
        Ok(Content::Terms(Terms::Rebar, _)) => "rebar",
        Ok(Content::Terms(Terms::Other, _)) => "terms",
        Ok(Content::Elixir(Script::Runtime, _)) => "runtime",
        Ok(Content::Elixir(Script::Config, _)) => "elixir",
        Ok(Content::Elixir(Script::Mix, _)) => "mix",
        Ok(Content::Shell(Shell::Environment, _)) => "environment",
        Ok(Content::Shell(Shell::Script, _)) => "script",
        Ok(Content::RabbitMq(_)) => "rabbitmq",
        Ok(Content::Emqx(_)) => "emqx",
        Ok(Content::Dockerfile(_)) => "dockerfile",
        Ok(Content::Yaml(_)) => "yaml",
        Ok(Content::Other) => "other",
    }
    .to_owned()
}

#[test]
fn names_say_what_a_text_is() {
    for (name, text, wanted) in [
        ("rel/vm.args.eex", "-x", "flags"),
        ("config/dev.vm.args", "-x", "flags"),
        ("sys.config", "[{a, []}].", "config"),
        ("sys.config.src", "[{a, [{b, ${B}}]}].", "config"),
        ("advanced.config", "[].", "config"),
        ("ssl_dist.conf", "[{server, []}, {client, []}].", "tls"),
        ("nginx.conf", "server { listen 80; }", "other"),
        ("rebar.config", "{deps, []}. {relx, []}.", "rebar"),
        ("ebin/a.app", "{application, a, []}.", "terms"),
        ("config/runtime.exs", "import Config", "runtime"),
        ("config/prod.exs", "import Config", "elixir"),
        ("mix.exs", "", "mix"),
        ("rel/env.sh.eex", "A=b", "environment"),
        ("ejabberdctl.cfg", "A=b", "environment"),
        ("deploy.sh", "a", "script"),
        ("rabbitmq.conf", "a = b", "rabbitmq"),
        ("conf.d/10-x.conf", "a = b", "rabbitmq"),
        ("emqx.conf", "node { name = a }", "emqx"),
        ("Dockerfile.prod", "FROM a", "dockerfile"),
        ("a.yml", "a: 1", "yaml"),
    ] {
        assert_eq!(kind(name, text), wanted, "{name}");
        assert!(is_interesting(name));
    }
    assert!(!is_interesting("src/a.erl") && !is_interesting("README.md"));
}

#[test]
fn what_has_no_telling_name_is_known_by_its_content() {
    for (text, wanted) in [
        ("-name a@b\n+S 2\n", "flags"),
        ("%% c\n[{kernel, []}].\n", "config"),
        ("[{server, [{verify, verify_peer}]}].", "tls"),
        ("apiVersion: v1\n", "yaml"),
        ("---\na: 1\n", "yaml"),
        ("{\"apiVersion\": \"v1\"}", "yaml"),
        ("#!/bin/sh\nx\n", "script"),
        ("FROM a\n", "dockerfile"),
        ("import Config\n", "elixir"),
        ("hello\n", "other"),
        ("", "other"),
    ] {
        assert_eq!(kind("<stdin>", text), wanted, "{text}");
    }
}

#[test]
fn lines_that_are_tags_of_a_template_are_no_values() {
    let text = "-setcookie ${COOKIE}\n{{flags}}\n{{#tls}}\n-proto_dist inet_tls\n{{/tls}}\n-sname {{name}}\n";
    let mut sources = Sources::default();
    let source = sources.add("vm.args", text.to_owned());
    let Ok(Content::VmArgs(words)) = read(&sources, source, "vm.args", &mut Vec::new()) else {
        panic!("flags were wanted");
    };
    let words: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
    assert_eq!(
        words,
        [
            "-setcookie",
            "${COOKIE}",
            "-proto_dist",
            "inet_tls",
            "-sname",
            "{{name}}"
        ]
    );
}
