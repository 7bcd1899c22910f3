%% What `-epmd_module` asks for: a node's window to its agent. Holds the
%% registration; every other question goes straight to the agent from the
%% process that asks, so that a slow answer holds up nobody else.
%%
%% start_link/0 and register_node/3 run before standard_error, the file server
%% and most of kernel exist.
-module(skans_epmd).

-behaviour(gen_server).

-export([start_link/0, register_node/2, register_node/3, listen_port_please/2,
         address_please/3, port_please/2, port_please/3, names/0, names/1]).

-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(DIST_VERSION, 6).

%% Between two attempts to reach the agent while the node boots.
-define(BOOT_RETRY_MS, 100).

%% Between two attempts to register again once the agent is gone: doubled up to
%% the fixed 2 s of OTP's own client, and jittered, since all nodes of a host
%% lose their agent at the same moment.
-define(RETRY_MIN_MS, 100).
-define(RETRY_MAX_MS, 2000).

%% A program that starts distribution itself often sets a cookie right after, and
%% could then not be dialled. OTP tells nobody, so the cookie is set again: soon
%% enough for a peer that tries once more, too seldom to be noticed.
-define(COOKIE_MS, 5000).

%% How old the agent's table of names may be: a second is not noticed by a node
%% (a hundred names are looked up in some 20 microseconds). Sooner until it has
%% one, since others dial as soon as this node has its name.
-define(NAMES_MS, 1000).
-define(FIRST_NAMES_MS, 50).

%% How long a caller waits to learn this node's own port.
-define(OWN_PORT_MS, 5000).

-record(state, {name :: string() | undefined,
                port = 0 :: inet:port_number(),
                family = inet :: skans_env:family(),
                socket :: gen_tcp:socket() | undefined,
                %% What the agent was told of this node's names, if it wants to be.
                names = unwanted :: unwanted | wanted | binary(),
                retry_ms = ?RETRY_MIN_MS :: pos_integer(),
                %% The last failure that was logged, so that each is logged once.
                told :: term()}).

%%% What net_kernel, net_adm and the distribution modules call

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

register_node(Name, Port) ->
    register_node(Name, Port, skans_env:carrier()).

%% May be called again at any time, as RabbitMQ does once a minute.
register_node(Name, Port, Driver) ->
    gen_server:call(?MODULE, {register, skans_host:text(Name), Port, family(Driver)}, infinity).

%% Any port: only the agent connects to it, and the agent is told.
listen_port_please(_Name, _Host) ->
    {ok, 0}.

%% Called twice for each connection. First net_kernel itself asks whether the
%% name can be dialled at all, and must not be kept waiting: every node that
%% the agent may know is dialled through loopback. Then the process that sets
%% the connection up asks where to.
address_please(Name, Host, Driver) ->
    Family = family(Driver),
    Ip = skans_host:loopback(Family),
    case self() =:= whereis(net_kernel) of
        true -> {ok, Ip};
        false -> stand_in(skans_host:text(Name) ++ "@" ++ skans_host:text(Host), Family, Ip)
    end.

port_please(Name, Host) ->
    port_please(Name, Host, infinity).

%% The time-out of the caller is not needed: the agent's answer is bounded.
port_please(Name, Host, _Timeout) ->
    Alive = skans_host:text(Name),
    Full = Alive ++ "@" ++ skans_host:text(Host),
    Asked = case Full =:= atom_to_list(node()) of
                true -> own_port();
                false -> ask(skans_env:carrier(), fun(Agent) ->
                             skans_agent:resolve(Agent, wanted(Alive, Host, Full))
                         end)
            end,
    case Asked of
        {ok, Port} -> {port, Port, ?DIST_VERSION};
        _ -> noport
    end.

names() ->
    case ask(skans_env:carrier(), fun skans_agent:names/1) of
        {ok, Names} -> {ok, Names};
        {error, _} -> {error, address}
    end.

%% No other host has an epmd that could be asked.
names(Host) ->
    case skans_host:is_local(Host) of
        true -> names();
        false -> {error, address}
    end.

%%% The registration

init([]) ->
    {ok, #state{}}.

handle_call({register, Name, Port, Family}, _From, #state{name = undefined} = State) ->
    Wanted = State#state{name = Name, port = Port, family = Family},
    case boot(Wanted) of
        {ok, Creation, Registered} ->
            _ = erlang:send_after(?COOKIE_MS, self(), cookie),
            {reply, {ok, Creation}, Registered};
        {error, Text} ->
            %% Straight to standard error: the logger may have no handler yet,
            %% and what net_kernel says of the reason goes to standard output.
            erlang:display_string("Skans: " ++ Text ++ "\n"),
            {reply, {error, skans}, State}
    end;
handle_call({register, Name, _Port, _Family}, _From, #state{name = Name} = State) ->
    {reply, {ok, erlang:system_info(creation)}, State};
handle_call({register, _Name, _Port, _Family}, _From, State) ->
    {reply, {error, already_registered}, State};
handle_call(port, _From, #state{name = undefined} = State) ->
    {reply, noport, State};
handle_call(port, _From, State) ->
    {reply, {ok, State#state.port}, State};
handle_call(_, _From, State) ->
    {reply, {error, badarg}, State}.

handle_cast(_, State) ->
    {noreply, State}.

handle_info({tcp_closed, Socket}, #state{socket = Socket} = State) ->
    {noreply, lost(closed, State)};
handle_info({tcp_error, Socket, Reason}, #state{socket = Socket} = State) ->
    {noreply, lost(Reason, State)};
%% After the answer to ALIVE2 epmd is silent; an agent says once what it wants.
handle_info({tcp, Socket, Said}, #state{socket = Socket, names = unwanted} = State) ->
    case skans_agent:wants(Said) of
        names ->
            _ = inet:setopts(Socket, [{active, once}]),
            self() ! {names, Socket},
            {noreply, State#state{names = wanted}};
        nothing ->
            {noreply, lost(not_an_agent, State)}
    end;
handle_info({tcp, Socket, _}, #state{socket = Socket} = State) ->
    {noreply, lost(not_an_agent, State)};
handle_info({names, Socket}, #state{socket = Socket} = State) ->
    {noreply, tell_names(State)};
handle_info({names, _Former}, State) ->
    {noreply, State};
handle_info(register, #state{socket = undefined} = State) ->
    case attempt(State) of
        {ok, _Creation, Registered} ->
            logger:notice("Skans: registered with the agent again"),
            {noreply, Registered};
        {Kind, Reason} when Kind =:= refused; Kind =:= error ->
            {noreply, retry(tell(text(Kind, Reason, State), State))}
    end;
%% A file that is gone or spoilt leaves the cookie as it is.
handle_info(cookie, #state{name = Name} = State) ->
    _ = skans_cookie:enforce(Name),
    _ = erlang:send_after(?COOKIE_MS, self(), cookie),
    {noreply, State};
handle_info(_, State) ->
    {noreply, State}.

%% Waits for an agent that is not there yet, within the bound of the
%% environment. What waiting cannot mend ends it at once.
boot(State) ->
    case {skans_env:wait(), skans_env:agent(State#state.family), skans_env:cookies()} of
        {{ok, Wait}, {ok, _}, {ok, _}} ->
            boot(State, erlang:monotonic_time(millisecond) + Wait);
        Wrong ->
            [Text | _] = [T || {error, T} <- tuple_to_list(Wrong)],
            {error, Text}
    end.

boot(State, Deadline) ->
    Left = Deadline - erlang:monotonic_time(millisecond),
    case attempt(State) of
        {ok, _, _} = Registered ->
            Registered;
        {error, _} when Left > 0 ->
            receive after min(Left, ?BOOT_RETRY_MS) -> boot(State, Deadline) end;
        {Kind, Reason} ->
            {error, text(Kind, Reason, State)}
    end.

%% One attempt: the cookie first, since the agent may connect to this node as
%% soon as it is registered.
attempt(#state{name = Name, port = Port, family = Family} = State) ->
    case {skans_cookie:enforce(Name), skans_env:agent(Family)} of
        {ok, {ok, Agent}} ->
            %% 0 until the node has its name: then a restarted agent learns the
            %% creation that the node's peers know it by.
            Extra = #{creation => erlang:system_info(creation), tick_s => tick_s(),
                      family => Family},
            case skans_agent:register(Agent, Name, Port, Extra) of
                {ok, Socket, Creation} ->
                    _ = inet:setopts(Socket, [{active, once}]),
                    {ok, Creation, State#state{socket = Socket, retry_ms = ?RETRY_MIN_MS,
                                               told = undefined}};
                NotRegistered ->
                    NotRegistered
            end;
        {{error, _} = Error, _} ->
            Error;
        {_, {error, _} = Error} ->
            Error
    end.

%% Before the node has its name, its pids are not those that others get to see.
tell_names(#state{socket = Socket, names = Told} = State) ->
    case erlang:is_alive() of
        true ->
            case skans_names:table() of
                Told ->
                    look_again(?NAMES_MS, State);
                Table ->
                    case skans_agent:tell(Socket, Table) of
                        ok -> look_again(?NAMES_MS, State#state{names = Table});
                        {error, Reason} -> lost(Reason, State)
                    end
            end;
        false ->
            look_again(?FIRST_NAMES_MS, State)
    end.

look_again(Ms, #state{socket = Socket} = State) ->
    _ = erlang:send_after(Ms, self(), {names, Socket}),
    State.

lost(Reason, #state{socket = Socket} = State) ->
    _ = gen_tcp:close(Socket),
    Text = "lost the agent (" ++ atom_to_list(Reason) ++ "), registering again until it is back",
    retry(tell(Text, State#state{socket = undefined, names = unwanted})).

retry(#state{retry_ms = Ms} = State) ->
    _ = erlang:send_after(Ms div 2 + rand:uniform(Ms div 2), self(), register),
    State#state{retry_ms = min(Ms * 2, ?RETRY_MAX_MS)}.

tell(Text, #state{told = Text} = State) ->
    State;
tell(Text, State) ->
    logger:warning("Skans: ~ts", [Text]),
    State#state{told = Text}.

text(refused, Result, #state{name = Name} = State) ->
    "the agent" ++ at(State) ++ " refused the name '" ++ Name ++ "' (" ++
        integer_to_list(Result) ++ "): its log says why";
text(error, Reason, State) when is_atom(Reason) ->
    "no agent" ++ at(State) ++ " (" ++ atom_to_list(Reason) ++
        "): wanted the address in ERL_EPMD_ADDRESS and ERL_EPMD_PORT to be that of a running "
        "'skans agent'";
text(error, Text, _State) ->
    Text.

at(#state{family = Family}) ->
    case skans_env:agent(Family) of
        {ok, {Ip, Port}} -> " at " ++ inet:ntoa(Ip) ++ " port " ++ integer_to_list(Port);
        {error, _} -> ""
    end.

%%% Asking

%% Cookie first here as well: a node that does not listen never registers, and
%% the application may have set another since.
stand_in(Full, Family, Ip) ->
    [Alive | _] = string:split(atom_to_list(node()), "@"),
    case skans_cookie:enforce(Alive) of
        ok ->
            case ask(Family, fun(Agent) -> skans_agent:resolve(Agent, Full) end) of
                {ok, Port} -> {ok, Ip, Port, ?DIST_VERSION};
                noport -> {error, nxdomain};
                {error, _} = Error -> Error
            end;
        {error, Text} ->
            logger:error("Skans: cannot connect to ~ts: ~ts", [Full, Text]),
            {error, eacces}
    end.

ask(Family, Question) ->
    case skans_env:agent(Family) of
        {ok, Agent} -> Question(Agent);
        {error, _} = Error -> Error
    end.

own_port() ->
    try gen_server:call(?MODULE, port, ?OWN_PORT_MS)
    catch exit:_ -> noport
    end.

%% An address says which epmd to ask, not which node; the one of this host knows
%% its nodes by their short names.
wanted(Alive, Host, Full) ->
    case Host =:= "localhost" orelse Host =:= localhost
         orelse (is_tuple(Host) andalso skans_host:is_local(Host)) of
        true -> Alive;
        false -> Full
    end.

family(inet6) -> inet6;
family(inet6_tcp) -> inet6;
family(_) -> inet.

%% As net_kernel reads it. A time given to net_kernel:start/2 or changed later is
%% not seen.
tick_s() ->
    case application:get_env(kernel, net_ticktime) of
        {ok, S} when is_integer(S), S >= 1 -> min(S, 16#ffff);
        {ok, S} when is_integer(S) -> 1;
        _ -> 60
    end.
