#!/usr/bin/env escript
%% -*- erlang -*-
%%! -noinput
%% An AMQP client that keeps count. One of the ones in ERL_LIBS: RabbitMQ's own amqp_client.
%%
%%   declare HOST QUEUE                 a durable quorum queue; led by HOST
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
    {_, Channel} = connect(Host),
    #'queue.declare_ok'{} = amqp_channel:call(Channel, #'queue.declare'{
        queue = list_to_binary(Queue), durable = true,
        arguments = [{<<"x-queue-type">>, longstr, <<"quorum">>}]}),
    ok;
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

say(Format, Arguments) ->
    io:format(Format, Arguments).
