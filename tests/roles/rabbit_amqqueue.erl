%% Lists as rabbitmqctl gets them: piece by piece, to a process of its own.
-module(rabbit_amqqueue).
-export([emit_info_all/5]).

emit_info_all(Nodes, _VHost, Items, Ref, Pid) ->
    Watched = monitor(process, Pid),
    [Pid ! {Ref, [{Item, {Node, N}} || Item <- Items], continue} || Node <- Nodes, N <- lists:seq(1, 3)],
    Pid ! {Ref, finished},
    demonitor(Watched, [flush]),
    ok.
