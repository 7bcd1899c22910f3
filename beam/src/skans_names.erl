%% Which processes of this node bear a name, in the form in which the agent wants
%% to know it: it judges a message to a bare pid as one to the name that the pid
%% bears. Nothing of when it is told.
-module(skans_names).

-export([table/0]).

%% A node has some hundreds, most of them OTP's. The agent takes no more either.
-define(MAX_NAMES, 16384).

%% `$N creation:32 (id:32 serial:32 length:16 name)*`, name in UTF-8. Of too many
%% those that started first: among them are all of OTP's own.
-spec table() -> binary().
table() ->
    Named = lists:sort([{numbers(Pid), Name} || Name <- registered(),
                                                Pid <- [whereis(Name)], is_pid(Pid)]),
    Entries = [entry(Numbers, atom_to_binary(Name))
               || {Numbers, Name} <- lists:sublist(Named, ?MAX_NAMES)],
    iolist_to_binary([$N, <<(erlang:system_info(creation)):32>> | Entries]).

entry({Serial, Id}, Name) ->
    [<<Id:32, Serial:32, (byte_size(Name)):16>>, Name].

%% As they stand on the wire: NEW_PID_EXT ends in id, serial and creation.
numbers(Pid) ->
    Term = term_to_binary(Pid),
    <<Id:32, Serial:32, _Creation:32>> = binary:part(Term, byte_size(Term), -12),
    {Serial, Id}.
