//! Who is asked next, and who is not asked for a while.

use std::net::{IpAddr, Ipv4Addr};

use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::proto::op::{Message, MessageType};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, Record};
use hickory_resolver::proto::serialize::binary::{BinDecodable as _, BinEncodable as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;
use crate::upstream::testing::runtime;

/// One that says what it is told to: an address where the code is none of an error. It is asked over TCP, since a question
/// over UDP is asked again where an answer takes its time.
struct Scripted {
    listener: TcpListener,
    code: Cell<ResponseCode>,
    asked: Cell<usize>,
    was_asked: Notify,
}

impl Scripted {
    async fn start(code: ResponseCode) -> Rc<Self> {
        let server = Rc::new(Self {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(),
            code: Cell::new(code),
            asked: Cell::new(0),
            was_asked: Notify::new(),
        });
        let accepting = Rc::clone(&server);
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = accepting.listener.accept().await.unwrap();
                tokio::task::spawn_local(Rc::clone(&accepting).serve(stream));
            }
        });
        server
    }

    async fn serve(self: Rc<Self>, mut stream: TcpStream) {
        while let Ok(length) = stream.read_u16().await {
            let mut question = vec![0; length.into()];
            stream.read_exact(&mut question).await.unwrap();
            self.asked.set(self.asked.get() + 1);
            let mut message = Message::from_bytes(&question).unwrap();
            message.metadata.message_type = MessageType::Response;
            message.metadata.response_code = self.code.get();
            if self.code.get() == ResponseCode::NoError {
                let name = message.queries[0].name().clone();
                let address = RData::A(A(Ipv4Addr::new(10, 0, 0, 1)));
                message.add_answer(Record::from_rdata(name, 60, address));
            }
            let answer = message.to_bytes().unwrap();
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            let answer = [&length[..], &answer].concat();
            stream.write_all(&answer).await.unwrap();
            self.was_asked.notify_one();
        }
    }

    fn config(&self) -> NameServerConfig {
        let at = self.listener.local_addr().unwrap();
        let mut connection = ConnectionConfig::tcp();
        connection.port = at.port();
        NameServerConfig::new(at.ip(), true, vec![connection])
    }
}

fn of(servers: &[Rc<Scripted>], tries: usize, rotates: bool) -> Servers {
    let servers = servers.iter().map(|server| server.config()).collect();
    let mut options = ResolverOpts::default();
    options.attempts = tries;
    options.cache_size = 0;
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    Servers::new(config, options, rotates).unwrap()
}

async fn ask(servers: &Servers) -> Result<Vec<IpAddr>, NetError> {
    let name = Name::from_ascii("a.test.").unwrap();
    let found = servers.lookup(&name, RecordType::A).await?;
    let addresses = found.answers().iter();
    Ok(addresses
        .filter_map(|record| record.data.ip_addr())
        .collect())
}

fn asked(servers: &[Rc<Scripted>]) -> Vec<usize> {
    servers.iter().map(|server| server.asked.get()).collect()
}

fn run(test: impl Future<Output = ()>) {
    runtime(false).block_on(test);
}

#[test]
fn who_fails_is_behind_the_others_until_it_answers_again() {
    run(async {
        let scripted = [
            Scripted::start(ResponseCode::Refused).await,
            Scripted::start(ResponseCode::ServFail).await,
            Scripted::start(ResponseCode::NoError).await,
        ];
        let servers = of(&scripted, 1, false);
        let address = [IpAddr::from([10, 0, 0, 1])];
        for expected in [[1, 1, 1], [1, 1, 2], [1, 1, 3]] {
            assert_eq!(ask(&servers).await.unwrap(), address);
            assert_eq!(asked(&scripted), expected);
        }
        // The first is well again, and looked at once its time is over.
        scripted[0].code.set(ResponseCode::NoError);
        scripted[0].was_asked.notified().await;
        let first = &servers.all[0];
        first.failed.set(Some(clock::now() - REST));
        ask(&servers).await.unwrap();
        scripted[0].was_asked.notified().await;
        while first.failures.get() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(asked(&scripted), [2, 1, 4]);
        ask(&servers).await.unwrap();
        assert_eq!(asked(&scripted), [3, 1, 4]);
        assert_eq!(first.failed.get(), None);
    });
}

#[test]
fn each_is_asked_as_often_as_that_is_wanted_and_the_last_failure_is_told() {
    run(async {
        let scripted = [
            Scripted::start(ResponseCode::Refused).await,
            Scripted::start(ResponseCode::NotImp).await,
        ];
        let error = ask(&of(&scripted, 3, false)).await.unwrap_err();
        assert_eq!(asked(&scripted), [3, 3]);
        let is_told = matches!(
            error,
            NetError::Dns(DnsError::ResponseCode(ResponseCode::NotImp))
        );
        assert!(is_told, "{error}");
    });
}

#[test]
fn an_answer_that_there_is_nothing_is_an_answer() {
    run(async {
        for code in [ResponseCode::NXDomain, ResponseCode::FormErr] {
            let scripted = [
                Scripted::start(code).await,
                Scripted::start(ResponseCode::NoError).await,
            ];
            assert!(ask(&of(&scripted, 3, false)).await.is_err());
            assert_eq!(asked(&scripted), [1, 0], "{code}");
        }
    });
}

#[test]
fn they_are_asked_in_turn_where_that_is_wanted() {
    run(async {
        let scripted = [
            Scripted::start(ResponseCode::NoError).await,
            Scripted::start(ResponseCode::NoError).await,
        ];
        let servers = of(&scripted, 1, true);
        for expected in [[1, 0], [1, 1], [2, 1]] {
            ask(&servers).await.unwrap();
            assert_eq!(asked(&scripted), expected);
        }
    });
}
