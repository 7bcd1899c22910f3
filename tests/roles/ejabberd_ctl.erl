%% What ejabberdctl asks for, of a server that is none.
-module(ejabberd_ctl).
-export([process/2]).

process(["status"], _Version) -> {ok, node()}.
