import Config

config :store, pool_size: 10
