import Config

config :store, pool_size: 10

config :libcluster,
  topologies: [
    store: [
      strategy: Cluster.Strategy.Kubernetes.DNS,
      config: [service: "store-nodes", application_name: "store"]
    ]
  ]
