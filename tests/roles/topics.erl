%% A double of Phoenix.PubSub 2 and of Phoenix.Tracker, as far as other nodes see it: names, groups and messages are those of
%% Phoenix.PubSub.PG2 and Phoenix.Tracker.Shard (2.0 to 2.2), what each does with them is not. Its CRDT is a plain map, its
%% subscribers are a table, and its clocks tick faster.
-module(topics).
-behaviour(gen_server).

-export([start/0, subscribe/1, broadcast/2, direct_broadcast/3, track/2, present/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(SCOPE, 'Elixir.Phoenix.PubSub').
-define(PUBSUB, 'Elixir.MyApp.PubSub').
%% Two workers, as with `pool_size: 2`.
-define(ADAPTERS, {'Elixir.MyApp.PubSub.Adapter', 'Elixir.MyApp.PubSub.Adapter_2'}).
-define(SHARD, 'Elixir.MyApp.Presence_shard0').
-define(PRESENCES, <<"phx_presence:Elixir.MyApp.Presence_shard0">>).
%% How often a replica tells of itself, and after how much silence it is taken for gone. Phoenix: 1500 and 30,000.
-define(PERIOD, 50).
-define(DOWN, 1000).

start() ->
    ?PUBSUB = ets:new(?PUBSUB, [named_table, public, bag, {heir, whereis(init), none}]),
    {ok, _} = pg:start(?SCOPE),
    [{ok, _} = gen_server:start({local, Name}, ?MODULE, {adapter, Name}, []) || Name <- tuple_to_list(?ADAPTERS)],
    {ok, _} = gen_server:start({local, ?SHARD}, ?MODULE, shard, []),
    ok.

subscribe(Topic) -> ets:insert(?PUBSUB, {Topic, self()}).

broadcast(Topic, Message) ->
    [Pid ! {forward_to_local, Topic, Message, ?SCOPE} || Pid <- pg:get_members(?SCOPE, adapter()), node(Pid) =/= node()],
    local(Topic, Message).

direct_broadcast(Node, Topic, Message) ->
    {adapter(), Node} ! {forward_to_local, Topic, Message, ?SCOPE},
    ok.

track(Key, Meta) -> gen_server:call(?SHARD, {track, self(), Key, Meta}).

present() -> gen_server:call(?SHARD, list).

%% Which worker it is depends on who asks.
adapter() -> element(1 + erlang:phash2(self(), tuple_size(?ADAPTERS)), ?ADAPTERS).

local(Topic, Message) ->
    [Pid ! Message || {_, Pid} <- ets:lookup(?PUBSUB, Topic)],
    ok.

init({adapter, Name}) ->
    ok = pg:join(?SCOPE, Name, self()),
    {ok, adapter};
init(shard) ->
    subscribe(?PRESENCES),
    {ok, _} = timer:send_interval(?PERIOD, heartbeat),
    {ok, #{ref => {node(), erlang:unique_integer()}, own => #{}, others => #{}}}.

handle_call({track, Pid, Key, Meta}, _, #{own := Own} = State) ->
    {reply, ok, State#{own := Own#{{Pid, Key} => Meta}}};
handle_call(list, _, #{own := Own, others := Others} = State) ->
    All = [Own | [Theirs || {_, Theirs} <- maps:values(Others), is_map(Theirs)]],
    {reply, lists:sort([Key || Presences <- All, {_, Key} <- maps:keys(Presences)]), State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({forward_to_local, Topic, Message, ?SCOPE}, adapter) ->
    local(Topic, Message),
    {noreply, adapter};
handle_info(heartbeat, #{ref := Ref, others := Others} = State) ->
    broadcast(?PRESENCES, {pub, heartbeat, Ref, empty, {Ref, #{Ref => 1}}}),
    Now = erlang:monotonic_time(millisecond),
    {noreply, State#{others := maps:filter(fun(_, {Heard, _}) -> Now - Heard < ?DOWN end, Others)}};
handle_info({pub, heartbeat, Ref, _, _}, #{ref := Ref} = State) ->
    {noreply, State};
handle_info({pub, heartbeat, {Node, _} = Other, _, _}, #{ref := Ref, others := Others} = State) ->
    %% A heartbeat of Phoenix's carries what is new; here it is asked for as after a silence.
    direct_broadcast(Node, ?PRESENCES, {pub, transfer_req, make_ref(), Ref, {Ref, #{}}}),
    {_, Theirs} = maps:get(Other, Others, {0, unknown}),
    {noreply, State#{others := Others#{Other => {erlang:monotonic_time(millisecond), Theirs}}}};
handle_info({pub, transfer_req, Request, {Node, _}, _}, #{ref := Ref, own := Own} = State) ->
    direct_broadcast(Node, ?PRESENCES, {pub, transfer_ack, Request, Ref, Own}),
    {noreply, State};
handle_info({pub, transfer_ack, _, Other, Theirs}, #{others := Others} = State) ->
    {noreply, State#{others := Others#{Other => {erlang:monotonic_time(millisecond), Theirs}}}};
handle_info(_, State) ->
    {noreply, State}.
