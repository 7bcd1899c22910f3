-module(skans_cookie_tests).
-include_lib("eunit/include/eunit.hrl").

load_test_() ->
    {foreach, fun dir/0, fun remove/1,
     [fun(Dir) -> {title(F), fun() -> F(Dir) end} end || F <- [
         fun own_file_wins/1, fun others_share_one/1, fun none_is_an_error_that_names_both/1,
         fun own_file_that_others_may_read_is_no_reason_to_take_the_shared/1,
         fun content_is_checked/1, fun a_directory_is_no_cookie/1]]}.

title(F) ->
    {name, Name} = erlang:fun_info(F, name),
    atom_to_list(Name).

dir() ->
    Dir = filename:join(os:getenv("TMPDIR", "/tmp"),
                        "skans-cookie-" ++ integer_to_list(erlang:unique_integer([positive])) ++
                            "-" ++ os:getpid()),
    ok = filelib:ensure_dir(filename:join([Dir, "cli", "x"])),
    os:putenv("SKANS_COOKIES", Dir),
    Dir.

remove(Dir) ->
    os:unsetenv("SKANS_COOKIES"),
    file:del_dir_r(Dir).

write(Dir, Name, Bytes) -> write(Dir, Name, Bytes, 8#400).
write(Dir, Name, Bytes, Mode) ->
    File = filename:join(Dir, Name),
    _ = file:delete(File),
    ok = file:write_file(File, Bytes),
    ok = file:change_mode(File, Mode).

own_file_wins(Dir) ->
    write(Dir, "a.cookie", "OWN\n"),
    write(Dir, "cli/.erlang.cookie", "SHARED"),
    ?assertEqual({ok, 'OWN'}, skans_cookie:load("a")).

others_share_one(Dir) ->
    write(Dir, "a.cookie", "OWN"),
    write(Dir, "cli/.erlang.cookie", "SHARED\n"),
    ?assertEqual({ok, 'SHARED'}, skans_cookie:load("rabbitmqcli-1-a")).

none_is_an_error_that_names_both(Dir) ->
    {error, Text} = skans_cookie:load("a"),
    ?assertNotEqual(nomatch, string:find(Text, Dir ++ "/a.cookie")),
    ?assertNotEqual(nomatch, string:find(Text, Dir ++ "/cli/.erlang.cookie")).

own_file_that_others_may_read_is_no_reason_to_take_the_shared(Dir) ->
    write(Dir, "cli/.erlang.cookie", "SHARED"),
    [begin
         write(Dir, "a.cookie", "OWN", Mode),
         {error, Text} = skans_cookie:load("a"),
         ?assertNotEqual(nomatch, string:find(Text, Dir ++ "/a.cookie"))
     end || Mode <- [8#404, 8#402, 8#420, 8#644]],
    write(Dir, "a.cookie", "OWN", 8#440),
    ?assertEqual({ok, 'OWN'}, skans_cookie:load("a")).

content_is_checked(Dir) ->
    [begin
         write(Dir, "a.cookie", Bytes),
         ?assertMatch({error, _}, skans_cookie:load("a"))
     end || Bytes <- ["", "\n", "with\nnewline", "t\tab", [255], lists:duplicate(256, $a)]],
    Longest = lists:duplicate(255, $a),
    write(Dir, "a.cookie", Longest ++ "\r\n"),
    ?assertEqual({ok, list_to_atom(Longest)}, skans_cookie:load("a")).

a_directory_is_no_cookie(Dir) ->
    ok = file:make_dir(filename:join(Dir, "a.cookie")),
    ?assertMatch({error, _}, skans_cookie:load("a")).
