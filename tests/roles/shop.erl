%% An ordinary application: a server with a name, workers on whichever node, and one that fails.
-module(shop).
-behaviour(gen_server).

-export([start/0, level/1, where/0, worker/1, fails/0, says/1, logs/1, session/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

start() ->
    {ok, _} = gen_server:start({local, shop_stock}, ?MODULE, named, []),
    ok.

level(Fruit) -> gen_server:call(shop_stock, {level, Fruit}).

where() -> {node(), node(group_leader())}.

%% Lives until it is told to end, and says so.
worker(Parent) ->
    Parent ! {worker, self(), node()},
    receive {Parent, ask, What} -> Parent ! {answer, self(), What}, worker(Parent); stop -> ok end.

fails() -> exit(failed).

says(Text) -> io:format("~ts~n", [Text]).

logs(Text) ->
    logger:notice("shop: ~ts", [Text]),
    ok.

%% A process without a name for each customer.
session(Who) -> gen_server:start(?MODULE, {session, Who}, []).

init(State) -> {ok, State}.

handle_call({level, Fruit}, _, State) -> {reply, {level, Fruit, node()}, State};
handle_call({session, Who}, _, State) ->
    {ok, Pid} = session(Who),
    {reply, Pid, State};
handle_call({run, Fun}, _, State) -> {reply, Fun(), State};
handle_call(who, _, State) -> {reply, State, State};
handle_call(stop, _, State) -> {stop, normal, stopped, State}.

handle_cast({tell, Pid, What}, State) ->
    Pid ! {told, What, node()},
    {noreply, State}.

handle_info({tell, Pid, What}, State) ->
    Pid ! {told, What, node()},
    {noreply, State};
handle_info(_, State) -> {noreply, State}.
