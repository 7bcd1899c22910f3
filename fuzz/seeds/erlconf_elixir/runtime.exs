import Config
if config_env() == :prod do
  config :shop, Shop.Endpoint, url: [host: System.get_env("HOST") || raise("no"), port: 443], key: "a#{System.fetch_env!("K")}"
  config :libcluster, topologies: [k8s: [strategy: Cluster.Strategy.Gossip, config: %{"a" => ~w(b c)a}]]
end
