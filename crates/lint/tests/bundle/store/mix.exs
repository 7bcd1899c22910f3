defmodule Store.MixProject do
  use Mix.Project

  def project do
    [
      app: :store,
      version: "1.0.0",
      deps: [{:phoenix, "~> 1.7"}, {:libcluster, "~> 3.3"}],
      releases: [store: [include_executables_for: [:unix]]]
    ]
  end
end
