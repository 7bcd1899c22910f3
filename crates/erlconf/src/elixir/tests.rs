use proptest::prelude::*;

use super::{Expr, File, Kind, parse};

fn read(text: &str) -> File {
    let file = parse(text).unwrap();
    assert!(file.skipped.is_empty(), "{:?}", file.skipped);
    file
}

fn only(text: &str) -> Expr {
    let mut body = read(text).body;
    assert_eq!(body.len(), 1, "{body:?}");
    body.remove(0)
}

#[test]
fn an_ordinary_runtime_exs_is_read() {
    let text = r#"
import Config

# The cluster.
config :libcluster,
  topologies: [
    k8s: [
      strategy: Cluster.Strategy.Kubernetes.DNS,
      config: [service: "shop-headless", application_name: "shop", polling_interval: 5_000]
    ]
  ]

if config_env() == :prod do
  secret =
    System.get_env("SECRET_KEY_BASE") ||
      raise """
      environment variable SECRET_KEY_BASE is missing.
      """

  host = System.get_env("PHX_HOST") || "example.com"

  config :shop, ShopWeb.Endpoint,
    url: [host: host, port: 443, scheme: "https"],
    http: [ip: {0, 0, 0, 0, 0, 0, 0, 0}, port: String.to_integer(System.get_env("PORT", "4000"))],
    secret_key_base: secret

  config :shop, :cookie, System.fetch_env!("COOKIE") |> String.to_atom()
  config :kernel, inet_dist_listen_min: 9100, inet_dist_listen_max: 9105
end
"#;
    let file = read(text);
    let settings = file.settings();
    let keys: Vec<_> = settings
        .iter()
        .map(|setting| (setting.app, setting.key().unwrap(), setting.conditional))
        .collect();
    assert_eq!(
        keys,
        [
            ("libcluster", "topologies", false),
            ("shop", "url", true),
            ("shop", "http", true),
            ("shop", "secret_key_base", true),
            ("shop", "cookie", true),
            ("kernel", "inet_dist_listen_min", true),
            ("kernel", "inet_dist_listen_max", true),
        ]
    );
    assert!(settings[1].is("shop", &["ShopWeb.Endpoint", "url"]));
    let config = settings[0]
        .value
        .get("k8s")
        .and_then(|k8s| k8s.get("config"))
        .unwrap();
    assert_eq!(
        config.get("polling_interval").unwrap().kind,
        Kind::Integer(5000)
    );
    let cookie = settings[4].value.from_environment().unwrap();
    assert!(cookie.required);
    assert_eq!(cookie.name, "COOKIE");
    let port = settings[2]
        .value
        .get("port")
        .unwrap()
        .from_environment()
        .unwrap();
    assert_eq!(port.default.and_then(Expr::text), Some("4000"));
    assert_eq!(settings[5].value.span.text(text), "9100");
    assert_eq!(file.comments[0].text(text), "# The cluster.");
}

#[test]
fn a_mix_exs_is_read() {
    let text = r#"
defmodule Shop.MixProject do
  use Mix.Project

  def project do
    [
      app: :shop,
      releases: [shop: [cookie: "not-a-secret", include_executables_for: [:unix], steps: [:assemble, :tar]]],
      deps: deps()
    ]
  end

  def application, do: [mod: {Shop.Application, []}, extra_applications: [:logger, :runtime_tools]]
  defp deps, do: [{:libcluster, "~> 3.3"}, {:phoenix, ">= 1.7.0", only: [:dev, :test]}]
end
"#;
    let file = read(text);
    let cookies: Vec<_> = file
        .all()
        .filter_map(|expr| expr.get("cookie")?.text())
        .collect();
    assert_eq!(cookies, ["not-a-secret"]);
    assert!(
        file.all()
            .any(|expr| expr.get("extra_applications").is_some())
    );
}

#[test]
fn literals_are_what_they_are() {
    assert_eq!(only(":\"a b\"").kind, Kind::Atom("a b".to_owned()));
    assert_eq!(only("0x1F").kind, Kind::Integer(31));
    assert_eq!(only("-5").kind, Kind::Integer(-5));
    assert_eq!(only("?a").kind, Kind::Integer(97));
    assert_eq!(only("1.5e3").kind, Kind::Float(1500.0));
    assert_eq!(only("~c\"abc\"").text(), Some("abc"));
    assert_eq!(only("'abc'").kind, Kind::Charlist("abc".to_owned()));
    assert_eq!(only("Shop.Web").text(), Some("Shop.Web"));
    assert_eq!(only("\"a\\nb\"").text(), Some("a\nb"));
    let Kind::List(words) = only("~w(a b)a").kind else {
        panic!()
    };
    assert!(words[1].is_atom("b"));
    assert_eq!(
        only("%{\"a\" => 1, b: 2}").get("a").unwrap().kind,
        Kind::Integer(1)
    );
    assert_eq!(only("[{:a, 1}]").get("a").unwrap().kind, Kind::Integer(1));
    assert_eq!(only("\"\"\"\n  a\n   b\n  \"\"\"").text(), Some("a\n b\n"));
}

#[test]
fn what_is_interpolated_is_found() {
    let value = only(r#""app@#{System.get_env("HOST")}""#);
    assert_eq!(value.from_environment().unwrap().name, "HOST");
    assert_eq!(value.text(), None);
    let Kind::String { text, .. } = &value.kind else {
        panic!()
    };
    assert_eq!(text, r#"app@#{System.get_env("HOST")}"#);
}

#[test]
fn calls_are_found_with_their_arguments() {
    let file = read(
        "Node.start(:\"a@b\", :longnames)\n:net_kernel.start([:a, :shortnames])\nx |> Node.set_cookie(:c)",
    );
    assert_eq!(file.calls("Node.start").count(), 1);
    assert_eq!(file.calls(":net_kernel.start").count(), 1);
    assert_eq!(file.calls("Node.set_cookie").count(), 1);
}

#[test]
fn what_is_not_understood_is_skipped_and_said() {
    let text = "config :a, b: 1\n§§§ what\nconfig :c, d: 2\n";
    let file = parse(text).unwrap();
    assert_eq!(file.settings().len(), 2);
    assert!(!file.skipped.is_empty());
    let text = "config :a, b: 1\nx = \"never closed\nconfig :c, d: 2\n";
    let file = parse(text).unwrap();
    assert_eq!((file.settings().len(), file.skipped.len()), (1, 1));
    let text = "if a do\n  ) ) (\n  config :a, b: 1\nend\nconfig :c, d: 2";
    assert_eq!(parse(text).unwrap().settings().len(), 2);
}

#[test]
fn long_and_deep_texts_end_soon() {
    for text in [
        "[", "\"#{", "a.b", "f(", "if a do ", "%{a => ", "x |> ", "fn -> ", "\"\"\"\n", "~s(", "a[",
    ] {
        drop(parse(&text.repeat(30_000)));
    }
}

proptest! {
    #[test]
    fn any_text_is_read(text in "\\PC{0,80}") {
        drop(parse(&text));
    }

    #[test]
    fn elixir_like_text_is_read(text in "(config :a, |do|end|fn| -> |\n|\"|#\\{|\\}|\\[|\\]|%\\{|=>|a: |B|\\.|\\(|\\)|, |@x |~w|:c| \\|> |if |else|<<|>>|1|-|'''){0,30}") {
        let file = parse(&text).unwrap();
        for expr in file.all() {
            prop_assert!(expr.span.end <= text.len() && expr.span.start <= expr.span.end);
        }
    }
}
