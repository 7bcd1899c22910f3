//! What somebody on the wire between two agents sees.

use super::{Failure, Finding, STEP, ensure};
use crate::cluster::{CLUSTER, TRUST_DOMAIN};
use crate::plan::{HostPlan, NodePlan};
use crate::relay::{Recording, Relay};
use crate::{Cluster, tls};

/// The node that joins through the relay.
const GUEST: &str = "guest@guest.lab";
/// How often the marker is in the payload, which goes there and comes back.
const REPEATS: usize = 1000;

/// Lets one more node join through a recording relay, in both directions, sends a marked payload
/// there and back, and reads what was recorded.
pub async fn only_tls(cluster: &mut Cluster) -> Finding {
    let plan = HostPlan::new("guest").node(NodePlan::new(GUEST).not_started());
    let (host, guest) = cluster.add_host(plan).await?;
    let first = cluster.name(0)?.to_owned();
    let out = Relay::to(cluster.agent(0)?.link_address()?).await?;
    let back = Relay::to(cluster.agent(host)?.link_address()?).await?;
    cluster.detour(host, &first, Some(out.address())).await?;
    cluster.detour(0, GUEST, Some(back.address())).await?;
    cluster.start_node(guest).await?;
    // With the others as well, or `global` would see a mesh with a hole.
    cluster.connect(STEP).await?;

    let process = cluster.node(guest)?;
    let marker = process
        .eval("binary_to_list(binary:encode_hex(rand:bytes(16)))", STEP)
        .await?;
    let marker = marker.trim_matches('"').to_owned();
    let echo = format!(
        "Payload = binary:copy(<<\"{marker}\">>, {REPEATS}), {{lab_server, {}}} ! {{echo, self(), Payload}}, receive {{echo, _, Back}} -> Payload =:= Back end",
        cluster.atom(0)?
    );
    cluster.node(0)?.eval(super::messages::SERVER, STEP).await?;
    let echoed = process.eval(&echo, STEP).await?;
    ensure(echoed == "true", || {
        format!("the marked payload did not come back: {echoed}")
    })?;

    let mut needles = vec![
        marker,
        TRUST_DOMAIN.to_owned(),
        format!("cluster/{CLUSTER}"),
    ];
    for node in cluster.running() {
        let name = cluster.name(node)?;
        needles.push(name.to_owned());
        needles.extend(name.split_once('@').map(|(_, host)| host.to_owned()));
        needles.push(std::fs::read_to_string(cluster.cookie_file(node)?)?);
    }
    cluster.take_node(guest)?.halt(STEP).await?;
    cluster
        .node(0)?
        .wait_until(&format!("not lists:member('{GUEST}', nodes())"), STEP)
        .await?;
    cluster.take_agent(host)?.terminate(STEP).await?;
    cluster.detour(0, GUEST, None).await?;

    let mut recordings = out.recordings();
    recordings.extend(back.recordings());
    examine(&recordings, &needles)
}

fn examine(recordings: &[Recording], needles: &[String]) -> Finding {
    let (mut bytes, mut encrypted, mut plain, mut served) = (0, 0, 0, 0);
    for recording in recordings {
        ensure(!recording.truncated, || {
            "more passed than was recorded".to_owned()
        })?;
        for (direction, stream) in [
            ("dialler", &recording.from_dialler),
            ("dialled", &recording.from_dialled),
        ] {
            let found =
                tls::read(stream).map_err(|why| Failure(format!("from the {direction}: {why}")))?;
            let clear = tls::in_clear(stream, needles);
            // Not the words themselves: one of them may be a cookie.
            ensure(clear.is_empty(), || {
                format!(
                    "from the {direction}: {} of {} words in clear",
                    clear.len(),
                    needles.len()
                )
            })?;
            if let Some(version) = found.version {
                ensure(version == 0x0304, || {
                    format!("the server chose version {version:#06x}, wanted 0x0304")
                })?;
                served += 1;
            }
            bytes += found.bytes;
            encrypted += found.encrypted;
            plain += found.handshake;
        }
    }
    ensure(served > 0, || {
        "no connection went through the relay".to_owned()
    })?;
    // The payload went there and back: less than that was not all of it.
    ensure(bytes > 2 * REPEATS * 32, || {
        format!("only {bytes} bytes went through the relay")
    })?;
    Ok(format!(
        "connections recorded: {}; {bytes} bytes, all of them TLS records: {plain} of handshake (hellos) and {encrypted} encrypted; the server chose 0x0304 (TLS 1.3) each time; none of {} node names, host names, cookies, identities and payload marks in clear",
        recordings.len(),
        needles.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_connection_would_be_found() {
        let plain = Recording {
            from_dialler: b"\x00\x19N".to_vec(),
            ..Recording::default()
        };
        assert!(examine(&[plain], &[]).is_err());
        assert!(examine(&[], &[]).is_err());
    }

    #[test]
    fn a_name_in_a_record_would_be_found() {
        let record = [&[23, 3, 3, 0, 9][..], b"n1@n1.lab"].concat();
        let recording = Recording {
            from_dialler: record,
            ..Recording::default()
        };
        let found = examine(&[recording], &["n1@n1.lab".to_owned()]).unwrap_err();
        assert!(found.0.contains("1 of 1 words in clear"), "{}", found.0);
    }
}
