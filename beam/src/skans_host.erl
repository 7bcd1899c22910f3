%% Which hosts are this one. Nothing of nodes or of the agent.
-module(skans_host).

-export([loopback/1, is_local/1, text/1]).

%% How long a name that nothing here knows may take to resolve.
-define(RESOLVE_MS, 1000).

-spec loopback(skans_env:family()) -> inet:ip_address().
loopback(inet) -> {127, 0, 0, 1};
loopback(inet6) -> {0, 0, 0, 0, 0, 0, 0, 1}.

%% A host as it stands in a node name.
-spec text(atom() | string() | inet:ip_address()) -> string().
text(Host) when is_atom(Host) -> atom_to_list(Host);
text(Host) when is_list(Host) -> Host;
text(Ip) when is_tuple(Ip) -> inet:ntoa(Ip).

%% Whether a name or address leads to this machine.
-spec is_local(atom() | string() | inet:ip_address()) -> boolean().
is_local({127, _, _, _}) ->
    true;
is_local({0, 0, 0, 0, 0, 0, 0, 1}) ->
    true;
is_local(Ip) when is_tuple(Ip) ->
    case inet:getifaddrs() of
        {ok, Interfaces} -> lists:any(fun({_, Opts}) -> lists:member({addr, Ip}, Opts) end,
                                      Interfaces);
        {error, _} -> false
    end;
is_local(Host) ->
    Text = text(Host),
    {ok, Own} = inet:gethostname(),
    OfNode = case string:split(atom_to_list(node()), "@") of
                 [_, H] -> H;
                 _ -> Own
             end,
    lists:member(Text, ["localhost", Own, OfNode]) orelse resolves_here(Text).

resolves_here(Host) ->
    lists:any(
        fun(Family) ->
            case inet:getaddr(Host, Family, ?RESOLVE_MS) of
                {ok, Ip} -> is_local(Ip);
                {error, _} -> false
            end
        end,
        [inet, inet6]).
