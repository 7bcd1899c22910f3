use super::*;

#[test]
fn it_is_told_by_path_and_by_abstract_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let name = format!("skans-test-{}", std::process::id());
    let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
    let listeners = [
        (path.as_os_str().to_owned(), UnixDatagram::bind(&path)),
        (
            format!("@{name}").into(),
            UnixDatagram::bind_addr(&abstract_address),
        ),
    ];
    for (socket, listener) in listeners {
        send(&socket, "READY=1\n").unwrap();
        let mut said = [0; 64];
        let count = listener.unwrap().recv(&mut said).unwrap();
        assert_eq!(&said[..count], b"READY=1\n");
    }
    assert!(send(OsStr::new("/nowhere/notify"), "READY=1\n").is_err());
}
