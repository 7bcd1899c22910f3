%% A process whose names are in global and whose groups are in pg. It has no name of its own, unless it is given one.
-module(clubs).
-behaviour(gen_server).

-export([start/1, start/2, trans/2]).
-export([init/1, handle_call/3, handle_cast/2]).

start(What) -> gen_server:start(?MODULE, What, []).

%% Registered by global, or by its own node.
start({global, Name}, What) -> gen_server:start({global, Name}, ?MODULE, What, []);
start({local, Name}, What) -> gen_server:start({local, Name}, ?MODULE, What, []).

%% Holds a lock of the whole cluster until it is told to let it go.
trans(Lock, Parent) ->
    spawn(fun() ->
        global:trans({Lock, self()}, fun() -> Parent ! {held, self()}, receive release -> ok end end),
        Parent ! released
    end).

init(What) -> {ok, What}.

handle_call(who, _, What) -> {reply, {What, node()}, What};
handle_call({join, Scope, Group}, _, What) -> {reply, pg:join(Scope, Group, self()), What};
handle_call({leave, Scope, Group}, _, What) -> {reply, pg:leave(Scope, Group, self()), What};
handle_call(stop, _, What) -> {stop, normal, ok, What}.

handle_cast({tell, Pid, Text}, What) ->
    Pid ! {told, Text, What, node()},
    {noreply, What}.
