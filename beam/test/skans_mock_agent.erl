%% A MOCK of the agent, for the shim's own tests: it speaks the agent's epmd on
%% loopback, and nothing else. It encrypts nothing, checks nobody, and stands in
%% for no node: it answers with the node's own port.
-module(skans_mock_agent).

-export([start/1, stop/1, port/1, registered/1, seen/1, told/1, drop/1, main/1]).

%% Options: port (0), creation (of the next node), refuse (names), mute (answer
%% nothing), ip, names (wants to be told them).
start(Options) ->
    Self = self(),
    Pid = spawn(fun() -> init(Self, Options) end),
    receive {Pid, listening} -> Pid after 5000 -> error(mock_did_not_start) end.

stop(Pid) ->
    Ref = monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Ref, _, _, _} -> ok end.

port(Pid) -> call(Pid, port).

%% Names to #{port, extra} while their socket is open.
registered(Pid) -> call(Pid, registered).

%% Every request so far, oldest first.
seen(Pid) -> call(Pid, seen).

%% The last table of names of each, while its socket is open.
told(Pid) -> call(Pid, told).

%% Closes every registration, as an agent that dies.
drop(Pid) -> call(Pid, drop).

%% erl -noshell -run skans_mock_agent main PORT [IP]
main([Port | Rest]) ->
    Ip = case Rest of [] -> "127.0.0.1"; [I] -> I end,
    {ok, Address} = inet:parse_address(Ip),
    Pid = start(#{port => list_to_integer(Port), ip => Address, verbose => true}),
    io:format("MOCK agent at ~s port ~b (no encryption, no checks)~n", [Ip, port(Pid)]),
    receive stop -> ok end.

call(Pid, What) ->
    Ref = make_ref(),
    Pid ! {What, self(), Ref},
    receive {Ref, Reply} -> Reply after 5000 -> error({mock_is_silent, What}) end.

init(Parent, Options) ->
    process_flag(trap_exit, true),
    Ip = maps:get(ip, Options, {127, 0, 0, 1}),
    {ok, Listen} = gen_tcp:listen(maps:get(port, Options, 0),
        [binary, {ip, Ip}, {active, false}, {packet, 2}, {reuseaddr, true}, {backlog, 128}]),
    Self = self(),
    spawn_link(fun() -> accept(Listen, Self, Options) end),
    Parent ! {self(), listening},
    {ok, Port} = inet:port(Listen),
    loop(#{port => Port, nodes => #{}, seen => [], creation => maps:get(creation, Options, 77)}).

loop(#{port := Port, nodes := Nodes, seen := Seen} = State) ->
    receive
        {port, From, Ref} -> From ! {Ref, Port}, loop(State);
        {registered, From, Ref} ->
            From ! {Ref, maps:map(fun(_, {_, Info}) -> Info end, Nodes)},
            loop(State);
        {seen, From, Ref} -> From ! {Ref, lists:reverse(Seen)}, loop(State);
        {told, From, Ref} ->
            Told = [{Alive, Table} || {Alive, {_, #{told := Table}}} <- maps:to_list(Nodes)],
            From ! {Ref, maps:from_list(Told)},
            loop(State);
        {drop, From, Ref} ->
            [exit(Pid, kill) || {Pid, _} <- maps:values(Nodes)],
            From ! {Ref, ok},
            loop(State#{nodes := #{}});
        {request, From, Ref, Request} -> From ! {Ref, ok}, loop(State#{seen := [Request | Seen]});
        {add, From, Ref, Name, Info} ->
            monitor(process, From),
            #{creation := C} = State,
            #{extra := <<"SK1", Had:32, _/bits>>} = Info,
            Given = case Had of 0 -> C; _ -> Had end,
            From ! {Ref, Given},
            loop(State#{nodes := Nodes#{Name => {From, Info#{creation => Given}}},
                        creation := C + 1});
        {tell, From, Ref, Name, Table} ->
            #{Name := {Holder, Info}} = Nodes,
            From ! {Ref, ok},
            loop(State#{nodes := Nodes#{Name := {Holder, Info#{told => Table}}}});
        {'EXIT', _, _} -> loop(State);
        {'DOWN', _, _, Pid, _} ->
            loop(State#{nodes := maps:filter(fun(_, {P, _}) -> P =/= Pid end, Nodes)})
    end.

accept(Listen, Owner, Options) ->
    {ok, Socket} = gen_tcp:accept(Listen),
    Pid = spawn(fun() -> receive go -> serve(Socket, Owner, Options) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    accept(Listen, Owner, Options).

serve(Socket, Owner, Options) ->
    %% Dies with the mock, like the sockets of a real agent.
    link(Owner),
    case gen_tcp:recv(Socket, 0) of
        {ok, Request} ->
            ok = call(Owner, {request, Request}, fun({W, R}, S, Ref) -> {W, S, Ref, R} end),
            [io:format("~p~n", [Request]) || maps:is_key(verbose, Options)],
            ok = inet:setopts(Socket, [{packet, raw}]),
            case maps:is_key(mute, Options) of
                true -> gen_tcp:recv(Socket, 0);
                false -> answer(Request, Socket, Owner, Options)
            end;
        {error, _} ->
            ok
    end,
    unlink(Owner).

call(Pid, What, Message) ->
    Ref = make_ref(),
    Pid ! Message(What, self(), Ref),
    receive {Ref, Reply} -> Reply end.

answer(<<120, Port:16, 77, 0, 6:16, 6:16, N:16, Name:N/binary, E:16, Extra:E/binary>>,
       Socket, Owner, Options) ->
    Alive = binary_to_list(Name),
    case lists:member(Alive, maps:get(refuse, Options, [])) of
        true ->
            gen_tcp:send(Socket, <<118, 1, 0:32>>);
        false ->
            Creation = call(Owner, {Alive, #{port => Port, extra => Extra}},
                            fun({A, I}, S, Ref) -> {add, S, Ref, A, I} end),
            case maps:is_key(names, Options) of
                true ->
                    ok = gen_tcp:send(Socket, <<118, 0, Creation:32, "SK1", 1>>),
                    ok = inet:setopts(Socket, [{packet, 4}]),
                    told(Socket, Alive, Owner);
                false ->
                    ok = gen_tcp:send(Socket, <<118, 0, Creation:32>>),
                    gen_tcp:recv(Socket, 0)
            end
    end;
answer(<<122, Name/binary>>, Socket, Owner, _Options) ->
    [Alive | _] = string:split(binary_to_list(Name), "@"),
    case registered(Owner) of
        #{Alive := #{port := Port}} ->
            gen_tcp:send(Socket, <<119, 0, Port:16, 77, 0, 6:16, 6:16, (length(Alive)):16,
                                   (list_to_binary(Alive))/binary, 0:16>>);
        _ ->
            gen_tcp:send(Socket, <<119, 1>>)
    end;
answer(<<110>>, Socket, Owner, _Options) ->
    Lines = [io_lib:format("name ~ts at port ~b~n", [A, P])
             || {A, #{port := P}} <- maps:to_list(registered(Owner))],
    gen_tcp:send(Socket, [<<4369:32>>, Lines]);
answer(_, _Socket, _Owner, _Options) ->
    ok.

told(Socket, Alive, Owner) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Table} ->
            ok = call(Owner, {Alive, Table}, fun({A, T}, S, Ref) -> {tell, S, Ref, A, T} end),
            told(Socket, Alive, Owner);
        {error, _} ->
            ok
    end.
