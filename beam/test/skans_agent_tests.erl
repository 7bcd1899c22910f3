%% The bytes, and the bounds, against the mock.
-module(skans_agent_tests).
-include_lib("eunit/include/eunit.hrl").

-define(EXTRA, #{creation => 0, tick_s => 60, family => inet}).

with(Options, Fun) ->
    Mock = skans_mock_agent:start(Options),
    try Fun(Mock, {{127, 0, 0, 1}, skans_mock_agent:port(Mock)})
    after skans_mock_agent:stop(Mock)
    end.

a_registration_says_what_the_agent_must_know_test() ->
    with(#{creation => 16#fffffffe}, fun(Mock, Agent) ->
        {ok, Socket, 16#fffffffe} = skans_agent:register(Agent, "a", 256, ?EXTRA),
        {ok, Other, 5} = skans_agent:register(Agent, "b", 257,
            #{creation => 5, tick_s => 65535, family => inet6}),
        ?assertEqual(
            [<<120, 256:16, 77, 0, 6:16, 6:16, 1:16, "a", 11:16, "SK1", 0:32, 60:16, 4, 1>>,
             <<120, 257:16, 77, 0, 6:16, 6:16, 1:16, "b", 11:16, "SK1", 5:32, 65535:16, 6, 1>>],
            skans_mock_agent:seen(Mock)),
        gen_tcp:close(Socket),
        gen_tcp:close(Other)
    end).

a_registration_lasts_as_long_as_its_socket_test() ->
    with(#{}, fun(Mock, Agent) ->
        {ok, Socket, _} = skans_agent:register(Agent, "a", 256, ?EXTRA),
        ?assertEqual({ok, 256}, skans_agent:resolve(Agent, "a@host")),
        ok = gen_tcp:close(Socket),
        until(fun() -> skans_mock_agent:registered(Mock) =:= #{} end),
        ?assertEqual(noport, skans_agent:resolve(Agent, "a@host"))
    end).

a_refusal_is_told_from_a_failure_test() ->
    with(#{refuse => ["a"]}, fun(_Mock, Agent) ->
        ?assertEqual({refused, 1}, skans_agent:register(Agent, "a", 256, ?EXTRA))
    end).

names_are_read_test() ->
    with(#{}, fun(_Mock, Agent) ->
        ?assertEqual({ok, []}, skans_agent:names(Agent)),
        {ok, A, _} = skans_agent:register(Agent, "a", 256, ?EXTRA),
        {ok, B, _} = skans_agent:register(Agent, "b", 257, ?EXTRA),
        {ok, Names} = skans_agent:names(Agent),
        ?assertEqual([{"a", 256}, {"b", 257}], lists:sort(Names)),
        gen_tcp:close(A),
        gen_tcp:close(B)
    end).

an_agent_that_does_not_answer_costs_a_second_test() ->
    with(#{mute => true}, fun(_Mock, Agent) ->
        [begin
             {Us, Answer} = timer:tc(fun() -> Ask(Agent) end),
             ?assertEqual({error, timeout}, Answer),
             ?assert(Us < 2000000)
         end || Ask <- [fun(A) -> skans_agent:resolve(A, "a@host") end, fun skans_agent:names/1]]
    end).

no_agent_is_known_at_once_test() ->
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listen),
    ok = gen_tcp:close(Listen),
    Agent = {{127, 0, 0, 1}, Port},
    ?assertEqual({error, econnrefused}, skans_agent:resolve(Agent, "a@host")),
    ?assertEqual({error, econnrefused}, skans_agent:names(Agent)),
    ?assertEqual({error, econnrefused}, skans_agent:register(Agent, "a", 256, ?EXTRA)).

what_is_not_epmd_is_refused_test_() ->
    [fun() -> said(Said, fun(Agent) ->
         ?assertMatch({error, _}, skans_agent:register(Agent, "a", 256, ?EXTRA)),
         ?assertMatch({error, _}, skans_agent:resolve(Agent, "a@host"))
     end) end || Said <- [<<>>, <<"HTTP/1.1 400 Bad Request\r\n">>, <<119>>, <<118, 0>>]].

a_port_of_zero_is_none_test() ->
    said(<<119, 0, 0:16, 77, 0, 6:16, 6:16, 1:16, "a", 0:16>>, fun(Agent) ->
        ?assertEqual(noport, skans_agent:resolve(Agent, "a@host"))
    end).

endless_names_are_cut_off_test() ->
    said([<<4369:32>>, lists:duplicate(20000, <<"name aaaaaaaa at port 1\n">>)], fun(Agent) ->
        ?assertEqual({error, emsgsize}, skans_agent:names(Agent))
    end).

lines_that_are_no_names_are_passed_over_test() ->
    said([<<4369:32>>, <<"name a at port 1\nname b at port x\n\nname c\n", 255, "\n">>], fun(Agent) ->
        ?assertEqual({ok, [{"a", 1}]}, skans_agent:names(Agent))
    end).

%% A server that says the same to everybody.
said(Bytes, Fun) ->
    {ok, Listen} = gen_tcp:listen(0, [binary, {ip, {127, 0, 0, 1}}, {active, false}]),
    {ok, Port} = inet:port(Listen),
    Pid = spawn_link(fun() -> say(Listen, Bytes) end),
    try Fun({{127, 0, 0, 1}, Port})
    after
        unlink(Pid),
        exit(Pid, kill),
        gen_tcp:close(Listen)
    end.

say(Listen, Bytes) ->
    {ok, Socket} = gen_tcp:accept(Listen),
    {ok, _} = gen_tcp:recv(Socket, 0),
    _ = gen_tcp:send(Socket, Bytes),
    _ = gen_tcp:shutdown(Socket, write),
    _ = gen_tcp:recv(Socket, 0, 1000),
    _ = gen_tcp:close(Socket),
    say(Listen, Bytes).

until(Fun) -> until(Fun, erlang:monotonic_time(millisecond) + 5000).
until(Fun, Deadline) ->
    case Fun() of
        true -> ok;
        false ->
            ?assert(erlang:monotonic_time(millisecond) < Deadline),
            receive after 10 -> until(Fun, Deadline) end
    end.
