//! Turns the contract into code, without a `protoc` on the machine, and into a text that a test compares with the one
//! that is committed.

use std::fmt::Write as _;
use std::path::Path;

use protox::prost_reflect::prost_types::{DescriptorProto, FileDescriptorSet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["skans/v1/enrollment.proto", "skans/v1/agent.proto"];
    let set = protox::compile(files, ["proto"])?;
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("contract.txt"), contract(&set))?;
    std::fs::write(Path::new(&out).join("methods.rs"), methods(&set))?;
    tonic_prost_build::configure().compile_fds(set)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}

/// One line for each method and field: names, numbers and types, which are what others depend on.
fn contract(set: &FileDescriptorSet) -> String {
    let mut text = String::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let stream = |on: bool| if on { "stream " } else { "" };
                let _ = writeln!(
                    text,
                    "rpc {}.{}/{} ({}{}) returns ({}{})",
                    file.package(),
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type(),
                    stream(method.server_streaming()),
                    method.output_type(),
                );
            }
        }
        for message in &file.message_type {
            fields(
                &mut text,
                &format!(".{}.{}", file.package(), message.name()),
                message,
            );
        }
    }
    text
}

fn fields(text: &mut String, name: &str, message: &DescriptorProto) {
    let _ = writeln!(text, "message {name}");
    for field in &message.field {
        let kind = match field.type_name() {
            "" => field
                .r#type()
                .as_str_name()
                .trim_start_matches("TYPE_")
                .to_lowercase(),
            named => named.to_owned(),
        };
        let label = if field.label().as_str_name() == "LABEL_REPEATED" {
            "repeated "
        } else {
            ""
        };
        let oneof = field
            .oneof_index
            .and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?))
            .map_or(String::new(), |oneof| format!(" (one of {})", oneof.name()));
        let _ = writeln!(
            text,
            "  {} {} {label}{kind}{oneof}",
            field.number(),
            field.name()
        );
    }
    for inner in &message.nested_type {
        fields(text, &format!("{name}.{}", inner.name()), inner);
    }
}

fn methods(set: &FileDescriptorSet) -> String {
    let mut text = String::from("&[\n");
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let _ = writeln!(
                    text,
                    "    \"{}.{}/{}\",",
                    file.package(),
                    service.name(),
                    method.name()
                );
            }
        }
    }
    text + "]\n"
}
