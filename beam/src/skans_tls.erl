%% For a node that speaks TLS itself (`mode: native`): who may be at the other
%% end, and that a new certificate is used as soon as the agent has written it.
%% The option file that the agent writes names both.
%%
%% start/1 runs while ssl reads that file: before the logger, the file server
%% and distribution itself.
-module(skans_tls).

-include_lib("kernel/include/file.hrl").

-export([start/1, verify/3]).

%% Between two looks. Two system calls a second are not to be noticed; ssl itself
%% looks every two minutes.
-define(LOOK_MS, 1000).

%% How long ssl may take to forget what it read.
-define(FORGET_MS, 5000).

%% Subject alternative name (RFC 5280, 4.2.1.6).
-define(ALTERNATIVE_NAME, {2, 5, 29, 17}).

%% Looks after these files from now on.
-spec start([file:filename()]) -> ok.
start(Files) ->
    _ = spawn(fun() -> watch(Files, marks(Files)) end),
    ok.

watch(Files, Last) ->
    receive after ?LOOK_MS -> ok end,
    case marks(Files) of
        Last -> watch(Files, Last);
        New ->
            case forget() of
                ok -> watch(Files, New);
                %% Again at the next look: until ssl is up, or for ever with an
                %% ssl that has no such cache, which then looks by itself.
                _ -> watch(Files, Last)
            end
    end.

marks(Files) ->
    [case file:read_file_info(File, [raw, {time, posix}]) of
         {ok, #file_info{inode = Inode, size = Size, mtime = Time}} -> {Inode, Size, Time};
         Error -> Error
     end || File <- Files].

%% What ssl:clear_pem_cache/0 does, for distribution: that function leaves the
%% cache of distribution alone. Roots are read anew as well.
forget() ->
    try gen_server:call(ssl_pem_cache_dist, {unconditionally_clear_pem_cache, self()}, ?FORGET_MS)
    catch _:_ -> error
    end.

%% Every certificate of the trust domain is good for TLS; only a node's is good
%% for a node. Prefix is "spiffe://<trust domain>/cluster/<cluster>/".
verify(_Cert, {bad_cert, Reason}, _Prefix) ->
    {fail, Reason};
verify(_Cert, {extension, _Extension}, Prefix) ->
    {unknown, Prefix};
verify(_Cert, valid, Prefix) ->
    {valid, Prefix};
verify(Cert, valid_peer, Prefix) ->
    case uris(Cert) of
        [Id] ->
            case lists:prefix(Prefix, Id) of
                true -> {valid, Prefix};
                false -> {fail, {not_a_node_of, Prefix}}
            end;
        _ ->
            {fail, {not_a_node_of, Prefix}}
    end.

%% 'OTPCertificate' and its parts, by position: the records are in a header of
%% public_key, which a stock release need not have.
uris(Cert) ->
    Extensions = element(11, element(2, Cert)),
    Names = [Value || {'Extension', ?ALTERNATIVE_NAME, _Critical, Value} <- list(Extensions)],
    [Uri || {uniformResourceIdentifier, Uri} <- lists:append(Names)].

list(Extensions) when is_list(Extensions) -> Extensions;
list(_) -> [].
