#!/usr/bin/env escript
%% -*- erlang -*-
%%! -noinput
%% An AMQP client that keeps count. One of the ones in ERL_LIBS: RabbitMQ's own amqp_client.
%%
%%   declare HOST QUEUE                 a durable quorum queue; led by HOST
%%   declare HOST QUEUE TYPE            a durable queue: quorum, classic or stream
%%   place HOST QUEUE                   a durable classic queue, on the node that leads the fewest
%%   delete HOST QUEUE
%%   bind HOST EXCHANGE QUEUE...        a durable exchange that gives every message to each of the queues
%%   send HOST EXCHANGE COUNT SIZE      until that many messages of that many bytes are confirmed
%%   take HOST QUEUE COUNT              consumes and acknowledges that many, one of them asked for by itself
%%   read HOST STREAM OFFSET COUNT      consumes that many of a stream, from that offset on: a number, first, last or next.
%%                                      `read COUNT from FIRST to LAST` on standard output, by their offsets
%%   publish HOST QUEUE COUNT FILE      until COUNT messages are confirmed; their numbers to FILE.
%%                                      `confirmed N` on standard output as it goes
%%   verify HOST QUEUE FILE             takes everything out and compares with FILE
-mode(compile).
-include_lib("amqp_client/include/amqp_client.hrl").

%% Unconfirmed at once. Enough to keep three disks busy, few enough to lose sight of none.
-define(WINDOW, 200).
%% Without a confirmation or a message for so long, something is wrong.
-define(PATIENCE, 60000).

main(["declare", Host, Queue]) ->
    main(["declare", Host, Queue, "quorum"]);
main(["declare", Host, Queue, Type]) ->
    declare(Host, Queue, [{<<"x-queue-type">>, longstr, list_to_binary(Type)}]);
main(["place", Host, Queue]) ->
    declare(Host, Queue, [{<<"x-queue-master-locator">>, longstr, <<"min-masters">>}]);
main(["delete", Host, Queue]) ->
    {_, Channel} = connect(Host),
    #'queue.delete_ok'{} = amqp_channel:call(Channel, #'queue.delete'{queue = list_to_binary(Queue)}),
    ok;
main(["bind", Host, Exchange | Queues]) ->
    {_, Channel} = connect(Host),
    Name = list_to_binary(Exchange),
    #'exchange.declare_ok'{} = amqp_channel:call(Channel, #'exchange.declare'{
        exchange = Name, type = <<"fanout">>, durable = true}),
    [#'queue.bind_ok'{} = amqp_channel:call(Channel, #'queue.bind'{queue = list_to_binary(Queue), exchange = Name})
        || Queue <- Queues],
    ok;
main(["send", Host, Exchange, Count, Size]) ->
    {_, Channel} = connect(Host),
    #'confirm.select_ok'{} = amqp_channel:call(Channel, #'confirm.select'{}),
    [ok = amqp_channel:cast(Channel, #'basic.publish'{exchange = list_to_binary(Exchange)}, #amqp_msg{
        props = #'P_basic'{delivery_mode = 2}, payload = <<Number:64, 0:(list_to_integer(Size) * 8)>>})
        || Number <- lists:seq(1, list_to_integer(Count))],
    true = amqp_channel:wait_for_confirms(Channel, {?PATIENCE, millisecond}),
    say("sent~n", []);
main(["take", Host, Queue, Count]) ->
    {_, Channel} = connect(Host),
    Name = list_to_binary(Queue),
    {#'basic.get_ok'{delivery_tag = Tag}, _} = amqp_channel:call(Channel, #'basic.get'{queue = Name}),
    ok = amqp_channel:call(Channel, #'basic.ack'{delivery_tag = Tag}),
    #'basic.qos_ok'{} = amqp_channel:call(Channel, #'basic.qos'{prefetch_count = 5}),
    amqp_channel:subscribe(Channel, #'basic.consume'{queue = Name, consumer_tag = <<"take">>}, self()),
    receive #'basic.consume_ok'{} -> ok after ?PATIENCE -> halt(3) end,
    Taken = take(Channel, list_to_integer(Count) - 1, []),
    %% Answered when all before it has been.
    #'basic.cancel_ok'{} = amqp_channel:call(Channel, #'basic.cancel'{consumer_tag = <<"take">>}),
    say("taken ~b~n", [length(Taken) + 1]);
main(["read", Host, Stream, Offset, Count]) ->
    {_, Channel} = connect(Host),
    #'basic.qos_ok'{} = amqp_channel:call(Channel, #'basic.qos'{prefetch_count = 5}),
    From = try {<<"x-stream-offset">>, signedint, list_to_integer(Offset)}
           catch error:badarg -> {<<"x-stream-offset">>, longstr, list_to_binary(Offset)}
           end,
    amqp_channel:subscribe(Channel, #'basic.consume'{
        queue = list_to_binary(Stream), consumer_tag = <<"read">>, arguments = [From]}, self()),
    receive #'basic.consume_ok'{} -> ok after ?PATIENCE -> halt(3) end,
    Read = read(Channel, list_to_integer(Count)),
    #'basic.cancel_ok'{} = amqp_channel:call(Channel, #'basic.cancel'{consumer_tag = <<"read">>}),
    say("read ~b from ~b to ~b~n", [length(Read), hd(Read), lists:last(Read)]);
main(["publish", Host, Queue, Count, File]) ->
    {_, Channel} = connect(Host),
    #'confirm.select_ok'{} = amqp_channel:call(Channel, #'confirm.select'{}),
    ok = amqp_channel:register_confirm_handler(Channel, self()),
    Confirmed = publish(Channel, list_to_binary(Queue), list_to_integer(Count), 1, #{}, [], 0, 0),
    ok = file:write_file(File, term_to_binary(Confirmed)),
    say("done~n", []);
main(["verify", Host, Queue, File]) ->
    {ok, Binary} = file:read_file(File),
    Confirmed = sets:from_list(binary_to_term(Binary)),
    {_, Channel} = connect(Host),
    Name = list_to_binary(Queue),
    #'queue.declare_ok'{message_count = There} =
        amqp_channel:call(Channel, #'queue.declare'{queue = Name, passive = true}),
    #'basic.qos_ok'{} = amqp_channel:call(Channel, #'basic.qos'{prefetch_count = 500}),
    amqp_channel:subscribe(Channel, #'basic.consume'{queue = Name}, self()),
    receive #'basic.consume_ok'{} -> ok after ?PATIENCE -> halt(3) end,
    Taken = take(Channel, There, []),
    Unique = sets:from_list(Taken),
    Lost = sets:size(sets:subtract(Confirmed, Unique)),
    say("confirmed ~b lost ~b taken ~b different ~b~n",
        [sets:size(Confirmed), Lost, length(Taken), sets:size(Unique)]).

declare(Host, Queue, Arguments) ->
    {_, Channel} = connect(Host),
    #'queue.declare_ok'{} = amqp_channel:call(Channel, #'queue.declare'{
        queue = list_to_binary(Queue), durable = true, arguments = Arguments}),
    ok.

connect(Host) ->
    {ok, Connection} = amqp_connection:start(#amqp_params_network{host = Host, connection_timeout = ?PATIENCE}),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    {Connection, Channel}.

publish(_, _, Count, _, _, Confirmed, Number, _) when Number >= Count ->
    Confirmed;
publish(Channel, Queue, Count, Next, Pending, Confirmed, Number, Told) when map_size(Pending) < ?WINDOW ->
    Sequence = amqp_channel:next_publish_seqno(Channel),
    ok = amqp_channel:cast(Channel, #'basic.publish'{routing_key = Queue}, #amqp_msg{
        props = #'P_basic'{delivery_mode = 2}, payload = <<Next:64, 0:(100 * 8)>>}),
    publish(Channel, Queue, Count, Next + 1, Pending#{Sequence => Next}, Confirmed, Number, Told);
publish(Channel, Queue, Count, Next, Pending, Confirmed, Number, Told) ->
    receive
        #'basic.ack'{delivery_tag = Tag, multiple = Multiple} ->
            {New, Left} = settle(Tag, Multiple, Pending),
            More = Number + length(New),
            Now = case More div 250 > Told div 250 of
                true -> say("confirmed ~b~n", [More]), More;
                false -> Told
            end,
            publish(Channel, Queue, Count, Next, Left, New ++ Confirmed, More, Now);
        #'basic.nack'{delivery_tag = Tag, multiple = Multiple} ->
            %% Not promised, so not counted.
            {_, Left} = settle(Tag, Multiple, Pending),
            publish(Channel, Queue, Count, Next, Left, Confirmed, Number, Told)
    after ?PATIENCE ->
        say("no confirmation any more, after ~b~n", [Number]),
        halt(3)
    end.

settle(Tag, false, Pending) ->
    case maps:take(Tag, Pending) of
        {Number, Left} -> {[Number], Left};
        error -> {[], Pending}
    end;
settle(Tag, true, Pending) ->
    {maps:values(maps:filter(fun(Sequence, _) -> Sequence =< Tag end, Pending)),
     maps:filter(fun(Sequence, _) -> Sequence > Tag end, Pending)}.

take(_, 0, Taken) ->
    Taken;
take(Channel, Left, Taken) ->
    receive
        {#'basic.deliver'{delivery_tag = Tag}, #amqp_msg{payload = <<Number:64, _/binary>>}} ->
            ok = amqp_channel:cast(Channel, #'basic.ack'{delivery_tag = Tag}),
            take(Channel, Left - 1, [Number | Taken])
    after ?PATIENCE ->
        say("~b messages do not come~n", [Left]),
        halt(3)
    end.

%% Messages of a stream, each of which says where it stands.
read(_, 0) ->
    [];
read(Channel, Left) ->
    receive
        {#'basic.deliver'{delivery_tag = Tag}, #amqp_msg{props = #'P_basic'{headers = Headers}}} ->
            {_, _, Offset} = lists:keyfind(<<"x-stream-offset">>, 1, Headers),
            ok = amqp_channel:cast(Channel, #'basic.ack'{delivery_tag = Tag}),
            [Offset | read(Channel, Left - 1)]
    after ?PATIENCE ->
        say("~b messages do not come~n", [Left]),
        halt(3)
    end.

say(Format, Arguments) ->
    io:format(Format, Arguments).
