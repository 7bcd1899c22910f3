%% What the environment tells a node: where its agent is, where the cookies
%% are, how long to wait. Nothing here opens a file or a socket.
%%
%% The environment, because it is the only place that a stock release, a stock
%% image and the tools that come with them all read without an edit.
-module(skans_env).

-export([agent/1, carrier/0, cookies/0, wait/0]).

-export_type([family/0, text/0]).

-type family() :: inet | inet6.
-type text() :: string().

%% The port that the agent shares with epmd, so that what speaks plain epmd
%% (C nodes, rabbitmq's listener check) finds the agent without being told.
-define(EPMD_PORT, 4369).

%% Ten seconds cover an agent that starts beside its node, as in a pod, and are
%% well below what supervisors grant a start (systemd: 90 s). Without a bound, a
%% node without an agent would look as if it hung.
-define(WAIT_S, 10).
-define(WAIT_MAX_S, 600).

%% Address and port of the agent. Only loopback is accepted: what is said there
%% is not encrypted, and whoever answers decides where this node connects to.
-spec agent(family()) -> {ok, {inet:ip_address(), inet:port_number()}} | {error, text()}.
agent(Family) ->
    case {address(os:getenv("ERL_EPMD_ADDRESS"), Family), port(os:getenv("ERL_EPMD_PORT"))} of
        {{ok, Ip}, {ok, Port}} -> {ok, {Ip, Port}};
        {{error, _} = Error, _} -> Error;
        {_, {error, _} = Error} -> Error
    end.

%% The family that distribution runs over, where the caller does not say.
-spec carrier() -> family().
carrier() ->
    case init:get_argument(proto_dist) of
        {ok, [["inet6" ++ _ | _] | _]} -> inet6;
        _ -> inet
    end.

%% The directory with the cookie files.
-spec cookies() -> {ok, file:filename()} | {error, text()}.
cookies() ->
    case os:getenv("SKANS_COOKIES") of
        Unset when Unset =:= false; Unset =:= "" ->
            {error, "SKANS_COOKIES is not set: wanted the directory where the agent keeps the "
                    "cookie files"};
        Dir ->
            {ok, Dir}
    end.

%% How long a starting node waits for its agent, in milliseconds.
-spec wait() -> {ok, non_neg_integer()} | {error, text()}.
wait() ->
    case os:getenv("SKANS_WAIT") of
        Unset when Unset =:= false; Unset =:= "" -> {ok, ?WAIT_S * 1000};
        Text -> bounded("SKANS_WAIT", Text, 0, ?WAIT_MAX_S, 1000)
    end.

address(Unset, inet) when Unset =:= false; Unset =:= "" ->
    {ok, {127, 0, 0, 1}};
address(Unset, inet6) when Unset =:= false; Unset =:= "" ->
    {ok, {0, 0, 0, 0, 0, 0, 0, 1}};
address(List, _Family) ->
    [First | _] = string:split(List, ","),
    case inet:parse_address(string:trim(First)) of
        {ok, {127, _, _, _} = Ip} -> {ok, Ip};
        {ok, {0, 0, 0, 0, 0, 0, 0, 1} = Ip} -> {ok, Ip};
        _ -> {error, "ERL_EPMD_ADDRESS is '" ++ List ++ "': wanted a loopback address first"}
    end.

port(Unset) when Unset =:= false; Unset =:= "" -> {ok, ?EPMD_PORT};
port(Text) -> bounded("ERL_EPMD_PORT", Text, 1, 65535, 1).

bounded(Key, Text, Min, Max, Unit) ->
    case string:to_integer(Text) of
        {N, ""} when N >= Min, N =< Max ->
            {ok, N * Unit};
        _ ->
            {error, Key ++ " is '" ++ Text ++ "': wanted a number from " ++
                integer_to_list(Min) ++ " to " ++ integer_to_list(Max)}
    end.
