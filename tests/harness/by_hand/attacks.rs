//! What a hostile peer asks of a node: everything that owns it, or that no member of a cluster has to do to another. What each
//! does where nobody refuses it can be seen in the victim.

use super::Peer;
use super::terms::{Said, T};
use super::victim::{Victim, process};

/// Who tells the attacker that it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The request to start a process fails.
    NotSpawned,
    /// The monitor fires.
    Down,
    /// The link to the process with this id breaks.
    Exit(u32),
    /// Nobody waits.
    None,
}

/// An attack.
#[derive(Debug)]
pub struct Attack {
    pub what: &'static str,
    /// Of its reference.
    pub number: u32,
    /// What it is told as.
    pub action: &'static str,
    pub answer: Answer,
    /// True in the victim if it was done; empty where that would end the victim.
    pub happened: String,
    pub said: Said,
}

/// The forms of a message to a name or to a pid.
#[derive(Clone, Copy)]
pub enum Form {
    RegSend,
    RegSendTraced,
    Send,
    SendTraced,
    SendSender,
    SendSenderTraced,
    /// Op 37, which nodes before OTP 28 do not know.
    Altact,
}

/// A message to somebody, in this form.
pub fn message(form: Form, me: &T, to: T, payload: T) -> Said {
    let none = || T::List(vec![]);
    let by_name = matches!(to, T::Atom(_));
    let control = match form {
        Form::RegSend => t![T::Int(6), me.clone(), T::atom(""), to],
        Form::RegSendTraced => t![T::Int(16), me.clone(), T::atom(""), to, none()],
        Form::Send => t![T::Int(2), T::atom(""), to],
        Form::SendTraced => t![T::Int(12), T::atom(""), to, none()],
        Form::SendSender => t![T::Int(22), me.clone(), to],
        Form::SendSenderTraced => t![T::Int(23), me.clone(), to, none()],
        Form::Altact => t![
            T::Int(37),
            T::Int(if by_name { 8 } else { 0 }),
            me.clone(),
            to
        ],
    };
    Said {
        control,
        payload: Some(payload),
    }
}

/// A request to start `module:function` with these arguments.
pub fn spawn(
    peer: &Peer,
    number: u32,
    (module, function, arity): (&str, &str, i32),
    arguments: Vec<T>,
) -> Said {
    let of = t![T::atom(module), T::atom(function), T::Int(arity)];
    let options = T::List(vec![T::atom("monitor")]);
    Said {
        control: t![
            T::Int(29),
            peer.reference(number),
            peer.pid(),
            peer.pid(),
            of,
            options
        ],
        payload: Some(T::List(arguments)),
    }
}

/// What any member may do: `erpc:call(Node, erlang, node, [])`.
pub fn neighbour(peer: &Peer, number: u32) -> Said {
    let arguments = vec![
        peer.reference(number),
        T::atom("erlang"),
        T::atom("node"),
        T::List(vec![]),
    ];
    spawn(peer, number, ("erpc", "execute_call", 4), arguments)
}

struct Builder<'a> {
    peer: &'a Peer,
    victim: &'a Victim,
    first: u32,
    all: Vec<Attack>,
}

impl Builder<'_> {
    fn number(&self) -> u32 {
        self.first + u32::try_from(self.all.len()).unwrap()
    }

    fn index(&self) -> usize {
        usize::try_from(self.number()).unwrap()
    }

    fn path(&self, kind: &str) -> String {
        let path = self
            .victim
            .directory
            .join(format!("{kind}{}", self.number()));
        path.display().to_string()
    }

    /// The function that writes a file, its arguments, and what is there then.
    fn write(&self) -> ([T; 3], String) {
        let path = self.path("f");
        let arguments = T::List(vec![
            T::Binary(path.clone().into_bytes()),
            T::Binary(b"owned".to_vec()),
        ]);
        (
            [T::atom("file"), T::atom("write_file"), arguments],
            format!("filelib:is_regular(\"{path}\")"),
        )
    }

    fn from(&self) -> T {
        t![self.peer.pid(), self.peer.reference(self.number())]
    }

    fn call(&self, request: T) -> T {
        t![T::atom("$gen_call"), self.from(), request]
    }

    fn add(
        &mut self,
        what: &'static str,
        action: &'static str,
        answer: Answer,
        happened: String,
        said: Said,
    ) {
        let number = self.number();
        self.all.push(Attack {
            what,
            number,
            action,
            answer,
            happened,
            said,
        });
    }

    fn functions(&mut self) {
        let me = self.peer.pid();
        let number = |builder: &Self| builder.number();
        let ([m, f, a], done) = self.write();
        let arguments = vec![self.peer.reference(number(self)), m, f, a];
        let said = spawn(
            self.peer,
            number(self),
            ("erpc", "execute_call", 4),
            arguments,
        );
        self.add("erpc:call", "call", Answer::NotSpawned, done, said);

        let ([m, f, a], done) = self.write();
        let said = spawn(
            self.peer,
            number(self),
            ("erpc", "execute_cast", 3),
            vec![m, f, a],
        );
        self.add("erpc:cast", "cast", Answer::NotSpawned, done, said);

        for arity in [2, 0, 7] {
            let ([_, _, a], done) = self.write();
            let T::List(arguments) = a else { continue };
            let said = spawn(
                self.peer,
                number(self),
                ("file", "write_file", arity),
                arguments,
            );
            self.add("spawn", "spawn", Answer::NotSpawned, done, said);
        }

        let ([_, _, a], done) = self.write();
        let mut said = spawn(self.peer, number(self), ("file", "write_file", 2), vec![]);
        said.payload = Some(a);
        if let T::Tuple(elements) = &mut said.control {
            elements[0] = T::Int(30);
            elements.push(T::List(vec![]));
        }
        self.add("spawn, traced", "spawn", Answer::NotSpawned, done, said);

        let ([m, f, a], done) = self.write();
        let said = spawn(
            self.peer,
            number(self),
            ("erlang", "apply", 3),
            vec![m, f, a],
        );
        self.add("spawn of apply/3", "spawn", Answer::NotSpawned, done, said);

        let ([_, _, a], done) = self.write();
        let fun = T::Export("file", "write_file", 2);
        let said = spawn(
            self.peer,
            number(self),
            ("erlang", "apply", 2),
            vec![fun, a],
        );
        self.add("spawn of a fun", "spawn", Answer::NotSpawned, done, said);

        for (name, request, action, count) in [
            ("rex", "block_call", "call", 5),
            ("rex", "call", "call", 5),
            ("net_kernel", "spawn", "spawn", 5),
            ("net_kernel", "spawn_link", "spawn", 5),
            ("net_kernel", "spawn_opt", "spawn", 7),
        ] {
            for by_pid in [false, true] {
                let ([m, f, a], done) = self.write();
                let mut elements = vec![T::atom(request), m, f, a];
                if count == 7 {
                    elements.extend([T::List(vec![]), T::atom("false")]);
                }
                elements.push(me.clone());
                let request = self.call(T::Tuple(elements));
                let (form, to) = if by_pid {
                    (Form::SendSender, self.victim.known(name))
                } else {
                    (Form::RegSend, T::atom(name))
                };
                let said = message(form, &me, to, request);
                self.add(
                    "a request to rex or net_kernel",
                    action,
                    Answer::Down,
                    done,
                    said,
                );
            }
        }
        for form in [
            Form::RegSendTraced,
            Form::Send,
            Form::SendTraced,
            Form::SendSenderTraced,
        ] {
            let ([m, f, a], done) = self.write();
            let request = self.call(t![T::atom("block_call"), m, f, a, me.clone()]);
            let to = match form {
                Form::RegSendTraced => T::atom("rex"),
                _ => self.victim.known("rex"),
            };
            let said = message(form, &me, to, request);
            self.add(
                "a request to rex in another form",
                "call",
                Answer::Down,
                done,
                said,
            );
        }

        for to in [T::atom("rex"), self.victim.known("rex")] {
            let form = if matches!(to, T::Atom(_)) {
                Form::RegSend
            } else {
                Form::SendSender
            };
            let ([m, f, a], done) = self.write();
            let cast = t![
                T::atom("$gen_cast"),
                t![T::atom("cast"), m, f, a, me.clone()]
            ];
            let said = message(form, &me, to.clone(), cast);
            self.add("a cast to rex", "cast", Answer::None, done, said);

            let ([m, f, a], done) = self.write();
            let call = t![me.clone(), t![T::atom("call"), m, f, a, me.clone()]];
            let said = message(form, &me, to.clone(), call);
            self.add("rex, as C nodes ask", "call", Answer::None, done, said);

            let ([m, f, a], done) = self.write();
            let inner = self.call(t![T::atom("spawn"), m, f, a, me.clone()]);
            let passed = t![
                me.clone(),
                t![T::atom("sbcast"), T::atom("net_kernel"), inner]
            ];
            let said = message(form, &me, to.clone(), passed);
            // Whoever has it pass something on watches it first, and says no more than who he is.
            self.add("passed on by rex", "spawn", Answer::None, done, said);
        }

        for to in [T::atom("timer_server"), self.victim.known("timer_server")] {
            let form = if matches!(to, T::Atom(_)) {
                Form::RegSend
            } else {
                Form::SendSender
            };
            let ([m, f, a], done) = self.write();
            let timer = t![T::Big(self.victim.clock), T::Int(1), t![m, f, a]];
            let request = self.call(t![T::atom("apply_once"), timer]);
            let said = message(form, &me, to, request);
            self.add("a timer", "spawn", Answer::Down, done, said);
        }

        let ([m, f, a], done) = self.write();
        let output = t![T::atom("put_chars"), T::atom("unicode"), m, f, a];
        let request = t![
            T::atom("io_request"),
            me.clone(),
            self.peer.reference(number(self)),
            output
        ];
        let said = message(Form::RegSend, &me, T::atom("user"), request);
        self.add("output by a function", "call", Answer::Down, done, said);

        // Behind one that any member may call.
        let ([m, f, a], done) = self.write();
        let output = |m, f, a| t![T::atom("put_chars"), T::atom("unicode"), m, f, a];
        let harmless = output(T::atom("os"), T::atom("getpid"), T::List(vec![]));
        let all = t![
            T::atom("requests"),
            T::List(vec![harmless, output(m, f, a)])
        ];
        let reference = self.peer.reference(number(self));
        let request = t![T::atom("io_request"), me.clone(), reference, all];
        let said = message(Form::RegSend, &me, T::atom("user"), request);
        self.add(
            "output by several functions",
            "unknown",
            Answer::Down,
            done,
            said,
        );
    }

    fn processes(&mut self) {
        let me = self.peer.pid();
        let ([m, f, a], done) = self.write();
        let child = t![
            T::atom("evil"),
            t![m, f, a],
            T::atom("temporary"),
            T::Int(1000),
            T::atom("worker"),
            T::List(vec![]),
        ];
        let request = self.call(t![T::atom("start_child"), child]);
        let said = message(Form::RegSend, &me, T::atom("kernel_safe_sup"), request);
        self.add(
            "a child of a supervisor",
            "supervise",
            Answer::Down,
            done,
            said,
        );

        for to in [T::atom("file_server_2"), self.victim.known("file_server_2")] {
            let form = if matches!(to, T::Atom(_)) {
                Form::RegSend
            } else {
                Form::SendSender
            };
            let path = self.path("made");
            let request = self.call(t![T::atom("make_dir"), T::Text(path.clone())]);
            let said = message(form, &me, to, request);
            let done = format!("filelib:is_dir(\"{path}\")");
            self.add("the file server", "access_files", Answer::Down, done, said);
        }

        for to in [T::atom("code_server"), self.victim.known("code_server")] {
            let form = if matches!(to, T::Atom(_)) {
                Form::RegSend
            } else {
                Form::SendSender
            };
            let path = self.path("d");
            let mut add = vec![T::atom("add_path"), T::atom("last"), T::Text(path.clone())];
            if self.victim.release >= 26 {
                add.push(T::atom("nocache"));
            }
            let request = T::Tuple(add);
            let call = t![T::atom("code_call"), me.clone(), request];
            let said = message(form, &me, to, call);
            let done = format!("lists:member(\"{path}\", code:get_path())");
            self.add("the code server", "manage_code", Answer::None, done, said);
        }

        for to in [
            T::atom("application_controller"),
            self.victim.known("application_controller"),
        ] {
            let form = if matches!(to, T::Atom(_)) {
                Form::RegSend
            } else {
                Form::SendSender
            };
            let key = format!("evil_{}", self.number());
            let set = t![
                T::atom("set_env"),
                T::atom("kernel"),
                T::atom(&key),
                T::Int(1),
                T::List(vec![])
            ];
            let request = self.call(set);
            let said = message(form, &me, to, request);
            let done = format!("application:get_env(kernel, {key}) =:= {{ok, 1}}");
            self.add(
                "an application's settings",
                "manage_applications",
                Answer::Down,
                done,
                said,
            );
        }

        for to in [T::atom("init"), self.victim.known("init")] {
            let form = if matches!(to, T::Atom(_)) {
                Form::RegSend
            } else {
                Form::SendSender
            };
            let said = message(form, &me, to, t![T::atom("stop"), T::atom("stop")]);
            self.add("init:stop", "stop_node", Answer::None, String::new(), said);
        }

        for by_pid in [false, true] {
            let (name, pid) = (
                format!("victim_{}", self.number()),
                self.victim.named[self.index()].clone(),
            );
            let done = format!("whereis({name}) =:= undefined");
            let request = t![
                T::atom("system"),
                self.from(),
                t![T::atom("terminate"), T::atom("bye")]
            ];
            let said = if by_pid {
                message(Form::SendSender, &me, pid, request)
            } else {
                message(Form::RegSend, &me, T::atom(&name), request)
            };
            self.add(
                "a system message",
                "system_message",
                Answer::Down,
                done,
                said,
            );
        }

        let name = format!("victim_{}", self.number());
        let handler = t![T::atom("add_handler"), T::atom("lists"), T::List(vec![])];
        let add = t![me.clone(), self.peer.reference(self.number()), handler];
        let said = message(Form::RegSend, &me, T::atom(&name), add);
        self.add(
            "a handler of events",
            "supervise",
            Answer::None,
            String::new(),
            said,
        );
    }

    fn signals(&mut self) {
        let me = self.peer.pid();
        let kill = || T::atom("kill");
        for op in [8, 18, 26, 27] {
            for named in [true, false] {
                let to = if named {
                    &self.victim.named
                } else {
                    &self.victim.unnamed
                }[self.index()]
                .clone();
                let done = format!("{} =:= undefined", process(&to, "info(P)"));
                let mut control = vec![T::Int(op), me.clone(), to];
                if op == 18 || op == 27 {
                    control.push(T::List(vec![]));
                }
                if op == 8 || op == 18 {
                    control.push(kill());
                }
                let said = Said {
                    control: T::Tuple(control),
                    payload: (op > 20).then(kill),
                };
                self.add("exit/2", "exit", Answer::None, done, said);
            }
        }
        let to = self.victim.unnamed[self.index()].clone();
        let done = format!(
            "node(element(2, {})) =/= node()",
            process(&to, "info(P, group_leader)")
        );
        let said = Said {
            control: t![T::Int(7), me.clone(), to],
            payload: None,
        };
        self.add("a group leader", "group_leader", Answer::None, done, said);

        // To a process of OTP: those of applications may be linked by members.
        let to = self.victim.known("rex");
        let done =
            "[] =/= [P || P <- element(2, process_info(whereis(rex), links)), node(P) =/= node()]"
                .to_owned();
        let id = to.id();
        let said = Said {
            control: t![T::Int(1), me, to],
            payload: None,
        };
        self.add("a link", "link", Answer::Exit(id), done, said);
    }
}

impl Builder<'_> {
    /// Op 37 says what ops 6, 22 and 26 say, to nodes of OTP 28 and later.
    fn priority_signals(&mut self) {
        let me = self.peer.pid();
        for flags in [0, 1] {
            for to in [T::atom("rex"), self.victim.known("rex")] {
                let ([m, f, a], done) = self.write();
                let request = self.call(t![T::atom("block_call"), m, f, a, me.clone()]);
                let mut said = message(Form::Altact, &me, to, request);
                if let T::Tuple(elements) = &mut said.control
                    && let T::Int(found) = &mut elements[1]
                {
                    *found |= flags;
                }
                self.add("rex, by op 37", "call", Answer::Down, done, said);
            }
            for named in [true, false] {
                let to = if named {
                    &self.victim.named
                } else {
                    &self.victim.unnamed
                }[self.index()]
                .clone();
                let done = format!("{} =:= undefined", process(&to, "info(P)"));
                let said = Said {
                    control: t![T::Int(37), T::Int(16 | flags), me.clone(), to],
                    payload: Some(T::atom("kill")),
                };
                self.add("exit/2, by op 37", "exit", Answer::None, done, said);
            }
        }
    }
}

/// Every attack, with numbers from `first` on.
pub fn all(peer: &Peer, victim: &Victim, first: u32) -> Vec<Attack> {
    let mut builder = Builder {
        peer,
        victim,
        first,
        all: Vec::new(),
    };
    builder.functions();
    builder.processes();
    builder.signals();
    // As of OTP 28 there is op 37.
    if victim.release >= 28 {
        builder.priority_signals();
    }
    builder.all
}

/// Those by op 37 alone, whether or not the victim knows it.
pub fn all_by_op_37(peer: &Peer, victim: &Victim, first: u32) -> Vec<Attack> {
    let mut builder = Builder {
        peer,
        victim,
        first,
        all: Vec::new(),
    };
    builder.priority_signals();
    builder.all
}
