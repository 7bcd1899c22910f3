%% One question to the agent at a time, in the language of epmd. No state: who
%% registers keeps the socket that register/4 hands back.
%%
%% Three things go beyond epmd: the name asked for may be a full one (`b@host-b`),
%% ALIVE2's extra field carries what the agent needs to know of this node, and an
%% agent that wants it is told which processes bear a name.
-module(skans_agent).

-export([register/4, wants/1, tell/2, resolve/2, names/1]).

-type agent() :: {inet:ip_address(), inet:port_number()}.

-define(ALIVE2, 120).
-define(ALIVE2_X_RESP, 118).
-define(PORT_PLEASE2, 122).
-define(PORT2_RESP, 119).
-define(NAMES, 110).

-define(NORMAL_NODE, 77).
-define(TCP, 0).
%% The handshake of OTP 23 and later; no node of OTP 25 needs another.
-define(DIST_VERSION, 6).

%% The agent is on this machine and answers from memory, so that a second is
%% long. Together with connecting it stays far below net_setuptime (7 s), within
%% which net_kernel wants a connection to stand.
-define(CONNECT_MS, 1000).
-define(ANSWER_MS, 1000).
%% A registration is checked first: the agent looks at the node's listener.
-define(REGISTER_MS, 5000).
%% What is told fits into the socket's buffer unless the agent reads nothing.
-define(TELL_MS, 1000).

%% In ALIVE2's extra field: this node can tell its names. Behind the answer: they
%% are wanted. An agent that does not know of it sends nothing there.
-define(CAN_TELL_NAMES, 1).
-define(WANTS_NAMES, 1).

%% An answer of this size tells of more nodes than one host carries.
-define(NAMES_MAX, 1 bsl 18).

%% Registers this node. The registration lasts as long as the socket stays open.
%% A creation of 0 asks for a new one.
-spec register(agent(), Alive :: string(), inet:port_number(),
               #{creation := non_neg_integer(), tick_s := pos_integer(),
                 family := skans_env:family()}) ->
          {ok, gen_tcp:socket(), Creation :: non_neg_integer()}
        | {refused, byte()}
        | {error, term()}.
register(Agent, Alive, Port, #{creation := Creation, tick_s := Tick, family := Family}) ->
    Name = unicode:characters_to_binary(Alive),
    Extra = <<"SK1", Creation:32, Tick:16, (case Family of inet -> 4; inet6 -> 6 end):8,
              ?CAN_TELL_NAMES:8>>,
    Request = <<?ALIVE2, Port:16, ?NORMAL_NODE, ?TCP, ?DIST_VERSION:16, ?DIST_VERSION:16,
                (byte_size(Name)):16, Name/binary, (byte_size(Extra)):16, Extra/binary>>,
    with_answer(Agent, Request, fun(Socket) ->
        case gen_tcp:recv(Socket, 6, ?REGISTER_MS) of
            {ok, <<?ALIVE2_X_RESP, 0, Given:32>>} -> {keep, {ok, Socket, Given}};
            {ok, <<?ALIVE2_X_RESP, Result, _:32>>} -> {refused, Result};
            {ok, _} -> {error, not_an_agent};
            {error, _} = Error -> Error
        end
    end).

%% What the agent says on the socket of a registration: that it wants to be told
%% the names of this node. epmd is silent there.
-spec wants(binary()) -> names | nothing.
wants(<<"SK1", Wanted:8>>) when Wanted band ?WANTS_NAMES =/= 0 -> names;
wants(_) -> nothing.

%% Tells what skans_names:table/0 gives, over the socket of the registration.
-spec tell(gen_tcp:socket(), binary()) -> ok | {error, term()}.
tell(Socket, Table) ->
    _ = inet:setopts(Socket, [{send_timeout, ?TELL_MS}, {send_timeout_close, true}]),
    gen_tcp:send(Socket, [<<(byte_size(Table)):32>>, Table]).

%% The loopback port that stands for a node: `alive@host` for any, `alive` for
%% one of this host.
-spec resolve(agent(), Name :: string()) ->
          {ok, inet:port_number()} | noport | {error, term()}.
resolve(Agent, Name) ->
    Request = <<?PORT_PLEASE2, (unicode:characters_to_binary(Name))/binary>>,
    with_answer(Agent, Request, fun(Socket) ->
        case gen_tcp:recv(Socket, 2, ?ANSWER_MS) of
            {ok, <<?PORT2_RESP, 0>>} ->
                case gen_tcp:recv(Socket, 2, ?ANSWER_MS) of
                    {ok, <<Port:16>>} when Port > 0 -> {ok, Port};
                    {ok, _} -> noport;
                    {error, _} = Error -> Error
                end;
            {ok, <<?PORT2_RESP, _>>} -> noport;
            {ok, _} -> {error, not_an_agent};
            {error, _} = Error -> Error
        end
    end).

%% The nodes of this host, as the agent shows them.
-spec names(agent()) -> {ok, [{string(), inet:port_number()}]} | {error, term()}.
names(Agent) ->
    with_answer(Agent, <<?NAMES>>, fun(Socket) ->
        Deadline = erlang:monotonic_time(millisecond) + ?ANSWER_MS,
        case all(Socket, Deadline, <<>>) of
            {ok, <<_Port:32, Lines/binary>>} -> {ok, parse_names(Lines)};
            {ok, _} -> {error, not_an_agent};
            {error, _} = Error -> Error
        end
    end).

with_answer({Ip, Port}, Request, Read) ->
    Family = case tuple_size(Ip) of 4 -> inet; 8 -> inet6 end,
    %% The length is a field of the protocol, and nothing comes back with one.
    Options = [Family, binary, {active, false}, {packet, raw}, {nodelay, true}],
    case gen_tcp:connect(Ip, Port, Options, ?CONNECT_MS) of
        {ok, Socket} ->
            Answer = case gen_tcp:send(Socket, [<<(byte_size(Request)):16>>, Request]) of
                         ok -> Read(Socket);
                         {error, _} = Error -> Error
                     end,
            case Answer of
                {keep, Kept} -> Kept;
                _ -> gen_tcp:close(Socket), Answer
            end;
        {error, _} = Error ->
            Error
    end.

all(_Socket, _Deadline, SoFar) when byte_size(SoFar) > ?NAMES_MAX ->
    {error, emsgsize};
all(Socket, Deadline, SoFar) ->
    Left = max(0, Deadline - erlang:monotonic_time(millisecond)),
    case gen_tcp:recv(Socket, 0, Left) of
        {ok, Bytes} -> all(Socket, Deadline, <<SoFar/binary, Bytes/binary>>);
        {error, closed} -> {ok, SoFar};
        {error, _} = Error -> Error
    end.

%% "name NAME at port PORT\n"; what does not look like it is passed over.
parse_names(Lines) ->
    lists:filtermap(fun parse_name/1, binary:split(Lines, <<"\n">>, [global, trim_all])).

parse_name(Line) ->
    case binary:split(Line, <<" ">>, [global]) of
        [<<"name">>, Name, <<"at">>, <<"port">>, Port] ->
            try {true, {binary_to_list(Name), binary_to_integer(Port)}}
            catch error:badarg -> false
            end;
        _ ->
            false
    end.
