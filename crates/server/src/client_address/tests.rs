use super::*;

const PROXY: &str = "10.0.0.1";

fn ip(text: &str) -> Peer {
    Peer::at(text.parse().expect("an address"))
}

/// Who comes from `peer` with these lines of headers, where 10.0.0.0/8 and fd00::/8 are trusted.
fn client(peer: Peer, lines: &[(&str, &str)]) -> Client {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().expect("a header name");
        headers.append(name, value.parse().expect("a header value"));
    }
    let proxies = ["10.0.0.0/8", "fd00::/8"].map(|text| Network::parse(text).expect("a network"));
    Client::of(peer, &headers, &proxies)
}

fn named(address: &str) -> Client {
    Client { peer: ip(address), naming: Naming::Proxies }
}

fn unknown(last: &str, why: Unnamed) -> Client {
    Client { peer: ip(last), naming: Naming::Unknown(why) }
}

#[test]
fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
    for header in ["forwarded", "x-forwarded-for"] {
        let value = if header == "forwarded" { "for=192.0.2.9" } else { "192.0.2.9" };
        let direct = Client { peer: ip("203.0.113.7"), naming: Naming::Direct };
        assert_eq!(client(ip("203.0.113.7"), &[(header, value)]), direct);
        assert_eq!(client(ip("::ffff:203.0.113.7"), &[(header, value)]), direct);
    }
}

#[test]
fn a_list_is_read_from_the_right_one_trusted_hop_at_a_time() {
    for (list, address) in [
        ("192.0.2.1", "192.0.2.1"),
        ("198.51.100.66, 192.0.2.1", "192.0.2.1"),
        ("198.51.100.66, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("198.51.100.66, 192.0.2.1, 10.0.0.3,10.0.0.2", "192.0.2.1"),
        // A hop that is trusted and stands left of one that is not may be forged.
        ("198.51.100.66, 10.9.9.9, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("unknown, 192.0.2.1", "192.0.2.1"),
        ("not a list at all, 192.0.2.1", "192.0.2.1"),
        (", ,192.0.2.1, ,", "192.0.2.1"),
        ("2001:db8::7, fd00::5", "2001:db8::7"),
        ("::ffff:192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1"),
    ] {
        assert_eq!(client(ip(PROXY), &[("x-forwarded-for", list)]), named(address), "{list}");
        assert_eq!(client(Peer::Unix, &[("x-forwarded-for", list)]), named(address), "{list}");
    }
}

#[test]
fn an_address_may_have_a_port_and_brackets() {
    for (node, address) in [
        ("192.0.2.1:4711", "192.0.2.1"),
        ("192.0.2.1:_p", "192.0.2.1"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("[::ffff:192.0.2.1]:4711", "192.0.2.1"),
    ] {
        assert_eq!(client(ip(PROXY), &[("x-forwarded-for", node)]), named(address), "{node}");
        let quoted = format!("for=\"{node}\"");
        assert_eq!(client(ip(PROXY), &[("forwarded", &quoted)]), named(address), "{quoted}");
    }
}

#[test]
fn what_is_no_address_ends_the_list_at_the_last_hop_that_is_known() {
    for node in [
        "unknown",
        "_hidden",
        "localhost",
        "192.0.2.1:",
        "192.0.2.1:99999",
        "192.0.2.256",
        "[192.0.2.1]",
        "[2001:db8::7",
        "[2001:db8::7]4711",
        "fe80::1%eth0",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1 192.0.2.2",
    ] {
        let lines = [("x-forwarded-for", &*format!("192.0.2.1, {node}"))];
        let expected = unknown(PROXY, Unnamed::NoAddress);
        assert_eq!(client(ip(PROXY), &lines), expected, "{node}");
        let further = [("x-forwarded-for", &*format!("192.0.2.1, {node}, 10.0.0.2"))];
        let expected = unknown("10.0.0.2", Unnamed::NoAddress);
        assert_eq!(client(ip(PROXY), &further), expected, "{node}");
        let quoted = [("forwarded", &*format!("for=192.0.2.1, for=\"{node}\""))];
        assert_eq!(client(ip(PROXY), &quoted), unknown(PROXY, Unnamed::NoAddress), "{node}");
    }
    let bytes = hyper::header::HeaderValue::from_bytes(b"192.0.2.1, \xff").expect("a value");
    let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, bytes)]);
    let of_bytes = Client::of(Peer::Unix, &headers, &[]);
    assert_eq!(of_bytes, Client::unknown(Peer::Unix, Unnamed::NoAddress));
}

#[test]
fn several_lines_are_one_list() {
    let lines = [
        ("x-forwarded-for", "198.51.100.66"),
        ("x-forwarded-for", "192.0.2.1, 10.0.0.3"),
        ("x-forwarded-for", "10.0.0.2"),
    ];
    assert_eq!(client(ip(PROXY), &lines), named("192.0.2.1"));
    let lines = [("forwarded", "for=\"198.51.100.66"), ("forwarded", "for=192.0.2.1")];
    assert_eq!(client(ip(PROXY), &lines), named("192.0.2.1"));
}

#[test]
fn the_parameters_of_forwarded_may_come_in_any_order_and_case() {
    for line in [
        "for=192.0.2.1",
        "FOR=192.0.2.1",
        "proto=https;for=192.0.2.1;by=10.0.0.1",
        "for=\"192.0.2.1\" ; host=\"a,b;for=6.6.6.6\"",
        "for=198.51.100.66;proto=http , by=_x;For=192.0.2.1",
        "for=_a, for=\"\\1\\9\\2.0.2.1\"",
        "for=192.0.2.1:80;proto=https",
    ] {
        assert_eq!(client(ip(PROXY), &[("forwarded", line)]), named("192.0.2.1"), "{line}");
    }
}

/// Of a line that a client has begun and a proxy has completed, nothing that is malformed is read.
#[test]
fn a_malformed_line_of_forwarded_names_nobody() {
    for line in [
        "for=\"198.51.100.66, for=192.0.2.1",
        "x=\", for=192.0.2.1;proto=https;host=\"example.com\"",
        "for=198.51.100.66;x=\", for=\"[2001:db8::7]:80\"",
        "for=198.51.100.66;for=192.0.2.1",
        "192.0.2.1",
        "for",
        "for=",
        "for =192.0.2.1",
        "for=192.0.2.1;",
        "for=192.0.2.1 proto=https",
        "for=[2001:db8::7]",
        "proto=https",
    ] {
        let expected = unknown(PROXY, Unnamed::NoAddress);
        assert_eq!(client(ip(PROXY), &[("forwarded", line)]), expected, "{line}");
    }
}

#[test]
fn two_headers_are_believed_only_if_they_agree() {
    let both = |standard, common| {
        client(ip(PROXY), &[("forwarded", standard), ("x-forwarded-for", common)])
    };
    assert_eq!(both("for=\"192.0.2.1:80\"", "6.6.6.6, 192.0.2.1"), named("192.0.2.1"));
    for (standard, common) in [
        ("for=198.51.100.66", "192.0.2.1"),
        ("for=192.0.2.1", "unknown"),
        ("for=unknown", "192.0.2.1"),
        ("", "192.0.2.1"),
    ] {
        let expected = unknown(PROXY, Unnamed::Contradiction);
        assert_eq!(both(standard, common), expected, "{standard} {common}");
    }
}

#[test]
fn a_proxy_that_says_nothing_stands_for_all_its_clients() {
    assert_eq!(client(ip(PROXY), &[]), unknown(PROXY, Unnamed::NoHeader));
    let of_unix = Client::unknown(Peer::Unix, Unnamed::NoHeader);
    assert_eq!(client(Peer::Unix, &[]), of_unix);
    assert_eq!(client(ip(PROXY), &[("x-forwarded-for", "")]), unknown(PROXY, Unnamed::NoAddress));
}
