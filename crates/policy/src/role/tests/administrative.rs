//! What no role gives, but those that say so.

use super::*;

/// What owns a node, in all the ways in which it can be asked for.
const ADMINISTRATIVE: &[&str] = &[
    "call os:cmd/1",
    "call os:cmd/2",
    "cast os:cmd/1",
    "spawn os:cmd/1",
    "call os:getenv/0",
    "call file:read_file/1",
    "call file:write_file/2",
    "spawn file:write_file/2",
    "call prim_file:read_file/1",
    "call code:load_binary/3",
    "call code:add_path/1",
    "call erlang:load_nif/2",
    "call erlang:open_port/2",
    "call erlang:get_cookie/0",
    "call erlang:halt/0",
    "call application:stop/1",
    "call application:set_env/3",
    "call supervisor:start_child/2",
    "call sys:replace_state/2",
    "call ets:tab2list/1",
    "call mnesia:clear_table/1",
    "call erlang:send/2",
    "call gen_server:call/2",
    "call gen_server:call/3",
    "call timer:tc/3",
    "call timer:apply_after/4",
    "call lists:map/2",
    "call lists:foreach/2",
    "call maps:map/2",
    "call rpc:call/4",
    "call erpc:call/4",
    "call proc_lib:spawn/3",
    "call erlang:spawn/1",
    "spawn erlang:spawn/3",
    "spawn erlang:apply/2",
    "call Elixir.System:cmd/2",
    "call Elixir.Task:async/1",
    "call Elixir.Enum:map/2",
    "send code_server",
    "send file_server_2",
    "send timer_server",
    "send user",
    "send mnesia_rpc",
    "send kernel_sup",
    "send_pid code_server",
    "manage_code code_server",
    "access_files file_server_2",
    "stop_node init",
    "manage_applications application_controller",
    "supervise kernel_sup",
    "supervise shop_sup",
    "system_message shop_server",
    "system_message code_server",
    "system_message",
    "group_leader shop",
    "exit init",
    "exit kernel_sup",
    "exit shop_server",
    "link kernel_sup",
    "link code_server",
];

#[test]
fn no_role_but_those_that_say_so_gives_what_owns_a_node() {
    for role in ALL
        .iter()
        .filter(|role| !role.purpose.contains("owns the node"))
    {
        let servers: &[&str] = if role.servers == Servers::Required {
            &["stock"]
        } else {
            &[]
        };
        let pair = pair(role.name, servers);
        for asked in ADMINISTRATIVE {
            let (action, name) = asked.split_once(' ').unwrap_or((asked, ""));
            // `send_pid` and `group_leader` are asked of a node.
            if matches!(action, "send_pid" | "group_leader") && !name.is_empty() {
                continue;
            }
            assert!(!passes(&pair, asked), "{}: {asked} passes", role.name);
        }
        assert!(!passes(&pair, "group_leader"), "{}", role.name);
        assert!(!passes(&pair, "supervise"), "{}", role.name);
        for action in Action::ALL
            .iter()
            .filter(|action| action.is_administrative())
        {
            for process in ["init", "shop_sup", "rabbit_sup", "rex"] {
                assert!(
                    !passes(&pair, &format!("{action} {process}")),
                    "{}: {action} {process}",
                    role.name
                );
            }
        }
    }
}
