%% What the tests have real nodes do. Loaded from source by each node: it runs on any OTP from 25 on.
-module(probe).
-behaviour(gen_server).
-export([serve/0, rich/0, random/2, same/2, sink/0, drive/1, hold/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% Answers requests on standard input, each behind a length of four bytes, until that is closed.
serve() ->
    Port = open_port({fd, 0, 1}, [binary, eof, {packet, 4}]),
    loop(Port).

loop(Port) ->
    receive
        {Port, {data, <<Kind, Body/binary>>}} ->
            Reply = try answer(Kind, Body)
                    catch Class:Reason:Stack ->
                        <<"error ", (text({Class, Reason, Stack}))/binary>>
                    end,
            port_command(Port, Reply),
            loop(Port);
        {Port, eof} ->
            halt()
    end.

%% A term there and back.
answer($t, Bytes) ->
    <<"ok ", (term_to_binary(binary_to_term(Bytes)))/binary>>;
%% Two encodings of one term?
answer($=, <<Size:32, A:Size/binary, B/binary>>) ->
    <<"ok ", (text(same(binary_to_term(A), binary_to_term(B))))/binary>>;
%% An expression; its value as text, or as it is if it is a binary.
answer($e, Text) ->
    {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Text)),
    {ok, Expressions} = erl_parse:parse_exprs(Tokens),
    {value, Value, _} = erl_eval:exprs(Expressions, []),
    Shown = if is_binary(Value) -> Value; true -> text(Value) end,
    <<"ok ", Shown/binary>>.

text(Term) ->
    unicode:characters_to_binary(io_lib:format("~0tp", [Term])).

same(A, B) -> A =:= B.

%% Something of everything, and the edges of each.
rich() ->
    Atoms = ['', ok, 'å', '原子', list_to_atom(lists:duplicate(255, $a)), list_to_atom(lists:duplicate(255, $å)),
             list_to_atom(lists:duplicate(255, 16#1F600))],
    Powers = [1 bsl N || N <- [7, 8, 27, 28, 31, 32, 59, 60, 63, 64, 255 * 8, 255 * 8 + 1, 70000]],
    Integers = lists:append([[N - 1, N, -N, -N - 1] || N <- [0, 1 | Powers]]),
    Floats = [0.0, 1.5, -1.0e308, 2.2250738585072014e-308, 5.0e-324, 1.7976931348623157e308],
    Binaries = [<<>>, <<1>>, <<0:65536/unit:8>>, <<5:3>>, <<1, 2, 3:7>>, <<0:1>>],
    Lists = [[], [a], "text", lists:seq(0, 255), lists:duplicate(65535, $x), lists:duplicate(65536, $x), [1 | 2],
             [a, b | c], [256], lists:seq(1, 300)],
    Tuples = [{}, {a}, list_to_tuple(lists:seq(1, 255)), list_to_tuple(lists:seq(1, 256))],
    Maps = [#{}, #{a => 1}, #{{1} => [], 1.0 => a, 1 => b}, maps:from_list([{N, N} || N <- lists:seq(1, 100)])],
    X = {free, self()},
    Funs = [fun lists:map/2, fun() -> ok end, fun(Y) -> {X, Y} end, fun probe:no_such_function/255],
    Local = [self(), make_ref(), alias(), hd(erlang:ports())],
    Others = [binary_to_term(<<131, 88, 119, 3, "a@b", 1:32, 2:32, 3:32>>),
              binary_to_term(<<131, 89, 119, 3, "a@b", 1:32, 3:32>>),
              binary_to_term(<<131, 120, 119, 3, "a@b", 1:64, 3:32>>),
              binary_to_term(<<131, 120, 119, 3, "a@b", -1:64, 3:32>>),
              binary_to_term(<<131, 90, 1:16, 119, 3, "a@b", 3:32, 7:32>>),
              binary_to_term(<<131, 90, 5:16, 119, 3, "a@b", 3:32, 7:32, 8:32, 9:32, 10:32, 11:32>>)],
    All = lists:append([Atoms, Integers, Floats, Binaries, Lists, Tuples, Maps, Funs, Local, Others]),
    [All, {deep, lists:foldl(fun(_, Acc) -> [Acc] end, [], lists:seq(1, 150))} | All].

%% Random terms, the same ones for the same seed.
random(Seed, Count) ->
    rand:seed(exsss, Seed),
    [term(5) || _ <- lists:seq(1, Count)].

term(Depth) ->
    Leaves = 9,
    case rand:uniform(case Depth of 0 -> Leaves; _ -> Leaves + 6 end) of
        1 -> rand:uniform(1000) - 500;
        2 -> (rand:uniform(1 bsl rand:uniform(200)) - 1) * (2 * rand:uniform(2) - 3);
        3 -> (rand:uniform() - 0.5) * math:pow(10, rand:uniform(600) - 300);
        4 -> list_to_atom([rand:uniform(500) + 31 || _ <- lists:seq(1, rand:uniform(40))]);
        5 -> crypto_free_bytes(rand:uniform(60) - 1);
        6 -> <<(rand:uniform(1 bsl 20)):(rand:uniform(40))>>;
        7 -> self();
        8 -> make_ref();
        9 -> [rand:uniform(256) - 1 || _ <- lists:seq(1, rand:uniform(20))];
        10 -> list_to_tuple(several(Depth));
        11 -> several(Depth);
        12 -> several(Depth) ++ term(Depth - 1);
        13 -> maps:from_list([{term(Depth - 1), V} || V <- several(Depth)]);
        14 -> X = term(Depth - 1), fun(Y) -> {X, Y} end;
        15 -> fun lists:foldl/3
    end.

several(Depth) ->
    [term(Depth - 1) || _ <- lists:seq(1, rand:uniform(6) - 1)].

crypto_free_bytes(N) ->
    << <<(rand:uniform(256) - 1)>> || _ <- lists:seq(1, N) >>.

%% A process that counts what it gets.
sink() ->
    register(sink, spawn(fun() -> count(0) end)).

count(N) ->
    receive
        {how_many, From} -> From ! {sink, N}, count(N);
        {back, To, Message} -> To ! Message, count(N + 1);
        _ -> count(N + 1)
    end.

hold() ->
    receive stop -> ok; {exit, Reason} -> exit(Reason) end.

init(State) -> {ok, State}.
handle_call({echo, Term}, _From, State) -> {reply, Term, State}.
handle_cast(_, State) -> {noreply, State}.
handle_info(_, State) -> {noreply, State}.

%% Everything that two nodes do with each other. `sink` and `probe_server` run on the other node, `sink` here, too.
drive(Other) ->
    %% Sent before there is a connection: this is what sets it up.
    {sink, Other} ! {large, binary:copy(<<7>>, 300000)},
    pong = net_adm:ping(Other),
    process_flag(trap_exit, true),
    calls(Other),
    processes(Other),
    names(Other),
    traffic(Other),
    {sink, Other} ! {how_many, self()},
    receive {sink, N} -> N after 20000 -> error(sink_is_silent) end.

calls(Other) ->
    3 = rpc:block_call(Other, erlang, '+', [1, 2]),
    ok = rpc:block_call(Other, io, format, ["", []]),
    %% Without remote spawn there is no erpc, and no rpc on top of it; the rest must still work.
    case catch erpc:call(Other, erlang, node, []) of
        Other ->
            ok = erpc:cast(Other, erlang, now, []),
            [{ok, Other}] = erpc:multicall([Other], erlang, node, []),
            3 = rpc:call(Other, erlang, '+', [1, 2]),
            {badrpc, {'EXIT', _}} = rpc:call(Other, erlang, error, [badarg]),
            true = rpc:cast(Other, erlang, now, []);
        {'EXIT', {{erpc, notsup}, _}} ->
            {badrpc, notsup} = rpc:call(Other, erlang, '+', [1, 2])
    end,
    Echo = {rich_enough, [1.5, <<5:3>>, #{a => "text"}, fun lists:map/2, make_ref(), 1 bsl 100]},
    Echo = gen_server:call({probe_server, Other}, {echo, Echo}),
    ok = gen_server:cast({probe_server, Other}, anything),
    {'EXIT', {noproc, _}} = (catch gen_server:call({no_such_server, Other}, hello)),
    {'EXIT', {timeout, _}} = (catch gen_server:call({sink, Other}, hello, 50)),
    ok.

%% By spawn request where that works, else by the way of old.
start(Other) ->
    case rpc:block_call(Other, erlang, spawn, [probe, hold, []]) of
        Pid when is_pid(Pid) -> Pid
    end.

processes(Other) ->
    P1 = start(Other),
    link(P1), unlink(P1), link(P1),
    P1 ! {exit, {because, [1, 2, 3]}},
    receive {'EXIT', P1, {because, _}} -> ok after 5000 -> error(no_exit) end,
    P2 = start(Other),
    R2 = monitor(process, P2),
    exit(P2, kill),
    receive {'DOWN', R2, process, P2, killed} -> ok after 5000 -> error(no_down) end,
    P3 = start(Other),
    true = demonitor(monitor(process, P3), [flush]),
    true = demonitor(monitor(process, {sink, Other}), [flush]),
    R3 = monitor(process, {not_there, Other}),
    receive {'DOWN', R3, process, {not_there, Other}, noproc} -> ok after 5000 -> error(no_down) end,
    group_leader(whereis(init), P3),
    P3 ! stop,
    Alias = alias(),
    {sink, Other} ! {back, Alias, by_alias},
    receive by_alias -> ok after 5000 -> error(no_alias) end,
    %% Spawn requests, whether the peer takes them or not.
    ReqId = spawn_request(Other, probe, hold, [], [monitor, link]),
    receive
        {spawn_reply, ReqId, ok, P4} -> exit(P4, shutdown), receive {'EXIT', P4, _} -> ok end;
        {spawn_reply, ReqId, error, notsup} -> ok
    after 5000 -> error(no_spawn_reply)
    end,
    ReqId5 = spawn_request(Other, no_such_module_at_all, run, [x], [monitor]),
    receive {spawn_reply, ReqId5, _, _} -> ok after 5000 -> error(no_spawn_reply) end,
    receive {'DOWN', ReqId5, process, _, _} -> ok after 300 -> ok end,
    %% The other node links and exits, too.
    Me = self(),
    spawn(fun() ->
        process_flag(trap_exit, true),
        Pid = start(Other),
        link(Pid),
        Pid ! stop,
        receive {'EXIT', Pid, normal} -> Me ! linked after 5000 -> error(no_exit) end
    end),
    receive linked -> ok after 6000 -> error(no_link) end,
    ok.

names(Other) ->
    ok = global:sync(),
    yes = global:register_name(probe_global, whereis(sink)),
    Sink = whereis(sink),
    case rpc:block_call(Other, global, whereis_name, [probe_global]) of
        Sink -> ok
    end,
    global:unregister_name(probe_global),
    %% Already there if the other node has done all this before.
    pg:start(probe_scope),
    rpc:block_call(Other, pg, start, [probe_scope]),
    ok = pg:join(probe_scope, group, whereis(sink)),
    ok = rpc:block_call(Other, pg, join, [probe_scope, group, rpc:block_call(Other, erlang, whereis, [sink])]),
    wait(fun() -> lists:usort([node(P) || P <- pg:get_members(probe_scope, group)]) =:= lists:sort([node(), Other]) end),
    ok.

traffic(Other) ->
    Sink = {sink, Other},
    %% Large ones, interleaved.
    Me = self(),
    Large = binary:copy(<<"large">>, 60000),
    Senders = [spawn(fun() -> [Sink ! {I, J, Large, [list_to_atom("l" ++ integer_to_list(I * 10 + J))]} || J <- lists:seq(1, 3)], Me ! {sent, self()} end)
               || I <- lists:seq(1, 8)],
    [receive {sent, Pid} -> ok after 20000 -> error(not_sent) end || Pid <- Senders],
    %% More atoms than the cache holds, long ones, odd ones.
    [Sink ! [list_to_atom("atom_" ++ integer_to_list(N * 7 + K)) || K <- lists:seq(1, 7)] || N <- lists:seq(1, 600)],
    Sink ! [list_to_atom("many_" ++ integer_to_list(N)) || N <- lists:seq(1, 400)],
    Sink ! [list_to_atom(lists:duplicate(250, $å) ++ integer_to_list(N)) || N <- lists:seq(1, 200)],
    Sink ! ['', '原子', list_to_atom([16#1F600])],
    %% With the token of a sequential trace.
    seq_trace:set_token(label, {any, term}),
    Sink ! traced,
    Pid = start(Other),
    Pid ! traced,
    Alias = alias(),
    Sink ! {back, Alias, by_traced_alias},
    receive by_traced_alias -> ok after 5000 -> error(no_alias) end,
    spawn_request(Other, probe, hold, [], [{reply, yes}]),
    receive {spawn_reply, _, _, _} -> ok after 5000 -> error(no_spawn_reply) end,
    link(Pid),
    %% What has been received without a token has taken it away.
    seq_trace:set_token(label, {any, term}),
    exit(Pid, {traced, exit}),
    receive {'EXIT', Pid, {traced, exit}} -> ok after 5000 -> error(no_exit) end,
    seq_trace:set_token([]),
    [Sink ! {I, <<0:(I * 8)>>} || I <- lists:seq(1, 200)],
    ok.

wait(Condition) ->
    wait(Condition, erlang:monotonic_time(millisecond) + 10000).

wait(Condition, Deadline) ->
    case Condition() of
        true -> ok;
        false ->
            true = erlang:monotonic_time(millisecond) < Deadline,
            receive after 10 -> wait(Condition, Deadline) end
    end.
