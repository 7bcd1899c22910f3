//! Turns the messages of OTLP into code, without a `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let set = protox::compile(["otlp.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(set)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
