{application, skans,
 [{description, "Points an Erlang node at the Skans agent of its host"},
  {vsn, "0.1.0"},
  {modules, [erl_epmd, skans_agent, skans_cookie, skans_env, skans_epmd, skans_host, skans_names,
            skans_tls]},
  {registered, [skans_epmd]},
  {applications, [kernel, stdlib]},
  {licenses, ["Apache-2.0"]}]}.
