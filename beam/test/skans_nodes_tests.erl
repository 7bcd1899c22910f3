%% Real nodes, as a stock release would be started: environment only. The agent
%% is the mock, so that what is shown here is the shim, and no promise of Skans.
-module(skans_nodes_tests).
-include_lib("eunit/include/eunit.hrl").

-record(host, {dir, mock, port}).

nodes_test_() ->
    {foreach, fun host/0, fun remove/1,
     [fun(Host) -> {timeout, 60, {title(F), fun() -> F(Host) end}} end || F <- [
         fun nodes_meet_by_the_cookies_of_their_files/1,
         fun a_node_with_another_cookie_stays_outside/1,
         fun embedded_mode_needs_nothing_more/1,
         fun long_names_work/1,
         fun ipv6_works/1,
         fun a_cookie_for_a_peer_does_not_win/1,
         fun a_cookie_set_by_the_application_lasts_until_the_next_dial/1,
         fun a_cookie_set_by_the_application_does_not_last_undialled/1,
         fun distribution_may_start_late_and_again/1,
         fun a_node_that_does_not_listen_dials/1,
         fun a_name_given_by_the_peer_works/1,
         fun without_distribution_nothing_is_asked/1,
         fun registering_again_changes_nothing/1,
         fun an_agent_that_comes_back_is_told_the_creation/1,
         fun an_agent_that_wants_names_is_told_them/1,
         fun an_agent_that_does_not_ask_is_told_no_names/1,
         fun an_agent_that_stays_away_does_no_harm/1,
         fun questions_are_answered_as_by_epmd/1,
         fun an_agent_that_is_silent_holds_up_nobody_else/1,
         fun an_agent_that_comes_late_is_waited_for/1,
         fun no_agent_is_a_bounded_boot_error/1,
         fun no_cookie_is_a_bounded_boot_error/1,
         fun a_refused_name_is_a_boot_error_at_once/1]]}.

title(F) ->
    {name, Name} = erlang:fun_info(F, name),
    atom_to_list(Name).

%%% The cookies

nodes_meet_by_the_cookies_of_their_files(Host) ->
    cookies(Host, ["a", "b"], "SAME"),
    A = node(Host, "-sname a -setcookie wrong"),
    B = node(Host, "-sname b -setcookie other"),
    ?assertEqual(pong, call(A, net_adm, ping, [name(B)])),
    ?assertEqual([name(B)], call(A, erlang, nodes, [])),
    ?assertEqual('SAME', call(A, erlang, get_cookie, [])),
    #{"a" := #{creation := Creation}} = skans_mock_agent:registered(Host#host.mock),
    ?assertEqual(Creation, call(A, erlang, system_info, [creation])).

a_node_with_another_cookie_stays_outside(Host) ->
    cookies(Host, ["a"], "SAME"),
    cookies(Host, ["b"], "OTHER"),
    A = node(Host, "-sname a -setcookie SAME"),
    B = node(Host, "-sname b -setcookie SAME"),
    ?assertEqual(pang, call(B, net_adm, ping, [name(A)])),
    ?assertEqual([], call(A, erlang, nodes, [])).

embedded_mode_needs_nothing_more(Host) ->
    cookies(Host, ["a", "b"], "SAME"),
    A = node(Host, "-mode embedded -sname a -setcookie wrong"),
    B = node(Host, "-mode embedded -sname b"),
    ?assertEqual(embedded, call(A, code, get_mode, [])),
    ?assertEqual(pong, call(A, net_adm, ping, [name(B)])).

long_names_work(Host) ->
    cookies(Host, ["a", "b"], "SAME"),
    A = node(Host, "-name a@127.0.0.1"),
    B = node(Host, "-name b@127.0.0.1"),
    ?assertEqual(pong, call(A, net_adm, ping, [name(B)])),
    ?assert(lists:member(<<122, "b@127.0.0.1">>, skans_mock_agent:seen(Host#host.mock))).

ipv6_works(Host) ->
    cookies(Host, ["a", "b"], "SAME"),
    Ip = {0, 0, 0, 0, 0, 0, 0, 1},
    Mock = skans_mock_agent:start(#{ip => Ip}),
    Port = skans_mock_agent:port(Mock),
    %% Nothing but the carrier says where the agent is.
    Env = [{"ERL_EPMD_ADDRESS", ""},
           {"ERL_AFLAGS", flags("-proto_dist inet6_tcp", Ip)}],
    A = node(Host#host{port = Port}, "-sname a", Env),
    B = node(Host#host{port = Port}, "-sname b", Env),
    ?assertEqual(pong, call(A, net_adm, ping, [name(B)])),
    #{"b" := #{port := PortB, extra := Extra}} = skans_mock_agent:registered(Mock),
    ?assertEqual(6, binary:at(Extra, 9)),
    ?assertEqual({port, PortB, 6}, call(A, erl_epmd, port_please, ["b", host_part()])),
    ?assertMatch({ok, [_, _]}, call(A, net_adm, names, [])),
    skans_mock_agent:stop(Mock).

a_cookie_for_a_peer_does_not_win(Host) ->
    cookies(Host, ["a", "b"], "SAME"),
    At = "@" ++ host_part(),
    A = node(Host, "-sname a -setcookie b" ++ At ++ " wrong -setcookie a" ++ At ++ " wrong"),
    B = node(Host, "-sname b"),
    ?assertEqual('SAME', call(A, erlang, get_cookie, [])),
    ?assertEqual(pong, call(B, net_adm, ping, [name(A)])).

a_cookie_set_by_the_application_lasts_until_the_next_dial(Host) ->
    cookies(Host, ["a", "b"], "SAME"),
    A = node(Host, "-sname a"),
    B = node(Host, "-sname b"),
    true = call(A, erlang, set_cookie, [wrong]),
    ?assertEqual(pong, call(A, net_adm, ping, [name(B)])),
    ?assertEqual('SAME', call(A, erlang, get_cookie, [])).

a_cookie_set_by_the_application_does_not_last_undialled(Host) ->
    cookies(Host, ["a", "b"], "SAME"),
    A = node(Host, "-sname a"),
    B = node(Host, "-sname b"),
    true = call(A, erlang, set_cookie, [wrong]),
    ?assertEqual(pang, call(B, net_adm, ping, [name(A)])),
    until(fun() -> call(B, net_adm, ping, [name(A)]) =:= pong end).

%%% The ways to start

distribution_may_start_late_and_again(Host) ->
    cookies(Host, ["a", "late"], "SAME"),
    A = node(Host, "-sname a"),
    Late = node(Host, "-setcookie wrong"),
    ?assertEqual(nonode@nohost, name(Late)),
    {ok, _} = call(Late, net_kernel, start, [late, #{name_domain => shortnames}]),
    ?assertEqual(pong, call(Late, net_adm, ping, [name(A)])),
    First = call(Late, erlang, system_info, [creation]),
    ok = call(Late, net_kernel, stop, []),
    until(fun() -> name(Late) =:= nonode@nohost end),
    until(fun() -> not is_map_key("late", skans_mock_agent:registered(Host#host.mock)) end),
    {ok, _} = call(Late, net_kernel, start, [late, #{name_domain => shortnames}]),
    ?assertEqual(pong, call(Late, net_adm, ping, [name(A)])),
    ?assertNotEqual(First, call(Late, erlang, system_info, [creation])).

a_node_that_does_not_listen_dials(Host) ->
    cookies(Host, ["a"], "SAME"),
    A = node(Host, "-sname a"),
    B = node(Host, "-sname remsh1 -dist_listen false -setcookie wrong"),
    ?assertEqual(pong, call(B, net_adm, ping, [name(A)])),
    ?assertEqual(["a"], maps:keys(skans_mock_agent:registered(Host#host.mock))).

a_name_given_by_the_peer_works(Host) ->
    cookies(Host, ["a"], "SAME"),
    A = node(Host, "-sname a"),
    B = node(Host, "-sname undefined -setcookie wrong"),
    ?assertEqual(true, call(B, net_kernel, connect_node, [name(A)])),
    ?assertEqual([name(B)], call(A, erlang, nodes, [hidden])).

without_distribution_nothing_is_asked(Host) ->
    A = node(Host#host{dir = "/nonexistent"}, ""),
    ?assertEqual(nonode@nohost, name(A)),
    ?assertEqual([], skans_mock_agent:seen(Host#host.mock)).

%%% The registration

registering_again_changes_nothing(Host) ->
    cookies(Host, ["a"], "SAME"),
    A = node(Host, "-sname a"),
    Before = skans_mock_agent:registered(Host#host.mock),
    Creation = call(A, erlang, system_info, [creation]),
    ?assertEqual({ok, Creation}, call(A, erl_epmd, register_node, ["a", 1])),
    ?assertEqual({error, already_registered}, call(A, erl_epmd, register_node, ["b", 1])),
    ?assertEqual(Before, skans_mock_agent:registered(Host#host.mock)).

an_agent_that_comes_back_is_told_the_creation(Host) ->
    cookies(Host, ["a"], "SAME"),
    A = node(Host, "-sname a"),
    Creation = call(A, erlang, system_info, [creation]),
    #{"a" := #{port := Port}} = skans_mock_agent:registered(Host#host.mock),
    skans_mock_agent:drop(Host#host.mock),
    until(fun() -> is_map_key("a", skans_mock_agent:registered(Host#host.mock)) end),
    ?assertMatch(#{"a" := #{port := Port, extra := <<"SK1", Creation:32, 60:16, 4, 1>>}},
                 skans_mock_agent:registered(Host#host.mock)).

%% All of them, and again when they change; an agent that comes back as well.
an_agent_that_wants_names_is_told_them(Host) ->
    cookies(Host, ["a"], "SAME"),
    Mock = skans_mock_agent:start(#{names => true}),
    A = node(Host#host{port = skans_mock_agent:port(Mock)}, "-sname a"),
    Creation = call(A, erlang, system_info, [creation]),
    Told = fun(Name) ->
               case skans_mock_agent:told(Mock) of
                   #{"a" := <<$N, Creation:32, Entries/binary>>} ->
                       lists:keyfind(Name, 3, [{I, S, N} || <<I:32, S:32, L:16, N:L/binary>> <= Entries]);
                   _ -> false
               end
           end,
    Is = fun(Name, Pid) ->
             <<I:32, S:32, _:32>> = binary:part(term_to_binary(Pid), byte_size(term_to_binary(Pid)), -12),
             Told(Name) =:= {I, S, Name}
         end,
    Rex = call(A, erlang, whereis, [rex]),
    until(fun() -> Is(<<"rex">>, Rex) end),
    ?assertEqual(false, Told(<<"späť"/utf8>>)),
    Pid = call(A, erlang, spawn, [timer, sleep, [infinity]]),
    true = call(A, erlang, register, ['späť', Pid]),
    until(fun() -> Is(<<"späť"/utf8>>, Pid) end),
    true = call(A, erlang, unregister, ['späť']),
    until(fun() -> Told(<<"späť"/utf8>>) =:= false end),
    skans_mock_agent:drop(Mock),
    until(fun() -> skans_mock_agent:told(Mock) =:= #{} end),
    until(fun() -> Is(<<"rex">>, Rex) end),
    skans_mock_agent:stop(Mock).

%% One of an older release would take any word for the end of the registration.
an_agent_that_does_not_ask_is_told_no_names(Host) ->
    cookies(Host, ["a"], "SAME"),
    A = node(Host, "-sname a"),
    #{"a" := _} = Before = skans_mock_agent:registered(Host#host.mock),
    true = call(A, erlang, register, [another, call(A, erlang, spawn, [timer, sleep, [infinity]])]),
    receive after 1500 -> ok end,
    ?assertEqual(#{}, skans_mock_agent:told(Host#host.mock)),
    ?assertEqual(Before, skans_mock_agent:registered(Host#host.mock)).

%% It comes back in two steps: first it knows nothing of the node, then it does,
%% with other cookies.
an_agent_that_stays_away_does_no_harm(Host) ->
    cookies(Host, ["a", "b"], "SAME"),
    A = node(Host, "-sname a"),
    Creation = call(A, erlang, system_info, [creation]),
    skans_mock_agent:stop(Host#host.mock),
    ?assertEqual(pang, call(A, net_adm, ping, [list_to_atom("b@" ++ host_part())])),
    {port, _, 6} = call(A, erl_epmd, port_please, ["a", host_part()]),
    {ok, Creation} = call(A, erl_epmd, register_node, ["a", 1]),
    Stranger = skans_mock_agent:start(#{port => Host#host.port, refuse => ["a"]}),
    until(fun() -> length(skans_mock_agent:seen(Stranger)) >= 2 end),
    skans_mock_agent:stop(Stranger),
    cookies(Host, ["a", "b"], "NEW"),
    Mock = skans_mock_agent:start(#{port => Host#host.port}),
    until(fun() -> is_map_key("a", skans_mock_agent:registered(Mock)) end),
    ?assertEqual('NEW', call(A, erlang, get_cookie, [])),
    B = node(Host, "-sname b"),
    ?assertEqual(pong, call(B, net_adm, ping, [name(A)])),
    ?assertEqual(Creation, call(A, erlang, system_info, [creation])),
    skans_mock_agent:stop(Mock).

%%% Questions

questions_are_answered_as_by_epmd(Host) ->
    cookies(Host, ["a", "b"], "SAME"),
    A = node(Host, "-sname a"),
    _ = node(Host, "-sname b"),
    #{"a" := #{port := PortA}, "b" := #{port := PortB}} =
        skans_mock_agent:registered(Host#host.mock),
    Ask = fun(Name, Where) -> call(A, erl_epmd, port_please, [Name, Where]) end,
    ?assertEqual({port, PortA, 6}, Ask("a", host_part())),
    ?assertEqual({port, PortA, 6}, Ask(a, list_to_atom(host_part()))),
    ?assertEqual({port, PortB, 6}, Ask("b", host_part())),
    ?assertEqual({port, PortB, 6}, Ask("b", "localhost")),
    ?assertEqual({port, PortB, 6}, Ask("b", {127, 0, 0, 1})),
    ?assertEqual({port, PortB, 6}, call(A, erl_epmd, port_please, ["b", host_part(), 1000])),
    ?assertEqual(noport, Ask("c", host_part())),
    {ok, Names} = call(A, net_adm, names, []),
    ?assertEqual([{"a", PortA}, {"b", PortB}], lists:sort(Names)),
    ?assertEqual({ok, Names}, call(A, net_adm, names, [list_to_atom(host_part())])),
    ?assertEqual({error, address}, call(A, net_adm, names, [{192, 0, 2, 1}])),
    ?assertEqual({ok, 0}, call(A, erl_epmd, listen_port_please, [a, host_part()])),
    ?assertEqual({error, nxdomain}, call(A, erl_epmd, address_please, ["c", "elsewhere", inet])),
    ?assert(lists:member(<<122, "c@elsewhere">>, skans_mock_agent:seen(Host#host.mock))).

an_agent_that_is_silent_holds_up_nobody_else(Host) ->
    cookies(Host, ["a"], "SAME"),
    A = node(Host, "-sname a"),
    skans_mock_agent:stop(Host#host.mock),
    Mock = skans_mock_agent:start(#{port => Host#host.port, mute => true}),
    Other = list_to_atom("b@" ++ host_part()),
    Self = self(),
    spawn_link(fun() -> Self ! {ping, timer:tc(fun() -> call(A, net_adm, ping, [Other]) end)} end),
    until(fun() -> lists:member(<<122, (atom_to_binary(Other))/binary>>,
                                skans_mock_agent:seen(Mock)) end),
    {Us, 60} = timer:tc(fun() -> call(A, net_kernel, get_net_ticktime, []) end),
    ?assert(Us < 500000),
    receive {ping, {PingUs, pang}} -> ?assert(PingUs < 5000000) end,
    skans_mock_agent:stop(Mock).

%%% Booting

an_agent_that_comes_late_is_waited_for(Host) ->
    cookies(Host, ["a"], "SAME"),
    skans_mock_agent:stop(Host#host.mock),
    Self = self(),
    Pid = spawn_link(fun() ->
        A = node(Host, "-sname a"),
        Self ! {up, A},
        receive done -> peer:stop(A) end
    end),
    receive {up, _} -> error(up_without_agent) after 1000 -> ok end,
    Mock = skans_mock_agent:start(#{port => Host#host.port}),
    receive {up, A} -> ?assertEqual('SAME', call(A, erlang, get_cookie, [])) end,
    Pid ! done,
    skans_mock_agent:stop(Mock).

no_agent_is_a_bounded_boot_error(Host) ->
    cookies(Host, ["a"], "SAME"),
    skans_mock_agent:stop(Host#host.mock),
    Said = boot_error(Host, "-sname a", 1),
    ?assertNotEqual(nomatch, string:find(Said, "no agent at 127.0.0.1 port " ++
                                               integer_to_list(Host#host.port))).

no_cookie_is_a_bounded_boot_error(Host) ->
    Said = boot_error(Host, "-sname a", 1),
    ?assertNotEqual(nomatch, string:find(Said, Host#host.dir ++ "/a.cookie")),
    ?assertEqual([], skans_mock_agent:seen(Host#host.mock)).

a_refused_name_is_a_boot_error_at_once(Host) ->
    cookies(Host, ["a"], "SAME"),
    skans_mock_agent:stop(Host#host.mock),
    Mock = skans_mock_agent:start(#{port => Host#host.port, refuse => ["a"]}),
    {Us, Said} = timer:tc(fun() -> boot_error(Host, "-sname a", 60) end),
    ?assertNotEqual(nomatch, string:find(Said, "refused the name 'a' (1)")),
    ?assert(Us < 20000000),
    skans_mock_agent:stop(Mock).

%%% The stage

host() ->
    Dir = filename:join(os:getenv("TMPDIR", "/tmp"), "skans-nodes-" ++ os:getpid() ++ "-" ++
                            integer_to_list(erlang:unique_integer([positive]))),
    ok = filelib:ensure_dir(filename:join([Dir, "cli", "x"])),
    Mock = skans_mock_agent:start(#{}),
    #host{dir = Dir, mock = Mock, port = skans_mock_agent:port(Mock)}.

remove(#host{dir = Dir, mock = Mock}) ->
    skans_mock_agent:stop(Mock),
    file:del_dir_r(Dir).

%% Files for these nodes, and the same for those without a file.
cookies(#host{dir = Dir}, Names, Cookie) ->
    [begin
         _ = file:delete(File),
         ok = file:write_file(File, Cookie),
         ok = file:change_mode(File, 8#400)
     end || File <- [filename:join([Dir, "cli", ".erlang.cookie"]) |
                     [filename:join(Dir, N ++ ".cookie") || N <- Names]]].

%% What the agent writes for a node.
environment(#host{dir = Dir, port = Port}, Wait) ->
    [{"ERL_EPMD_PORT", integer_to_list(Port)},
     {"ERL_EPMD_ADDRESS", "127.0.0.1"},
     {"SKANS_COOKIES", Dir},
     {"SKANS_WAIT", integer_to_list(Wait)},
     %% No home to find a cookie in, or to leave one.
     {"HOME", "/nonexistent"},
     {"ERL_AFLAGS", flags("", {127, 0, 0, 1})}].

flags(Carrier, Ip) ->
    Ebin = filename:absname(filename:dirname(code:which(skans_epmd))),
    lists:flatten(io_lib:format("-pa ~s -epmd_module erl_epmd -start_epmd false -nocookie ~s "
                                "-kernel inet_dist_use_interface ~w", [Ebin, Carrier, Ip])).

%% Stops with the process that started it.
node(Host, Arguments) ->
    node(Host, Arguments, []).

node(Host, Arguments, Env) ->
    {ok, Peer, _Node} = peer:start_link(#{connection => standard_io,
                                          args => string:lexemes(Arguments, " "),
                                          env => lists:ukeymerge(1, lists:sort(Env),
                                                                  lists:sort(environment(Host, 20))),
                                          wait_boot => 30000}),
    Peer.

boot_error(Host, Arguments, Wait) ->
    Assignments = [[K, "='", V, "' "] || {K, V} <- environment(Host, Wait)],
    %% Only standard error; then the exit code.
    Said = os:cmd(lists:flatten(["( env ", Assignments, "erl -noinput ", Arguments,
                                 " -eval 'halt(0).' 2>&1 >/dev/null ); echo \"exit $?\""])),
    ?assertNotEqual(nomatch, string:find(Said, "exit 1\n")),
    Said.

call(Peer, M, F, A) -> peer:call(Peer, M, F, A, 15000).

name(Peer) -> call(Peer, erlang, node, []).

host_part() ->
    {ok, Host} = inet:gethostname(),
    Host.

until(Fun) -> until(Fun, erlang:monotonic_time(millisecond) + 15000).
until(Fun, Deadline) ->
    case Fun() of
        true -> ok;
        false ->
            ?assert(erlang:monotonic_time(millisecond) < Deadline),
            receive after 20 -> until(Fun, Deadline) end
    end.
