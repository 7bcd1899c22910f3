-module(skans_env_tests).
-include_lib("eunit/include/eunit.hrl").

with(Env, Fun) ->
    Keys = ["ERL_EPMD_ADDRESS", "ERL_EPMD_PORT", "SKANS_COOKIES", "SKANS_WAIT"],
    Before = [{K, os:getenv(K)} || K <- Keys],
    [os:unsetenv(K) || K <- Keys],
    [os:putenv(K, V) || {K, V} <- Env],
    try Fun()
    after [case V of false -> os:unsetenv(K); _ -> os:putenv(K, V) end || {K, V} <- Before]
    end.

the_agent_is_where_epmd_would_be_test() ->
    with([], fun() ->
        ?assertEqual({ok, {{127, 0, 0, 1}, 4369}}, skans_env:agent(inet)),
        ?assertEqual({ok, {{0, 0, 0, 0, 0, 0, 0, 1}, 4369}}, skans_env:agent(inet6))
    end).

the_first_address_counts_test() ->
    with([{"ERL_EPMD_ADDRESS", "127.0.1.1,10.0.0.1"}, {"ERL_EPMD_PORT", "14369"}], fun() ->
        ?assertEqual({ok, {{127, 0, 1, 1}, 14369}}, skans_env:agent(inet))
    end).

an_address_that_is_not_loopback_is_refused_test_() ->
    [fun() -> with([{"ERL_EPMD_ADDRESS", A}], fun() ->
         {error, Text} = skans_env:agent(inet),
         ?assertNotEqual(nomatch, string:find(Text, "ERL_EPMD_ADDRESS is '" ++ A ++ "'"))
     end) end || A <- ["10.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "host", "10.0.0.1,127.0.0.1"]].

numbers_have_bounds_test_() ->
    [fun() -> with([{K, V}], fun() ->
         {error, Text} = case K of
                             "SKANS_WAIT" -> skans_env:wait();
                             _ -> skans_env:agent(inet)
                         end,
         ?assertNotEqual(nomatch, string:find(Text, K ++ " is '" ++ V ++ "'"))
     end) end || {K, V} <- [{"ERL_EPMD_PORT", "0"}, {"ERL_EPMD_PORT", "65536"},
                            {"ERL_EPMD_PORT", "4369x"}, {"SKANS_WAIT", "-1"},
                            {"SKANS_WAIT", "601"}, {"SKANS_WAIT", "soon"}]].

waiting_is_in_seconds_test() ->
    with([], fun() -> ?assertEqual({ok, 10000}, skans_env:wait()) end),
    with([{"SKANS_WAIT", "0"}], fun() -> ?assertEqual({ok, 0}, skans_env:wait()) end).

cookies_have_no_default_test() ->
    with([], fun() -> ?assertMatch({error, _}, skans_env:cookies()) end),
    with([{"SKANS_COOKIES", ""}], fun() -> ?assertMatch({error, _}, skans_env:cookies()) end).
