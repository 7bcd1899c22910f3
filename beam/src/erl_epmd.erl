%% Stands in OTP's place of the same name, so that a release in embedded mode is
%% guarded without an edit. Only that; what it is asked goes to skans_epmd.
%%
%% In embedded mode a module that the boot file does not name cannot be called
%% before the code server is told to load it, and distribution starts earlier
%% than anything that could tell it. But the boot file names erl_epmd, and the
%% loader looks for it in the directories given with -pa first. The alternative,
%% a boot file derived from the release's own, needs to be made again for each
%% version, by somebody who sees the release: an agent in a container of its own
%% does not.
-module(erl_epmd).

-export([start/0, start_link/0, stop/0, register_node/2, register_node/3, listen_port_please/2,
         address_please/3, port_please/2, port_please/3, names/0, names/1,
         open/0, open/1, open/2]).

start_link() ->
    case load([skans_env, skans_host, skans_agent, skans_cookie, skans_names, skans_epmd]) of
        ok -> skans_epmd:start_link();
        {error, _} = Error -> Error
    end.

register_node(Name, Port) -> skans_epmd:register_node(Name, Port).
register_node(Name, Port, Driver) -> skans_epmd:register_node(Name, Port, Driver).
listen_port_please(Name, Host) -> skans_epmd:listen_port_please(Name, Host).
address_please(Name, Host, Driver) -> skans_epmd:address_please(Name, Host, Driver).
port_please(Name, Host) -> skans_epmd:port_please(Name, Host).
port_please(Name, Host, Timeout) -> skans_epmd:port_please(Name, Host, Timeout).
names() -> skans_epmd:names().
names(Host) -> skans_epmd:names(Host).

%% What OTP exports besides, for itself alone.
start() -> {error, notsup}.
stop() -> {error, notsup}.
open() -> {error, notsup}.
open(_Address) -> {error, notsup}.
open(_Address, _Timeout) -> {error, notsup}.

%% load_file/1 works in embedded mode too; ensure_loaded/1 does not.
load([Module | Rest]) ->
    case erlang:module_loaded(Module) orelse code:load_file(Module) of
        true -> load(Rest);
        {module, Module} -> load(Rest);
        {error, Reason} -> {error, {Module, Reason}}
    end;
load([]) ->
    ok.
