%% What is committed in ebin.
-module(skans_ebin_tests).
-include_lib("eunit/include/eunit.hrl").

the_application_names_its_modules_test() ->
    {ok, [{application, skans, Keys}]} = file:consult("ebin/skans.app"),
    {modules, Modules} = lists:keyfind(modules, 1, Keys),
    ?assertEqual(lists:sort(Modules),
                 lists:sort([list_to_atom(filename:basename(B, ".beam")) || B <- beams()])).

%% OTP 29 does not load bs_test_unit, which OTP 25 makes of `_/binary`; `_/bits`
%% means the same and loads on both.
no_instruction_that_otp_29_refuses_test_() ->
    [{B, fun() -> ?assertEqual([], [F || {function, F, _, _, Code} <- code_of(B),
                                         {test, bs_test_unit, _, _} <- Code]) end}
     || B <- beams()].

%% Who replaces a module of OTP must answer all that it answers.
what_otp_exports_is_exported_test() ->
    Kernel = filename:join(code:lib_dir(kernel), "ebin"),
    {ok, {_, [{exports, Otp}]}} = beam_lib:chunks(filename:join(Kernel, "erl_epmd"), [exports]),
    {ok, {_, [{exports, Ours}]}} = beam_lib:chunks("ebin/erl_epmd.beam", [exports]),
    Callbacks = [{init, 1}, {handle_call, 3}, {handle_cast, 2}, {handle_info, 2},
                 {terminate, 2}, {code_change, 3}],
    ?assertEqual([], (Otp -- Callbacks) -- Ours).

code_of(Beam) ->
    {beam_file, _, _, _, _, Functions} = beam_disasm:file(Beam),
    Functions.

beams() ->
    Beams = filelib:wildcard("ebin/*.beam"),
    ?assertNotEqual([], Beams),
    Beams.
