%% The cookie of this node: read from the file that the agent wrote, and put in
%% force. It never stands in the arguments or in the environment of a process,
%% where every user of the host could read it.
-module(skans_cookie).

-export([load/1, enforce/1]).

-include_lib("kernel/include/file.hrl").

%% A cookie is an atom.
-define(MAX_BYTES, 255).

%% Makes the agent's cookie for `Alive` (the name before the @) this node's own,
%% whatever -setcookie, ~/.erlang.cookie or the application said before. To be
%% called when the process `auth` runs: in register_node, which comes before the
%% node has its name and accepts anybody, and from time to time after.
-spec enforce(Alive :: string()) -> ok | {error, skans_env:text()}.
enforce(Alive) ->
    case load(Alive) of
        {ok, Cookie} ->
            %% `auth` ends before the server of skans_epmd does.
            try set(Cookie)
            catch _:_ -> {error, "distribution is not running"}
            end;
        {error, _} = Error ->
            Error
    end.

set(Cookie) ->
    true = auth:set_cookie(Cookie),
    %% `-setcookie NODE COOKIE` would win for that peer, and, where NODE is this
    %% node, replace our own a moment later (auth:sync_cookie/0).
    lists:foreach(fun(Node) -> true = auth:set_cookie(Node, Cookie) end, named_nodes()).

%% `<dir>/<alive>.cookie` is there for each node that the agent was told of. Any
%% other node is a passing one (rabbitmqctl, a remote shell), and those share a
%% file, which lies in a directory of its own so that C tools find it with HOME.
-spec load(Alive :: string()) -> {ok, atom()} | {error, skans_env:text()}.
load(Alive) ->
    case skans_env:cookies() of
        {ok, Dir} ->
            Own = filename:join(Dir, Alive ++ ".cookie"),
            Shared = filename:join([Dir, "cli", ".erlang.cookie"]),
            case read(Own) of
                {error, enoent} ->
                    case read(Shared) of
                        {error, enoent} -> {error, "no cookie: neither " ++ Own ++ " nor " ++
                                                       Shared ++ " exists"};
                        Other -> explain(Shared, Other)
                    end;
                Other ->
                    explain(Own, Other)
            end;
        {error, _} = Error ->
            Error
    end.

%% prim_file, because the file server starts after distribution.
read(Path) ->
    case prim_file:read_file_info(Path) of
        {ok, #file_info{type = Type}} when Type =/= regular ->
            {error, "is not a regular file"};
        {ok, #file_info{mode = Mode}} when Mode band 8#037 =/= 0 ->
            {error, "may be used by others: wanted mode 0400, or 0440 for a group of the node's"};
        {ok, #file_info{size = Size}} when Size > ?MAX_BYTES + 2 ->
            {error, "is too long for a cookie"};
        {ok, _} ->
            case prim_file:read_file(Path) of
                {ok, Bytes} -> cookie(Bytes);
                {error, _} = Error -> Error
            end;
        {error, _} = Error ->
            Error
    end.

cookie(Bytes) ->
    Text = lists:reverse(lists:dropwhile(fun(C) -> lists:member(C, "\r\n ") end,
                                         lists:reverse(binary_to_list(Bytes)))),
    Printable = lists:all(fun(C) -> C >= $\s andalso C =< $~ end, Text),
    case Text of
        [_ | _] when Printable, length(Text) =< ?MAX_BYTES -> {ok, list_to_atom(Text)};
        _ -> {error, "holds no cookie: wanted 1 to 255 printable characters"}
    end.

explain(_Path, {ok, Cookie}) ->
    {ok, Cookie};
explain(Path, {error, Reason}) when is_atom(Reason) ->
    {error, "cannot read the cookie file " ++ Path ++ ": " ++ atom_to_list(Reason)};
explain(Path, {error, Text}) ->
    {error, "the cookie file " ++ Path ++ " " ++ Text}.

named_nodes() ->
    case init:get_argument(setcookie) of
        {ok, Uses} -> [list_to_atom(Node) || [Node, _Cookie] <- Uses];
        error -> []
    end.
