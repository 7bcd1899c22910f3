%% The load on two nodes, driven by lines over a socket. A node lives as long as
%% that socket: whoever started it may die in any way and leaves nothing behind.
%%
%% One line is one Erlang term without its dot, `{calls, 'b@localhost', 1000}`;
%% the answer is `ok` and integers, or `error` and a term.
-module(skans_load).

-behaviour(gen_server).

-export([start/1, sink/1]).
-export([init/1, handle_call/3, handle_cast/2]).

%% Of -run, in the process that boots the node: must return.
start([Port]) ->
    {ok, _} = gen_server:start({local, echo}, ?MODULE, [], []),
    spawn(fun() -> control(list_to_integer(Port)) end).

init([]) -> {ok, state}.
handle_call(ping, _From, State) -> {reply, pong, State}.
handle_cast(_, State) -> {noreply, State}.

control(Port) ->
    Options = [binary, {packet, line}, {active, false}, {buffer, 65536}],
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, Options),
    serve(Socket).

serve(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Line} ->
            Answer = try
                         {ok, Tokens, _} = erl_scan:string(binary_to_list(Line) ++ "."),
                         {ok, Command} = erl_parse:parse_term(Tokens),
                         [[" ", integer_to_list(N)] || N <- run(Command)]
                     of
                         Numbers -> ["ok", Numbers, "\n"]
                     catch
                         Class:Reason:Stack ->
                             io_lib:format("error ~0p~n", [{Class, Reason, Stack}])
                     end,
            ok = gen_tcp:send(Socket, Answer),
            serve(Socket);
        {error, _} ->
            erlang:halt(0, [{flush, false}])
    end.

%% Connects; nanoseconds.
run({connect, Node}) ->
    Start = now_ns(),
    true = net_kernel:connect_node(Node),
    [now_ns() - Start];
run({disconnect, Node}) ->
    true = erlang:disconnect_node(Node),
    run({await_down, Node});
%% Until this end has forgotten the connection, net_kernel included: before, a
%% new one is a reconnect, which takes another way through the handshake.
run({await_down, Node}) ->
    await_down(Node, now_ns() + 10_000_000_000);
%% Messages of Size bytes from each of Senders processes to a receiver of its own
%% for Ms milliseconds; the number received and the nanoseconds until the last
%% receiver had all.
run({load, Node, Size, Senders, Ms}) ->
    run({loads, [Node], Size, Senders, Ms});
%% The same to each of several nodes.
run({loads, Nodes, Size, Senders, Ms}) ->
    Pids = senders(Nodes, Size, Senders, fun send/4),
    Start = go(Pids, Ms),
    Count = received(Pids),
    [Count, now_ns() - Start];
%% So many bytes to each of several nodes, to a name that nobody has.
run({flood, Nodes, Bytes}) ->
    Payload = rand:bytes(min(Bytes, 16#80000)),
    Times = (Bytes + byte_size(Payload) - 1) div byte_size(Payload),
    [{nobody, Node} ! Payload || _ <- lists:seq(1, Times), Node <- Nodes],
    [];
%% One call after the other for Ms milliseconds, while Senders processes send
%% PerSecond messages together: median and 99th percentile in nanoseconds; the
%% messages that came, and the nanoseconds that they took.
run({loaded_calls, Node, Size, Senders, PerSecond, Ms}) ->
    Send = fun(Sink, Payload, Deadline, _) ->
               paced(Sink, Payload, now_ns(), Deadline, PerSecond div Senders, 0)
           end,
    Pids = senders([Node], Size, Senders, Send),
    %% The load is there before the first call and after the last.
    Start = go(Pids, Ms * 3 div 2),
    receive after Ms div 4 -> ok end,
    [P50, P99, _] = run({calls, Node, Ms}),
    Count = received(Pids),
    [P50, P99, Count, now_ns() - Start];
%% One call after the other for Ms milliseconds: median and 99th percentile in
%% nanoseconds, and how many there were.
run({calls, Node, Ms}) ->
    Sorted = lists:sort(calls({echo, Node}, now_ns() + Ms * 1_000_000, [])),
    Length = length(Sorted),
    [lists:nth((Length * P + 99) div 100, Sorted) || P <- [50, 99]] ++ [Length];
%% Callers processes, each with one call after the other: calls and nanoseconds.
run({callers, Node, Callers, Ms}) ->
    Self = self(),
    Start = now_ns(),
    Deadline = Start + Ms * 1_000_000,
    Pids = [spawn_link(fun() ->
                Self ! {done, self(), length(calls({echo, Node}, Deadline, []))}
            end) || _ <- lists:seq(1, Callers)],
    Count = lists:sum([receive {done, Pid, N} -> N end || Pid <- Pids]),
    [Count, now_ns() - Start].

await_down(Node, Deadline) ->
    Up = ets:member(sys_dist, Node) orelse lists:member(Node, nodes(connected)),
    case Up andalso now_ns() < Deadline of
        true -> receive after 1 -> await_down(Node, Deadline) end;
        false when Up -> error({still_connected, Node});
        false -> []
    end.

senders(Nodes, Size, Senders, Send) ->
    Self = self(),
    Pids = [spawn_link(fun() -> sender(Self, Node, Size, Send) end)
            || Node <- Nodes, _ <- lists:seq(1, Senders)],
    [receive {ready, Pid} -> ok end || Pid <- Pids],
    Pids.

go(Pids, Ms) ->
    Start = now_ns(),
    [Pid ! {go, Start + Ms * 1_000_000} || Pid <- Pids],
    Start.

received(Pids) ->
    lists:sum([receive {received, Pid, N} -> N end || Pid <- Pids]).

sender(Control, Node, Size, Send) ->
    Sink = spawn_link(Node, ?MODULE, sink, [self()]),
    receive {ready, Sink} -> ok end,
    Payload = rand:bytes(Size),
    Control ! {ready, self()},
    receive {go, Deadline} -> Send(Sink, Payload, Deadline, burst(Size)) end,
    Sink ! {done, self()},
    receive {received, N} -> Control ! {received, self(), N} end,
    unlink(Sink).

%% The clock is read once in a burst: for small messages it would be the load.
burst(Size) when Size >= 16#4000 -> 1;
burst(_) -> 32.

send(Sink, Payload, Deadline, Burst) ->
    send_burst(Sink, Payload, Burst),
    case now_ns() < Deadline of
        true -> send(Sink, Payload, Deadline, Burst);
        false -> ok
    end.

send_burst(_, _, 0) -> ok;
send_burst(Sink, Payload, N) ->
    Sink ! Payload,
    send_burst(Sink, Payload, N - 1).

%% What is due at this rate, each millisecond.
paced(Sink, Payload, Start, Deadline, PerSecond, Sent) ->
    Now = now_ns(),
    Due = (Now - Start) * PerSecond div 1_000_000_000,
    send_burst(Sink, Payload, max(0, Due - Sent)),
    case Now < Deadline of
        true -> receive after 1 -> paced(Sink, Payload, Start, Deadline, PerSecond, max(Due, Sent)) end;
        false -> ok
    end.

%% Counts what comes.
sink(Sender) ->
    Sender ! {ready, self()},
    sink(Sender, 0).

sink(Sender, Count) ->
    receive
        Payload when is_binary(Payload) -> sink(Sender, Count + 1);
        {done, Sender} -> Sender ! {received, Count}
    end.

calls(Server, Deadline, Times) ->
    Start = now_ns(),
    case Start < Deadline of
        true ->
            pong = gen_server:call(Server, ping, infinity),
            calls(Server, Deadline, [now_ns() - Start | Times]);
        false ->
            Times
    end.

now_ns() -> erlang:monotonic_time(nanosecond).
