use super::*;

#[test]
fn what_owns_a_node_is_marked_whatever_it_is_called() {
    for (module, name, arity) in [
        ("os", "cmd", 1),
        ("os", "cmd", 2),
        ("file", "read_file", 1),
        ("prim_file", "read_file", 1),
        ("code", "load_binary", 3),
        ("init", "stop", 0),
        ("erlang", "halt", 1),
        ("erlang", "open_port", 2),
        ("application", "stop", 1),
        ("Elixir.System", "cmd", 3),
        ("Elixir.Code", "eval_string", 1),
    ] {
        assert!(
            function(module, name, arity).administrative,
            "{module}:{name}/{arity}"
        );
    }
    for (module, name, arity) in [
        ("erlang", "apply", 3),
        ("erlang", "spawn", 3),
        ("erlang", "spawn_opt", 4),
        ("timer", "tc", 3),
        ("timer", "apply_after", 4),
        ("lists", "map", 2),
        ("maps", "fold", 3),
        ("gen_server", "call", 3),
        ("rpc", "call", 4),
        ("erpc", "execute_call", 4),
        ("proc_lib", "spawn_link", 3),
        ("erl_eval", "exprs", 2),
        ("Elixir.Enum", "map", 2),
    ] {
        assert!(
            function(module, name, arity).applies_arguments,
            "{module}:{name}/{arity}"
        );
    }
}

#[test]
fn a_process_that_owns_a_node_is_marked_by_the_beginning_of_its_name_as_well() {
    for name in [
        "init",
        "code_server",
        "logger_std_h_default",
        "erl_eval_1",
        "Elixir.IEx.Broker",
    ] {
        assert!(process(name).administrative, "{name}");
    }
}

#[test]
fn what_an_application_calls_its_own_is_its_own() {
    for module in [
        "shop",
        "Elixir.Shop.Stock",
        "wxyz",
        "snmp_of_mine",
        "Elixir.Filed",
        "",
    ] {
        assert_eq!(function(module, "cmd", 1), Function::default(), "{module}");
    }
    for name in ["shop", "Elixir.Shop", "", "rabbit"] {
        assert_eq!(process(name), Process::default(), "{name}");
    }
}

#[test]
fn processes_of_otp_are_known() {
    for name in [
        "rex",
        "net_kernel",
        "init",
        "code_server",
        "file_server_2",
        "application_controller",
        "kernel_sup",
        "timer_server",
        "user",
        "mnesia_rpc",
    ] {
        assert!(process(name).administrative, "{name}");
    }
    for name in [
        "global_name_server",
        "pg",
        "mnesia_tm",
        "Elixir.Logger",
        "sasl_sup",
    ] {
        let known = process(name);
        assert!(known.otp && !known.administrative, "{name}");
    }
}

#[test]
fn every_line_of_the_catalogue_is_understood() {
    let marks = lines(include_str!("functions.txt")).chain(lines(include_str!("processes.txt")));
    for line in marks {
        assert!(
            matches!(line.split_once(' '), Some(("a" | "f" | "-", name)) if !name.contains(' ')),
            "{line}"
        );
    }
    assert!(modules().count() > 1_500);
}
